use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
};

use super::{log::Log, records::MAX_LEN, shared::Shared};
use crate::store::{End, EventWriter, StoreError, StoreErrorKind};

/// Writes one stream of a [`MemoryStore`](super::MemoryStore).
pub struct MemoryWriter {
    store: Arc<Shared>,
    log: Arc<Log>,
}

impl MemoryWriter {
    pub(super) const fn new(store: Arc<Shared>, log: Arc<Log>) -> Self {
        Self { store, log }
    }
}

impl EventWriter for MemoryWriter {
    type Append = Ready<Result<(), StoreError>>;
    type Close = Ready<Result<(), StoreError>>;

    fn append(&mut self, sequence: u64, event: &[u8]) -> Self::Append {
        if event.len() > MAX_LEN {
            let error = StoreError::new(StoreErrorKind::Unavailable, "an event over 4 GiB");
            return ready(Err(error));
        }
        ready(
            self.store
                .append(&self.log, sequence, event)
                .map_err(StoreError::from),
        )
    }

    #[inline]
    fn prepare(&self) {
        self.log.prefetch();
    }

    fn close(&mut self, end: End) -> Self::Close {
        ready(self.store.close(&self.log, end).map_err(StoreError::from))
    }
}

impl Drop for MemoryWriter {
    fn drop(&mut self) {
        // If it is closed, or purged, there is nothing to say.
        let _ = self.store.close(&self.log, End::Lost);
    }
}

impl fmt::Debug for MemoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriter")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
