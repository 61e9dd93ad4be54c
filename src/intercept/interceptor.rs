use std::{any, borrow::Cow, fmt, future::Future, sync::Arc, time::Duration};

use super::{Configured, Context, Interest, Judgement, Message, Options, Verdict};

/// Decides about messages.
///
/// [`sync_fn`](super::sync_fn) and [`async_fn`](super::async_fn) make one of a function.
pub trait Interceptor: Send + Sync + 'static {
    /// A decision that takes its time. It owns all that it needs, so that it can rest in a response body.
    /// It is dropped when the client goes away, unless a [`ReplayLayer`](crate::replay) outside goes on
    /// without it.
    ///
    /// [`Unneeded`] is for those who never take any.
    type Future: Future<Output = Judgement> + Send + 'static;

    /// Which messages it is asked about. Looked at with each request, before anything is read, so it
    /// should be at hand.
    fn interest(&self) -> Cow<'_, Interest>;

    /// Decides about a message. It must not block.
    ///
    /// A later message of the same stream waits for its decision; those of other streams do not.
    fn intercept(&self, cx: &Context, message: &Message) -> Decision<Self::Future>;

    /// How long it may take, and what becomes of a message if it fails.
    fn options(&self) -> Options {
        Options::DEFAULT
    }

    /// What it is called in logs: its type, by default.
    fn name(&self) -> &str {
        any::type_name::<Self>()
    }

    /// Gives it another time to decide; `None` lets it take any.
    fn with_timeout(self, timeout: Option<Duration>) -> Configured<Self>
    where
        Self: Sized,
    {
        let options = self.options().with_timeout(timeout);
        Configured::new(self, options)
    }

    /// Lets messages pass as they are if it fails: panics, takes too long, returns an error, or what is no
    /// message. For those who only watch.
    fn pass_on_failure(self) -> Configured<Self>
    where
        Self: Sized,
    {
        let options = self.options().with_pass_on_failure(true);
        Configured::new(self, options)
    }
}

/// A verdict, or when it will be known.
#[must_use = "a decision does nothing by itself"]
pub enum Decision<F> {
    /// It is known: costs no allocation.
    Now(Judgement),
    /// The future knows.
    Later(F),
}

/// The future of an [`Interceptor`] that never takes its time: there is none.
pub type Unneeded = std::future::Pending<Judgement>;

impl<F> From<Verdict> for Decision<F> {
    #[inline]
    fn from(verdict: Verdict) -> Self {
        Self::Now(Ok(verdict))
    }
}

impl<F> From<Judgement> for Decision<F> {
    #[inline]
    fn from(judgement: Judgement) -> Self {
        Self::Now(judgement)
    }
}

impl<I: Interceptor> Interceptor for Arc<I> {
    type Future = I::Future;

    fn interest(&self) -> Cow<'_, Interest> {
        I::interest(self)
    }

    fn intercept(&self, cx: &Context, message: &Message) -> Decision<I::Future> {
        I::intercept(self, cx, message)
    }

    fn options(&self) -> Options {
        I::options(self)
    }

    fn name(&self) -> &str {
        I::name(self)
    }
}

impl<F> fmt::Debug for Decision<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(judgement) => f.debug_tuple("Now").field(judgement).finish(),
            Self::Later(_) => f.debug_tuple("Later").field(&format_args!("..")).finish(),
        }
    }
}
