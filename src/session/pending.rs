use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::{answer::Todo, keep::Keep};
use crate::store::{SessionLease, StoreError};

/// What the store says of a session, later.
pub(super) type Wait = Pin<Box<dyn Future<Output = Result<SessionLease, StoreError>> + Send>>;

/// That the store has done something, later.
pub(super) type Done = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Waits for a session. One that nobody waits for any more is taken back, whenever it comes.
pub(super) struct Asking {
    /// Taken when it is there.
    wait: Option<Wait>,
    keep: Arc<dyn Keep>,
    /// Whether the session is being opened.
    opens: bool,
}

impl Asking {
    pub(super) const fn new(wait: Wait, opens: bool, keep: Arc<dyn Keep>) -> Self {
        Self {
            wait: Some(wait),
            keep,
            opens,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<SessionLease, StoreError>> {
        let wait = self.wait.as_mut().expect("polled after completion");
        let said = ready!(wait.as_mut().poll(cx));
        self.wait = None;
        Poll::Ready(said)
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Self { wait, keep, opens } = self;
        let Some(wait) = wait.take().filter(|_| *opens) else {
            return;
        };
        let layer = Arc::downgrade(keep);
        keep.later(Box::pin(async move {
            let opened = wait.await;
            if let (Ok(lease), Some(keep)) = (opened, layer.upgrade()) {
                keep.abandon(&lease);
            }
        }));
    }
}

/// Waits for the store to do something. It is waited for to its end, also if nobody does any more.
pub(super) struct Storing {
    /// Taken when it is done.
    wait: Option<(Done, Todo)>,
    keep: Arc<dyn Keep>,
}

impl Storing {
    pub(super) const fn new(wait: Done, todo: Todo, keep: Arc<dyn Keep>) -> Self {
        Self {
            wait: Some((wait, todo)),
            keep,
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(Todo, Result<(), StoreError>)> {
        let (wait, _) = self.wait.as_mut().expect("polled after completion");
        let done = ready!(wait.as_mut().poll(cx));
        let (_, todo) = self.wait.take().expect("polled after completion");
        Poll::Ready((todo, done))
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        let Self { wait, keep } = self;
        let Some((wait, todo)) = wait.take() else {
            return;
        };
        let layer = Arc::downgrade(keep);
        keep.later(Box::pin(async move {
            let done = wait.await;
            if let Some(keep) = layer.upgrade() {
                todo.give_up(&done, &*keep);
            }
        }));
    }
}
