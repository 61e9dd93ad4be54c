use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use super::{log::Log, shared::Shared};
use crate::store::{StoreError, StoreErrorKind};

/// The future of [`MemoryStore::watch`](super::MemoryStore).
#[must_use = "futures do nothing unless polled"]
pub struct MemoryWatch {
    log: Result<Arc<Log>, StoreErrorKind>,
    store: Arc<Shared>,
    after: u64,
    ticket: Option<u64>,
}

impl MemoryWatch {
    pub(super) const fn new(
        store: Arc<Shared>,
        log: Result<Arc<Log>, StoreErrorKind>,
        after: u64,
    ) -> Self {
        Self {
            log,
            store,
            after,
            ticket: None,
        }
    }
}

impl Future for MemoryWatch {
    type Output = Result<(), StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let log = match &this.log {
            Ok(log) => log,
            Err(kind) => return Poll::Ready(Err((*kind).into())),
        };
        let mut state = log.lock();
        if state.is_gone || this.store.is_expired(log) {
            return Poll::Ready(Err(StoreErrorKind::NotFound.into()));
        }
        if state.end.is_some() || state.records.tail() > this.after {
            return Poll::Ready(Ok(()));
        }
        state.waiters.register(&mut this.ticket, cx.waker());
        Poll::Pending
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        if let (Ok(log), Some(ticket)) = (&self.log, self.ticket) {
            let waker = log.lock().waiters.deregister(ticket);
            // Unlocked: nobody knows what the waker does when it is dropped.
            drop(waker);
        }
    }
}

impl fmt::Debug for MemoryWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWatch")
            .field("log", &self.log)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
