use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{answer::Todo, keep::Keep};
use crate::{
    deadline::Deadline,
    refusal::Recipient,
    store::{SessionLease, StoreError, StoreErrorKind},
};

/// What the store says of a session, later.
pub(super) type Wait = Pin<Box<dyn Future<Output = Result<SessionLease, StoreError>> + Send>>;

/// That the store has done something, later.
pub(super) type Done = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// How long a request waits for the store. Boxed, because with a store that answers at once no request
/// has one.
struct Patience {
    deadline: Pin<Box<Deadline>>,
    limit: Duration,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self {
            deadline: Box::pin(Deadline::new()),
            limit,
        }
    }

    /// The output of a future, or that it took too long. The future is asked first, so an answer that
    /// is there counts.
    fn poll<T>(
        &mut self,
        future: &mut Pin<Box<dyn Future<Output = T> + Send>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, StoreError>> {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let elapsed = self.deadline.as_mut().poll(self.limit, cx);
        elapsed.map(|()| {
            let kind = StoreErrorKind::Unavailable;
            Err(StoreError::new(kind, "the store takes too long"))
        })
    }
}

/// Waits for a session. One that nobody waits for any more is taken back, whenever it comes.
pub(super) struct LookingUp {
    /// Taken when it is there.
    wait: Option<Wait>,
    patience: Patience,
    /// Whether the session is being opened.
    opens: bool,
    keep: Arc<dyn Keep>,
}

impl LookingUp {
    pub(super) fn new(wait: Wait, opens: bool, limit: Duration, keep: Arc<dyn Keep>) -> Self {
        Self {
            wait: Some(wait),
            patience: Patience::new(limit),
            opens,
            keep,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionLease, StoreError>> {
        let wait = self.wait.as_mut().expect("polled after completion");
        self.patience.poll(wait, cx).map(|said| {
            let said = said?;
            self.wait = None;
            said
        })
    }
}

impl Drop for LookingUp {
    fn drop(&mut self) {
        let Self {
            wait,
            patience: _,
            opens,
            keep,
        } = self;
        let Some(wait) = wait.take().filter(|_| *opens) else {
            return;
        };
        keep.abandon_later(wait);
    }
}

/// Waits for the store to do something. If nobody waits any more, it is asked again until it is done.
pub(super) struct Storing {
    /// Taken when it is done.
    wait: Option<(Done, Todo)>,
    patience: Patience,
    keep: Arc<dyn Keep>,
}

/// What has come of it.
type Stored = Result<(Todo, Result<(), StoreError>), Late>;

/// It takes too long, and the response cannot be given without it.
pub(super) struct Late(pub(super) Recipient);

impl Storing {
    pub(super) fn new(wait: Done, todo: Todo, limit: Duration, keep: Arc<dyn Keep>) -> Self {
        Self {
            wait: Some((wait, todo)),
            patience: Patience::new(limit),
            keep,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stored> {
        let (wait, todo) = self.wait.as_mut().expect("polled after completion");
        let done = ready!(self.patience.poll(wait, cx));
        if done.is_err()
            && let Some(recipient) = todo.recipient()
        {
            return Poll::Ready(Err(Late(recipient.clone())));
        }
        let (_, todo) = self.wait.take().expect("polled after completion");
        Poll::Ready(Ok((todo, done.and_then(|done| done))))
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let Self {
            wait,
            patience: _,
            keep,
        } = self;
        // To be asked twice makes no difference to the store, whether it had come to that or not; what
        // is to be established sees to itself.
        if let Some((_, todo)) = wait.take()
            && let Todo::End {
                flight,
                is_first: true,
                ..
            } = &todo
        {
            keep.forget_later(flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answer_that_comes_with_the_end_of_the_time_counts() {
        let limit = Duration::from_secs(5);
        for (takes, is_in_time) in [(limit, true), (limit * 2, false)] {
            let mut patience = Patience::new(limit);
            let mut answer: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(sleep(takes));
            let mut waiting =
                task::spawn(std::future::poll_fn(|cx| patience.poll(&mut answer, cx)));
            assert_pending!(waiting.poll());
            advance(limit).await;
            let waited = assert_ready!(waiting.poll());
            assert_eq!(waited.is_ok(), is_in_time);
        }
    }
}
