use std::{any, borrow::Cow, fmt, future::Future};

use super::{Context, Decision, Interceptor, Interest, Judgement, Message, Unneeded};

/// An interceptor out of a function that decides at once, made by [`sync_fn`].
#[derive(Clone)]
#[must_use]
pub struct SyncFn<F> {
    interest: Interest,
    decide: F,
}

/// An interceptor out of an async function, made by [`async_fn`].
#[derive(Clone)]
#[must_use]
pub struct AsyncFn<F> {
    interest: Interest,
    decide: F,
}

/// Has `decide` decide about what is in `interest`, at once.
///
/// It returns a [`Verdict`](super::Verdict), or a [`Judgement`] if it can fail.
pub fn sync_fn<F, D>(interest: Interest, decide: F) -> SyncFn<F>
where
    F: Fn(&Context, &Message) -> D + Send + Sync + 'static,
    D: Into<Decision<Unneeded>>,
{
    SyncFn { interest, decide }
}

/// Has `decide` decide about what is in `interest`, in its own time.
pub fn async_fn<F, D>(interest: Interest, decide: F) -> AsyncFn<F>
where
    F: Fn(Context, Message) -> D + Send + Sync + 'static,
    D: Future<Output = Judgement> + Send + 'static,
{
    AsyncFn { interest, decide }
}

impl<F, D> Interceptor for SyncFn<F>
where
    F: Fn(&Context, &Message) -> D + Send + Sync + 'static,
    D: Into<Decision<Unneeded>>,
{
    type Future = Unneeded;

    #[inline]
    fn interest(&self) -> Cow<'_, Interest> {
        Cow::Borrowed(&self.interest)
    }

    #[inline]
    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Unneeded> {
        (self.decide)(cx, message).into()
    }

    fn name(&self) -> &str {
        any::type_name::<F>()
    }
}

impl<F, D> Interceptor for AsyncFn<F>
where
    F: Fn(Context, Message) -> D + Send + Sync + 'static,
    D: Future<Output = Judgement> + Send + 'static,
{
    type Future = D;

    #[inline]
    fn interest(&self) -> Cow<'_, Interest> {
        Cow::Borrowed(&self.interest)
    }

    #[inline]
    fn intercept(&self, cx: &Context, message: &Message) -> Decision<D> {
        Decision::Later((self.decide)(cx.clone(), message.clone()))
    }

    fn name(&self) -> &str {
        any::type_name::<F>()
    }
}

impl<F> fmt::Debug for SyncFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncFn")
            .field("interest", &self.interest)
            .field("decide", &format_args!("{}", any::type_name::<F>()))
            .finish()
    }
}

impl<F> fmt::Debug for AsyncFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFn")
            .field("interest", &self.interest)
            .field("decide", &format_args!("{}", any::type_name::<F>()))
            .finish()
    }
}
