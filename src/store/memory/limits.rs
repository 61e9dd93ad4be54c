use std::{num::NonZeroUsize, time::Duration};

use super::MemoryStore;

/// How much a store keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_events: NonZeroUsize,
    pub(super) max_bytes: usize,
    pub(super) max_owner_bytes: usize,
    pub(super) max_total_bytes: usize,
    pub(super) retain_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_events: MemoryStore::DEFAULT_MAX_EVENTS,
            max_bytes: MemoryStore::DEFAULT_MAX_BYTES,
            max_owner_bytes: MemoryStore::DEFAULT_MAX_OWNER_BYTES,
            max_total_bytes: MemoryStore::DEFAULT_MAX_TOTAL_BYTES,
            retain_for: MemoryStore::DEFAULT_RETAIN_FOR,
        }
    }
}
