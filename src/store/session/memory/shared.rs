use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    super::{SessionKey, SessionLease, SessionName, SessionPage, SessionRecord, record::now},
    MemorySessionStats,
    accounts::Accounts,
    lapse::Hand,
    shard::Shard,
    upstreams::Upstreams,
};
use crate::{
    seldom::Seldom,
    store::{Owner, StoreErrorKind},
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) idle: Option<Duration>,
    pub(super) max_sessions: usize,
    pub(super) max_per_owner: usize,
    pub(super) max_tombstones: usize,
}

/// What all clones of a store share.
///
/// Nobody ever holds two of its locks. A session is added to one part after the other, and taken out
/// of the one that it is found in first.
pub(super) struct Shared {
    pub(super) limits: Limits,
    shards: Box<[Padded]>,
    accounts: Accounts,
    upstreams: Upstreams,
    /// Also those that are being opened.
    count: AtomicUsize,
    pub(super) hand: Mutex<Hand>,
    pub(super) expired: AtomicU64,
    pub(super) unclaimed: AtomicU64,
    foreign: AtomicU64,
    foreign_log: Seldom,
}

/// On cache lines of its own, for the sake of its neighbours.
#[derive(Default)]
#[repr(align(128))]
struct Padded(Mutex<Shard>);

/// A power of two.
pub(super) const SHARDS: usize = 64;

impl Shared {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            accounts: Accounts::new(),
            upstreams: Upstreams::new(),
            count: AtomicUsize::new(0),
            hand: Mutex::default(),
            expired: AtomicU64::new(0),
            unclaimed: AtomicU64::new(0),
            foreign: AtomicU64::new(0),
            foreign_log: Seldom::new(),
        }
    }

    pub(super) fn stats(&self) -> MemorySessionStats {
        MemorySessionStats {
            sessions: self.count.load(Relaxed),
            tombstones: (0..SHARDS).map(|nth| self.shard(nth).tombstones()).sum(),
            expired_total: self.expired.load(Relaxed),
            unclaimed_total: self.unclaimed.load(Relaxed),
            foreign_total: self.foreign.load(Relaxed),
        }
    }

    pub(super) fn shard(&self, nth: usize) -> MutexGuard<'_, Shard> {
        // Nothing in here can panic half way.
        self.shards[nth]
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn shard_of(&self, key: &SessionKey) -> MutexGuard<'_, Shard> {
        self.shard(key.halves()[1] as usize % SHARDS)
    }

    fn max_tombstones(&self) -> usize {
        self.limits.max_tombstones.div_ceil(SHARDS)
    }

    /// Before that moment, what was not used since is idle.
    #[inline]
    pub(super) fn idle_before(&self, now: i64) -> i64 {
        match self.limits.idle {
            Some(idle) => now.saturating_sub(i64::try_from(idle.as_nanos()).unwrap_or(i64::MAX)),
            None => i64::MIN,
        }
    }

    pub(super) fn open(
        &self,
        owner: Owner,
        streams: Owner,
    ) -> Result<SessionLease, StoreErrorKind> {
        let mut counted = self.count(owner);
        if counted.is_err() {
            // What has expired counts until somebody looks.
            self.make_room();
            counted = self.count(owner);
        }
        counted?;
        Ok(SessionRecord::new(owner, streams).first_lease())
    }

    fn count(&self, owner: Owner) -> Result<(), StoreErrorKind> {
        if !self.accounts.add(owner, self.limits.max_per_owner) {
            return Err(StoreErrorKind::OverQuota);
        }
        if !self.count_one() {
            self.accounts.subtract(owner);
            return Err(StoreErrorKind::Unavailable);
        }
        Ok(())
    }

    fn count_one(&self) -> bool {
        let max = self.limits.max_sessions;
        let add = |count| (count < max).then_some(count + 1);
        self.count.fetch_update(Relaxed, Relaxed, add).is_ok()
    }

    pub(super) fn establish(
        &self,
        session: &SessionRecord,
        name: SessionName,
    ) -> Result<(), StoreErrorKind> {
        let key = *name.key();
        let is_named = match session.name() {
            Some(known) => known.is_same(&name),
            None => session.set_name(name),
        };
        if !is_named {
            return Err(StoreErrorKind::Conflict);
        }
        if !self.upstreams.insert(session) {
            // It may be itself that is called the same: whoever had no answer asks again.
            let shard = self.shard_of(&key);
            let is_there = shard.get(&key).is_some_and(|one| one.is_same(session));
            return is_there.then_some(()).ok_or(StoreErrorKind::Conflict);
        }
        let result = {
            let mut shard = self.shard_of(&key);
            if shard.knows(&key) {
                Err(StoreErrorKind::Conflict)
            } else if session.establish() {
                shard.insert(session);
                Ok(())
            } else {
                Err(StoreErrorKind::NotFound)
            }
        };
        if result.is_err() {
            self.upstreams.remove(session);
        }
        result
    }

    pub(super) fn abandon(&self, session: &SessionRecord) {
        if session.renounce_place() {
            session.end();
            self.discount(session);
        }
    }

    #[inline]
    pub(super) fn load(
        &self,
        key: SessionKey,
        owner: Owner,
    ) -> Result<SessionLease, StoreErrorKind> {
        let now = now();
        let before = self.idle_before(now);
        let is_foreign = {
            let shard = self.shard_of(&key);
            match shard.get(&key) {
                None => false,
                Some(session) if session.owner() != owner => true,
                Some(session) if session.is_idle_since(before) => false,
                Some(session) => return session.lease().ok_or(StoreErrorKind::NotFound),
            }
        };
        if is_foreign {
            self.count_foreign(now);
        }
        Err(StoreErrorKind::NotFound)
    }

    pub(super) fn end(&self, key: SessionKey, owner: Owner) -> Result<(), StoreErrorKind> {
        let now = now();
        let before = self.idle_before(now);
        let removed = {
            let mut shard = self.shard_of(&key);
            match shard.get(&key) {
                None => Ok(None),
                Some(session) if session.owner() != owner => Err(()),
                // For `expire` to find.
                Some(session) if session.is_idle_since(before) => Ok(None),
                Some(_) => Ok(shard.remove(&key, self.max_tombstones())),
            }
        };
        match removed {
            Ok(Some(session)) => {
                session.end();
                self.forget(&session);
                Ok(())
            }
            Ok(None) => Err(StoreErrorKind::NotFound),
            Err(()) => {
                self.count_foreign(now);
                Err(StoreErrorKind::NotFound)
            }
        }
    }

    /// Takes a session that has just ended out of its shard.
    pub(super) fn take(&self, nth: usize, key: &SessionKey) {
        let removed = self.shard(nth).remove(key, self.max_tombstones());
        if let Some(session) = removed {
            self.forget(&session);
        }
    }

    /// Has no more of a session that is in no shard any more.
    fn forget(&self, session: &SessionRecord) {
        self.upstreams.remove(session);
        self.discount(session);
    }

    fn discount(&self, session: &SessionRecord) {
        self.accounts.subtract(session.owner());
        self.count.fetch_sub(1, Relaxed);
    }

    pub(super) fn list(&self, from: u64, limit: usize) -> SessionPage {
        /// Places that are looked at while a shard is locked (B65).
        const STEP: usize = 256;
        let (mut nth, mut place) = ((from >> 32) as usize, from as u32 as usize);
        // A page of nothing would never lead to the end.
        let limit = limit.max(1);
        let before = self.idle_before(now());
        let mut sessions = Vec::new();
        while nth < SHARDS && sessions.len() < limit {
            let step = STEP.min(limit - sessions.len());
            let shard = self.shard(nth);
            match shard.look(place, step) {
                Some(found) => {
                    let there = found.iter().flatten();
                    let there = there.filter(|one| !one.is_idle_since(before));
                    sessions.extend(there.cloned());
                    place += found.len();
                }
                None => (nth, place) = (nth + 1, 0),
            }
        }
        let next = (nth < SHARDS).then_some((nth as u64) << 32 | place as u64);
        SessionPage::new(sessions, next)
    }

    /// Nearly as quick as to find nothing, so that the time does not tell the two apart (B08, B24).
    fn count_foreign(&self, now: i64) {
        self.foreign.fetch_add(1, Relaxed);
        if let Some(count) = self.foreign_log.count(1, now) {
            tracing::warn!(count, "sessions were asked for that are somebody else's");
        }
    }
}
