use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Faults, FaultyFuture, Operation};
use crate::store::{End, EventWriter};

/// Writes one stream of a [`FaultyStore`](super::FaultyStore).
#[derive(Debug)]
pub struct FaultyWriter<W> {
    /// Shared with futures that have yet to use it.
    inner: Arc<Mutex<W>>,
    faults: Faults,
}

impl<W> FaultyWriter<W> {
    pub(super) fn new(inner: W, faults: Faults) -> Self {
        Self {
            inner: Arc::new(Mutex::new(inner)),
            faults,
        }
    }
}

impl<W: EventWriter> EventWriter for FaultyWriter<W> {
    type Append = FaultyFuture<()>;
    type Close = FaultyFuture<()>;

    fn append(&mut self, sequence: u64, event: &[u8]) -> Self::Append {
        let (inner, event) = (Arc::clone(&self.inner), event.to_vec());
        self.faults.apply(Operation::Append, move || {
            lock(&inner).append(sequence, &event)
        })
    }

    fn close(&mut self, end: End) -> Self::Close {
        let inner = Arc::clone(&self.inner);
        self.faults
            .apply(Operation::Close, move || lock(&inner).close(end))
    }
}

fn lock<W>(inner: &Mutex<W>) -> MutexGuard<'_, W> {
    // A writer that has panicked may be used again, as any other may.
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}
