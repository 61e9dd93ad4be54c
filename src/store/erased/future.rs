use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::store::StoreError;

/// The futures of an [`ErasedStore`](super::ErasedStore).
#[must_use = "futures do nothing unless polled"]
pub struct ErasedFuture<T> {
    state: State<T>,
}

enum State<T> {
    /// Taken when it is polled.
    Ready(Option<Result<T, StoreError>>),
    Waiting(Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>),
}

impl<T: 'static> ErasedFuture<T> {
    /// Boxes `future` only if it is not ready at once. Polled again then, it learns of a waker that
    /// wakes.
    pub(super) fn new<F, U>(mut future: F, map: fn(U) -> T) -> Self
    where
        F: Future<Output = Result<U, StoreError>> + Send + Unpin + 'static,
        U: 'static,
    {
        let mut cx = Context::from_waker(Waker::noop());
        let state = match Pin::new(&mut future).poll(&mut cx) {
            Poll::Ready(result) => State::Ready(Some(result.map(map))),
            Poll::Pending => State::Waiting(Box::pin(async move { future.await.map(map) })),
        };
        Self { state }
    }
}

impl<T> Future for ErasedFuture<T> {
    type Output = Result<T, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.get_mut().state {
            State::Ready(result) => Poll::Ready(result.take().expect("polled after completion")),
            State::Waiting(future) => future.as_mut().poll(cx),
        }
    }
}

/// The result is moved out, never pinned.
impl<T> Unpin for ErasedFuture<T> {}

impl<T> fmt::Debug for ErasedFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasedFuture")
            .field("is_ready", &matches!(self.state, State::Ready(_)))
            .finish_non_exhaustive()
    }
}
