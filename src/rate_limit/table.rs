use std::{
    cmp::Ordering,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    Charge, Hold, LimiterStats, Rejection, RejectionKind,
    account::{Account, Limits},
    bucket::{Accounts, Bucket},
};
use crate::seldom::Seldom;

/// The accounts of all keys.
///
/// A key is known by 64 bits of a hash whose own key is random, so that nobody can aim at the place of
/// somebody else. That any of ten million keys meets another one's account by chance has a probability
/// of one in a million.
///
/// Its account is in either of two buckets, and stays there until its place is needed and it means
/// nothing any more. With two, nearly all places can be used.
pub(super) struct Table {
    hasher: RandomState,
    limits: Limits,
    /// A power of two.
    len: usize,
    /// Made for the first key: not every layer that is made is used.
    buckets: OnceLock<Box<[Bucket]>>,
    overflow: Mutex<Overflow>,
    too_many_open: AtomicU64,
    never_fits: AtomicU64,
    full: Seldom,
}

/// What a key is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u64);

/// The one account of all keys that there is no room for.
#[derive(Default)]
struct Overflow {
    requests: u64,
    resumes: u64,
    streams: u32,
    calls: u32,
    allowed: u64,
    over_quota: u64,
    total: u64,
}

impl Id {
    /// All keys that there is no room for. No key is known by zero.
    const OVERFLOW: Self = Self(0);
}

impl Table {
    /// So that both buckets of a key are told by bits of their own.
    const MAX_BUCKETS: usize = 1 << 31;

    /// For at least `max_keys`.
    pub(super) fn new(limits: Limits, max_keys: usize) -> Self {
        let buckets = max_keys.div_ceil(Bucket::WAYS).clamp(1, Self::MAX_BUCKETS);
        Self {
            hasher: RandomState::new(),
            limits,
            len: buckets.next_power_of_two(),
            buckets: OnceLock::new(),
            overflow: Mutex::default(),
            too_many_open: AtomicU64::new(0),
            never_fits: AtomicU64::new(0),
            full: Seldom::new(),
        }
    }

    #[inline]
    pub(super) const fn limits(&self) -> &Limits {
        &self.limits
    }

    #[inline]
    pub(super) fn id<K: Hash>(&self, key: &K) -> Id {
        Id(self.hasher.hash_one(key).max(1))
    }

    /// Charges a key. Returns the time until all its units are back, and who was charged.
    #[inline]
    pub(super) fn charge(&self, id: Id, charge: Charge, now: u64) -> Result<(u64, Id), Rejection> {
        if charge.cost() > self.limits.quota(charge.budget()).burst() {
            return Err(self.never_fits());
        }
        let [first, _] = self.buckets_of(id);
        let mut accounts = first.lock();
        let (charged, id) = match accounts.find(id.0) {
            Some(way) => (accounts.charge(way, charge, now, &self.limits), id),
            None => {
                drop(accounts);
                self.charge_other(id, charge, now)
            }
        };
        match charged {
            Ok(whole_in) => Ok((whole_in, id)),
            Err(rejection) => Err(self.count(rejection)),
        }
    }

    /// Charges a key that is not in its first bucket.
    #[cold]
    fn charge_other(&self, id: Id, charge: Charge, now: u64) -> (Result<u64, Rejection>, Id) {
        // Both at once, or two threads could open an account for the same key.
        let (mut first, mut second) = self.lock_both(id);
        if let Some(way) = first.find(id.0) {
            return (first.charge(way, charge, now, &self.limits), id);
        }
        let mut spare = first.spare(now);
        let mut place = &mut first;
        if let Some(second) = &mut second {
            if let Some(way) = second.find(id.0) {
                return (second.charge(way, charge, now, &self.limits), id);
            }
            // The emptier one, or the table would be full with places left in it; but as long as there
            // are some, the one that is looked at first.
            let count = spare.as_ref().map_or(0, |spare| spare.count);
            if count < Self::FEW {
                let other = second.spare(now);
                if other.as_ref().map_or(0, |other| other.count) > count {
                    (spare, place) = (other, second);
                }
            }
        }
        if let Some(spare) = spare {
            let way = place.open(&spare, id.0);
            return (place.charge(way, charge, now, &self.limits), id);
        }
        drop(first);
        drop(second);
        (self.charge_overflow(charge, now), Id::OVERFLOW)
    }

    /// Places in a bucket that are left for keys which have no room in another one.
    const FEW: usize = 3;

    fn charge_overflow(&self, charge: Charge, now: u64) -> Result<u64, Rejection> {
        let told = i64::try_from(now).unwrap_or(i64::MAX);
        if let Some(requests) = self.full.count(1, told) {
            tracing::warn!(requests, "too many keys: new ones share one account");
        }
        let mut overflow = self.overflow();
        let charged = overflow.account().charge(charge, now, &self.limits);
        overflow.total += 1;
        match &charged {
            Ok(_) => overflow.allowed += 1,
            Err(rejection) if rejection.kind() == RejectionKind::OverQuota => {
                overflow.over_quota += 1;
            }
            Err(_) => {}
        }
        charged
    }

    pub(super) fn release(&self, id: Id, hold: Hold) {
        if id == Id::OVERFLOW {
            return self.overflow().account().release(hold);
        }
        // An account of which something is open keeps its place.
        for bucket in self.buckets_of(id) {
            let mut accounts = bucket.lock();
            if let Some(way) = accounts.find(id.0) {
                return accounts.release(way, hold);
            }
        }
    }

    pub(super) fn stats(&self) -> LimiterStats {
        let mut stats = LimiterStats {
            too_many_open_total: self.too_many_open.load(Relaxed),
            never_fits_total: self.never_fits.load(Relaxed),
            ..LimiterStats::default()
        };
        for bucket in self.buckets.get().into_iter().flatten() {
            bucket.lock().add_to(&mut stats);
        }
        self.overflow().add_to(&mut stats);
        stats
    }

    #[cold]
    fn never_fits(&self) -> Rejection {
        self.never_fits.fetch_add(1, Relaxed);
        Rejection::never_fits()
    }

    #[cold]
    fn count(&self, rejection: Rejection) -> Rejection {
        if rejection.kind() == RejectionKind::TooManyOpen {
            self.too_many_open.fetch_add(1, Relaxed);
        }
        rejection
    }

    #[inline]
    fn buckets_of(&self, id: Id) -> [&Bucket; 2] {
        let buckets = self.buckets.get_or_init(|| {
            let empty = (0..self.len).map(|_| Bucket::default());
            empty.collect()
        });
        self.places_of(id).map(|place| &buckets[place])
    }

    #[inline]
    const fn places_of(&self, id: Id) -> [usize; 2] {
        let mask = self.len - 1;
        [id.0 as usize & mask, (id.0 >> 32) as usize & mask]
    }

    /// Locks what a key may be in: in one order, so that no two threads wait for each other. There is no
    /// second one if it is the first.
    fn lock_both(&self, id: Id) -> Locked<'_> {
        let [first, second] = self.buckets_of(id);
        let [at, other] = self.places_of(id);
        match at.cmp(&other) {
            Ordering::Equal => (first.lock(), None),
            Ordering::Less => {
                let first = first.lock();
                (first, Some(second.lock()))
            }
            Ordering::Greater => {
                let second = second.lock();
                (first.lock(), Some(second))
            }
        }
    }

    fn overflow(&self) -> MutexGuard<'_, Overflow> {
        // Nothing in here can panic half way.
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Locked<'a> = (MutexGuard<'a, Accounts>, Option<MutexGuard<'a, Accounts>>);

impl Overflow {
    const fn account(&mut self) -> Account<'_> {
        Account {
            requests: &mut self.requests,
            resumes: &mut self.resumes,
            streams: &mut self.streams,
            calls: &mut self.calls,
        }
    }

    fn add_to(&self, stats: &mut LimiterStats) {
        stats.allowed_total += self.allowed;
        stats.over_quota_total += self.over_quota;
        stats.overflowed_total += self.total;
        stats.open += u64::from(self.streams) + u64::from(self.calls);
    }
}
