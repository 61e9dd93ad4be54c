mod account;
mod expiry;
mod limits;
mod log;
mod reclaim;
mod records;
mod registry;
mod shared;
mod slots;
mod stats;
mod waiters;
mod watch;
mod writer;

use std::{
    fmt,
    future::{Ready, ready},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use self::{limits::Limits, shared::Shared};
use super::{EventStore, Owner, Page, StoreError, StoreErrorKind};
use crate::sse::StreamKey;

pub use self::{stats::MemoryStats, watch::MemoryWatch, writer::MemoryWriter};

/// Keeps events in the memory of this process. A clone is the same store.
///
/// It never holds more than it is allowed to, but for one event; see
/// [the module](super#limits-in-memory) for what goes when there is too much.
///
/// The setters make an empty store: they are for before it is used.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

impl MemoryStore {
    /// How many events of one stream are kept unless told otherwise.
    pub const DEFAULT_MAX_EVENTS: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();

    /// How many bytes of one stream's events are kept unless told otherwise: 1 MiB.
    pub const DEFAULT_MAX_BYTES: usize = 1024 * 1024;

    /// How much the streams of one owner take unless told otherwise: 16 MiB.
    pub const DEFAULT_MAX_OWNER_BYTES: usize = 16 * 1024 * 1024;

    /// How much all streams take unless told otherwise: 256 MiB.
    pub const DEFAULT_MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;

    /// How long a stream is kept after its end unless told otherwise: 5 minutes.
    pub const DEFAULT_RETAIN_FOR: Duration = Duration::from_secs(5 * 60);

    /// An empty store with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// Keeps that many events of one stream.
    #[must_use]
    pub fn with_max_events(self, max_events: NonZeroUsize) -> Self {
        Self::with_limits(Limits {
            max_events,
            ..self.shared.limits
        })
    }

    /// Keeps that many bytes of one stream's events, at most 4 GiB; but always one event.
    ///
    /// What is needed to find the events is not counted here: up to four bytes for each.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self::with_limits(Limits {
            max_bytes: max_bytes.min(records::MAX_LEN),
            ..self.shared.limits
        })
    }

    /// Lets the streams of one owner take so much memory together.
    ///
    /// [`Owner::ANONYMOUS`] is not one owner but many, and not limited.
    #[must_use]
    pub fn with_max_owner_bytes(self, max_owner_bytes: usize) -> Self {
        Self::with_limits(Limits {
            max_owner_bytes,
            ..self.shared.limits
        })
    }

    /// Lets all streams take so much memory together.
    ///
    /// This limits how many streams there are as well, since each costs a few hundred bytes.
    #[must_use]
    pub fn with_max_total_bytes(self, max_total_bytes: usize) -> Self {
        Self::with_limits(Limits {
            max_total_bytes,
            ..self.shared.limits
        })
    }

    /// Keeps a stream for that long after its end.
    #[must_use]
    pub fn with_retain_for(self, retain_for: Duration) -> Self {
        Self::with_limits(Limits {
            retain_for,
            ..self.shared.limits
        })
    }

    /// What it holds now. Cheap.
    #[must_use]
    pub fn stats(&self) -> MemoryStats {
        self.shared.stats()
    }

    fn with_limits(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared::new(limits)),
        }
    }

    fn page(
        &self,
        stream: StreamKey,
        owner: Owner,
        after: u64,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let log = self.shared.find(stream, owner)?;
        let state = log.lock();
        if state.is_gone {
            return Err(StoreErrorKind::NotFound.into());
        }
        let page = state.records.page(after, limit)?;
        Ok(page
            .with_end(state.end)
            .with_about(Bytes::copy_from_slice(&state.about)))
    }
}

impl EventStore for MemoryStore {
    type Writer = MemoryWriter;
    type Open = Ready<Result<MemoryWriter, StoreError>>;
    type Read = Ready<Result<Page, StoreError>>;
    type Watch = MemoryWatch;
    type Purge = Ready<Result<(), StoreError>>;

    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> Self::Open {
        ready(match self.shared.open(stream, owner, &about) {
            Ok(log) => Ok(MemoryWriter::new(Arc::clone(&self.shared), log)),
            Err(kind) => Err(kind.into()),
        })
    }

    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> Self::Read {
        ready(self.page(stream, owner, after, limit))
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> Self::Watch {
        let log = self.shared.find(stream, owner);
        MemoryWatch::new(Arc::clone(&self.shared), log, after)
    }

    fn purge(&self, owner: Owner) -> Self::Purge {
        self.shared.purge(owner);
        ready(Ok(()))
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        f.debug_struct("MemoryStore")
            .field("limits", &shared.limits)
            .field("stats", &self.stats())
            .finish()
    }
}

#[cfg(test)]
mod tests;
