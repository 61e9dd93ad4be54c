use std::{
    borrow::Cow,
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use pin_project_lite::pin_project;

use super::{Context, Decision, Interceptor, Interest, Judgement, Message, Options};

pub(super) mod sealed {
    /// Not for others to implement.
    pub trait Sealed {}
}

/// Interceptors in their order: one, a tuple of up to twelve, or a [`Chain`](super::Chain).
///
/// Not for others to implement.
pub trait Links: sealed::Sealed + Send + Sync + 'static {
    #[doc(hidden)]
    type Future: Future<Output = Judgement> + Send + 'static;

    #[doc(hidden)]
    fn count(&self) -> usize;

    #[doc(hidden)]
    fn interest(&self, at: usize) -> Cow<'_, Interest>;

    #[doc(hidden)]
    fn intercept(&self, at: usize, cx: &Context, message: &Message) -> Decision<Self::Future>;

    #[doc(hidden)]
    fn options(&self, at: usize) -> Options;

    #[doc(hidden)]
    fn name(&self, at: usize) -> &str;
}

impl<I: Interceptor> sealed::Sealed for I {}

impl<I: Interceptor> Links for I {
    type Future = I::Future;

    #[inline]
    fn count(&self) -> usize {
        1
    }

    #[inline]
    fn interest(&self, _: usize) -> Cow<'_, Interest> {
        I::interest(self)
    }

    #[inline]
    fn intercept(&self, _: usize, cx: &Context, message: &Message) -> Decision<I::Future> {
        I::intercept(self, cx, message)
    }

    fn options(&self, _: usize) -> Options {
        I::options(self)
    }

    fn name(&self, _: usize) -> &str {
        I::name(self)
    }
}

impl sealed::Sealed for () {}

/// None: everything passes.
impl Links for () {
    type Future = super::Unneeded;

    #[inline]
    fn count(&self) -> usize {
        0
    }

    fn interest(&self, _: usize) -> Cow<'_, Interest> {
        Cow::Owned(Interest::none())
    }

    fn intercept(&self, _: usize, _: &Context, _: &Message) -> Decision<super::Unneeded> {
        super::Verdict::Continue.into()
    }

    fn options(&self, _: usize) -> Options {
        Options::DEFAULT
    }

    fn name(&self, _: usize) -> &str {
        ""
    }
}

pin_project! {
    /// The future of one of several interceptors.
    #[project = OneOfProj]
    #[derive(Debug)]
    pub enum OneOf<A, B> {
        This { #[pin] future: A },
        Other { #[pin] future: B },
    }
}

impl<A, B> Future for OneOf<A, B>
where
    A: Future<Output = Judgement>,
    B: Future<Output = Judgement>,
{
    type Output = Judgement;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Judgement> {
        match self.project() {
            OneOfProj::This { future } => future.poll(cx),
            OneOfProj::Other { future } => future.poll(cx),
        }
    }
}

/// The type of the futures of several.
macro_rules! one_of {
    ($last:ident) => { $last::Future };
    ($first:ident $($rest:ident)+) => { OneOf<$first::Future, one_of!($($rest)+)> };
}

/// A future of the nth of several, wrapped as often as there are others before it.
macro_rules! wrap {
    ($future:expr, [], []) => { $future };
    ($future:expr, [], [$($after:ident)+]) => { OneOf::This { future: $future } };
    ($future:expr, [$first:ident $($before:ident)*], [$($after:ident)*]) => {
        OneOf::Other { future: wrap!($future, [$($before)*], [$($after)*]) }
    };
}

macro_rules! arms {
    ($self:ident $at:ident $cx:ident $message:ident [$($before:ident)*]) => {};
    ($self:ident $at:ident $cx:ident $message:ident [$($before:ident)*] $this:ident:$nth:tt $($name:ident:$index:tt)*) => {
        if $at == $nth {
            return match $self.$nth.intercept($cx, $message) {
                Decision::Now(judgement) => Decision::Now(judgement),
                Decision::Later(future) => {
                    Decision::Later(wrap!(future, [$($before)*], [$($name)*]))
                }
            };
        }
        arms!($self $at $cx $message [$($before)* $this] $($name:$index)*);
    };
}

macro_rules! tuple {
    ($($name:ident:$index:tt)+) => {
        impl<$($name: Interceptor),+> sealed::Sealed for ($($name,)+) {}

        impl<$($name: Interceptor),+> Links for ($($name,)+) {
            type Future = one_of!($($name)+);

            #[inline]
            fn count(&self) -> usize {
                [$($index),+].len()
            }

            #[inline]
            fn interest(&self, at: usize) -> Cow<'_, Interest> {
                $(if at == $index { return self.$index.interest(); })+
                Cow::Owned(Interest::none())
            }

            #[inline]
            fn intercept(
                &self,
                at: usize,
                cx: &Context,
                message: &Message,
            ) -> Decision<Self::Future> {
                arms!(self at cx message [] $($name:$index)+);
                super::Verdict::Continue.into()
            }

            fn options(&self, at: usize) -> Options {
                $(if at == $index { return self.$index.options(); })+
                Options::DEFAULT
            }

            fn name(&self, at: usize) -> &str {
                $(if at == $index { return self.$index.name(); })+
                ""
            }
        }
    };
}

tuple!(A:0);
tuple!(A:0 B:1);
tuple!(A:0 B:1 C:2);
tuple!(A:0 B:1 C:2 D:3);
tuple!(A:0 B:1 C:2 D:3 E:4);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5 G:6);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5 G:6 H:7);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5 G:6 H:7 I:8);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5 G:6 H:7 I:8 J:9);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5 G:6 H:7 I:8 J:9 K:10);
tuple!(A:0 B:1 C:2 D:3 E:4 F:5 G:6 H:7 I:8 J:9 K:10 L:11);
