use std::{fmt, future::Future, sync::Arc};

use super::{Credentials, Principal, Rejection};

/// Judges credentials.
///
/// Any function of [`Credentials`] that returns a [`Decision`] does. Whoever can answer from memory
/// answers [`Now`](Decision::Now), which costs no allocation and no clone of a service; whoever has to
/// ask somebody, or to compute for long, gives a future.
pub trait Authorize {
    /// A decision that takes its time. It owns all that it needs, so that it can rest in a response
    /// future, and is dropped with that when the client goes away.
    ///
    /// [`Undecided`](super::Undecided) is for those who never take any.
    type Future: Future<Output = Result<Principal, Rejection>>;

    /// Judges the one well-formed bearer token of a request.
    ///
    /// It is called once per request, also for tokens that it has judged before, and must not block.
    /// Requests without a token, and malformed ones, are refused before.
    fn authorize(&self, credentials: Credentials<'_>) -> Decision<Self::Future>;
}

/// What becomes of credentials, or when that is known.
#[must_use = "a decision does nothing by itself"]
pub enum Decision<F> {
    /// It is known.
    Now(Result<Principal, Rejection>),
    /// The future knows.
    Later(F),
}

impl<F> From<Result<Principal, Rejection>> for Decision<F> {
    fn from(decided: Result<Principal, Rejection>) -> Self {
        Self::Now(decided)
    }
}

/// The future of an [`Authorize`] that never takes its time: there is none.
pub type Undecided = std::future::Pending<Result<Principal, Rejection>>;

impl<A: Authorize + ?Sized> Authorize for Arc<A> {
    type Future = A::Future;

    fn authorize(&self, credentials: Credentials<'_>) -> Decision<Self::Future> {
        A::authorize(self, credentials)
    }
}

impl<A, F> Authorize for A
where
    A: Fn(Credentials<'_>) -> Decision<F>,
    F: Future<Output = Result<Principal, Rejection>>,
{
    type Future = F;

    fn authorize(&self, credentials: Credentials<'_>) -> Decision<F> {
        self(credentials)
    }
}

impl<F> fmt::Debug for Decision<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(decided) => f.debug_tuple("Now").field(decided).finish(),
            Self::Later(_) => f.debug_tuple("Later").field(&format_args!("..")).finish(),
        }
    }
}
