mod accounts;
mod lapse;
mod shard;
mod shared;
mod upstreams;

use std::{
    fmt,
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};

use self::shared::{Limits, Shared};
use super::{
    Expired, SessionKey, SessionLease, SessionName, SessionPage, SessionRecord, SessionStore,
};
use crate::{
    protocol::ProtocolVersion,
    store::{Owner, StoreError},
};

/// Keeps sessions in the memory of this process. A clone is the same store.
///
/// It is bounded: see [the module](crate::session#limits). A session costs less than 400 bytes, and
/// to find one no more than a short look under the lock of its part of the store.
///
/// The setters make an empty store: they are for before it is used.
#[derive(Clone)]
pub struct MemorySessionStore {
    shared: Arc<Shared>,
}

/// What a [`MemorySessionStore`] holds and has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySessionStats {
    /// Sessions, those included that are being opened.
    pub sessions: usize,
    /// Keys of sessions that have ended.
    pub tombstones: usize,
    /// Sessions that expired.
    pub expired_total: u64,
    /// Of these, sessions that no layer of their realm asked for in time: their servers were not told.
    pub unclaimed_total: u64,
    /// How often a session was asked for by somebody else than its owner (AMB-8).
    pub foreign_total: u64,
}

impl MemorySessionStore {
    /// How long a session is kept that nobody uses, unless told otherwise: 30 min.
    pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);

    /// How many sessions there may be unless told otherwise: 10,000.
    pub const DEFAULT_MAX_SESSIONS: usize = 10_000;

    /// How many sessions one owner may have unless told otherwise: 1,000.
    pub const DEFAULT_MAX_PER_OWNER: usize = 1_000;

    /// How many keys of ended sessions are kept unless told otherwise: 10,000.
    pub const DEFAULT_MAX_TOMBSTONES: usize = 10_000;

    /// An empty store with the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits {
            idle: Some(Self::DEFAULT_IDLE_TIMEOUT),
            max_sessions: Self::DEFAULT_MAX_SESSIONS,
            max_per_owner: Self::DEFAULT_MAX_PER_OWNER,
            max_tombstones: Self::DEFAULT_MAX_TOMBSTONES,
        })
    }

    /// Keeps a session that nobody uses for `time`, and up to an eighth longer before its end is
    /// told. `None` keeps it for ever.
    #[must_use]
    pub fn with_idle_timeout(self, time: Option<Duration>) -> Self {
        let limits = self.shared.limits;
        Self::with_limits(Limits {
            idle: time,
            ..limits
        })
    }

    /// Keeps up to so many sessions.
    #[must_use]
    pub fn with_max_sessions(self, sessions: usize) -> Self {
        let limits = self.shared.limits;
        Self::with_limits(Limits {
            max_sessions: sessions,
            ..limits
        })
    }

    /// Keeps up to so many sessions of one owner. [`Owner::ANONYMOUS`] is not one owner but many, and
    /// not limited.
    #[must_use]
    pub fn with_max_per_owner(self, sessions: usize) -> Self {
        let limits = self.shared.limits;
        Self::with_limits(Limits {
            max_per_owner: sessions,
            ..limits
        })
    }

    /// Keeps the keys of up to so many sessions that have ended, so that nobody has them again. The
    /// oldest go first.
    #[must_use]
    pub fn with_max_tombstones(self, keys: usize) -> Self {
        let limits = self.shared.limits;
        Self::with_limits(Limits {
            max_tombstones: keys,
            ..limits
        })
    }

    /// What there is.
    #[must_use]
    pub fn stats(&self) -> MemorySessionStats {
        self.shared.stats()
    }

    fn with_limits(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared::new(limits)),
        }
    }
}

impl SessionStore for MemorySessionStore {
    type Open = Ready<Result<SessionLease, StoreError>>;
    type Establish = Ready<Result<(), StoreError>>;
    type Abandon = Ready<Result<(), StoreError>>;
    type Load = Ready<Result<SessionLease, StoreError>>;
    type Learn = Ready<Result<(), StoreError>>;
    type End = Ready<Result<(), StoreError>>;
    type Expire = Ready<Result<Expired, StoreError>>;
    type List = Ready<Result<SessionPage, StoreError>>;

    fn open(&self, owner: Owner, streams: Owner) -> Self::Open {
        ready(self.shared.open(owner, streams).map_err(Into::into))
    }

    fn establish(&self, session: &SessionRecord, name: SessionName) -> Self::Establish {
        let established = self.shared.establish(session, name);
        ready(established.map_err(Into::into))
    }

    fn abandon(&self, session: &SessionRecord) -> Self::Abandon {
        self.shared.abandon(session);
        ready(Ok(()))
    }

    #[inline]
    fn load(&self, key: SessionKey, owner: Owner) -> Self::Load {
        ready(self.shared.load(key, owner).map_err(Into::into))
    }

    fn learn(&self, key: SessionKey, owner: Owner, version: ProtocolVersion) -> Self::Learn {
        let loaded = self.shared.load(key, owner);
        ready(match loaded {
            Ok(lease) => {
                lease.set_version(version);
                Ok(())
            }
            Err(kind) => Err(kind.into()),
        })
    }

    fn end(&self, key: SessionKey, owner: Owner) -> Self::End {
        ready(self.shared.end(key, owner).map_err(Into::into))
    }

    fn expire(&self, realm: u64, after: u64, limit: usize) -> Self::Expire {
        ready(Ok(self.shared.expire(realm, after, limit)))
    }

    fn list(&self, from: u64, limit: usize) -> Self::List {
        ready(Ok(self.shared.list(from, limit)))
    }
}

impl Default for MemorySessionStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemorySessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        f.debug_struct("MemorySessionStore")
            .field("limits", &shared.limits)
            .field("stats", &self.stats())
            .finish()
    }
}

#[cfg(test)]
mod tests;
