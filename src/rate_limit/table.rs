use std::{
    cmp::Ordering,
    hash::{BuildHasher, Hash, RandomState},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    Charge, Hold, LimiterStats, Rejection, RejectionKind,
    account::Limits,
    bucket::{Accounts, Bucket},
    clock::nanos,
    overflow::{Debt, Overflow},
};
use crate::seldom::Seldom;

/// The accounts of all keys.
///
/// A key is known by 64 bits of a hash whose own key is random, so that nobody can aim at the place of
/// somebody else. That any of ten million keys meets another one's account by chance has a probability
/// of one in a million.
///
/// Its account is in either of two buckets, and stays there until its place is needed and it means
/// nothing any more. There are twice as many places as keys have to fit: so one is left for each of
/// them, wherever its two buckets are.
pub(super) struct Table {
    hasher: RandomState,
    limits: Limits,
    /// For how many nanoseconds an account that was used more than once keeps its place.
    kept_for: u64,
    len: u32,
    /// Made when it is first needed: a limiter may be asked for by several setters before that.
    buckets: OnceLock<Box<[Bucket]>>,
    overflow: Mutex<Overflow>,
    /// When nobody owes anything in there: mostly that is long ago, and it need not be locked.
    overflow_whole_at: AtomicU64,
    too_many_open: AtomicU64,
    never_fits: AtomicU64,
    full: Seldom,
}

/// What a key is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u64);

impl Id {
    /// All keys that there is no room for. No key is known by zero.
    const OVERFLOW: Self = Self(0);

    fn new(hash: u64) -> Self {
        Self(hash.max(1))
    }

    /// The bucket of `len` that is looked at first.
    #[inline]
    const fn first(self, len: u32) -> usize {
        part(self.0 as u32, len) as usize
    }

    /// The other one, by bits of its own; the same if there is only one.
    const fn second(self, len: u32) -> usize {
        let others = part((self.0 >> 32) as u32, len - 1) as usize;
        let place = self.first(len) + if len > 1 { 1 + others } else { 0 };
        place % len as usize
    }
}

/// One of the numbers below `len`, each for as many `bits`.
#[inline]
const fn part(bits: u32, len: u32) -> u32 {
    ((bits as u64 * len as u64) >> 32) as u32
}

impl Table {
    /// Accounts in a bucket if there are as many keys as there may be at least. With 4 of 7, one in a
    /// thousand tables had no room for one of them; with this, none of a million.
    const KEYS_IN_TWO: usize = 7;

    /// Places in a bucket that are left for keys which have no room in another one.
    const FEW: usize = 4;

    /// For how long an account that was used more than once keeps its place at least.
    const KEPT_FOR: Duration = Duration::from_secs(60);

    /// For at least `max_keys`.
    pub(super) fn new(limits: Limits, max_keys: usize) -> Self {
        let len = max_keys.div_ceil(Self::KEYS_IN_TWO).saturating_mul(2);
        // One bucket is enough for those who fit into it.
        let len = if max_keys <= Bucket::WAYS { 1 } else { len };
        Self {
            hasher: RandomState::new(),
            kept_for: limits.window_nanos().max(nanos(Self::KEPT_FOR)),
            limits,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            buckets: OnceLock::new(),
            overflow: Mutex::default(),
            overflow_whole_at: AtomicU64::new(0),
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
        Id::new(self.hasher.hash_one(key))
    }

    /// Charges a key. Returns the time until all its units are back, and who was charged.
    #[inline]
    pub(super) fn charge(&self, id: Id, charge: Charge, now: u64) -> Result<(u64, Id), Rejection> {
        if charge.cost() > self.limits.quota(charge.budget()).burst() {
            return Err(self.never_fits());
        }
        let mut accounts = self.buckets()[id.first(self.len)].lock();
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
        if let Some(second) = &mut second
            && let Some(way) = second.find(id.0)
        {
            return (second.charge(way, charge, now, &self.limits), id);
        }
        if charge.cost() == 0 && charge.hold().is_none() {
            // There would be nothing to remember.
            first.allow_free();
            return (Ok(0), id);
        }
        let mut spare = first.spare(now, self.kept_for);
        let mut place = &mut first;
        // The emptier one, or there would be no room for some although there are places left; but as
        // long as there are some, the one that is looked at first.
        let count = spare.as_ref().map_or(0, |spare| spare.count);
        if let Some(second) = &mut second
            && count < Self::FEW
        {
            let other = second.spare(now, self.kept_for);
            if other.as_ref().map_or(0, |other| other.count) > count {
                (spare, place) = (other, second);
            }
        }
        if let Some(spare) = spare {
            let debt = self.debt_of(id, now);
            let charged = place.open(&spare, id.0, debt, charge, now, &self.limits);
            return (charged, id);
        }
        // With both of them locked, so that nobody opens an account for it meanwhile.
        let charged = self.charge_overflow(id, charge, now);
        drop((first, second));
        self.tell_full(now);
        (charged, Id::OVERFLOW)
    }

    fn charge_overflow(&self, id: Id, charge: Charge, now: u64) -> Result<u64, Rejection> {
        let mut overflow = self.overflow();
        let charged = overflow.charge(id.0, charge, now, &self.limits);
        // Read by whoever has the locks of this key next.
        self.overflow_whole_at.store(overflow.whole_at(), Relaxed);
        charged
    }

    /// What a key owes that has had no account of its own.
    fn debt_of(&self, id: Id, now: u64) -> Debt {
        if self.overflow_whole_at.load(Relaxed) <= now {
            return Debt::default();
        }
        self.overflow().debt_of(id.0, now, &self.limits)
    }

    fn tell_full(&self, now: u64) {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        if let Some(requests) = self.full.count(1, now) {
            tracing::warn!(requests, "too many keys: new ones share one account");
        }
    }

    pub(super) fn release(&self, id: Id, hold: Hold) {
        if id == Id::OVERFLOW {
            return self.overflow().open.release(hold);
        }
        // An account of which something is open keeps its place.
        for place in [id.first(self.len), id.second(self.len)] {
            let mut accounts = self.buckets()[place].lock();
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

    /// All places, which take a while to make the first time.
    #[inline]
    pub(super) fn buckets(&self) -> &[Bucket] {
        self.buckets
            .get_or_init(|| (0..self.len).map(|_| Bucket::default()).collect())
    }

    /// Locks what a key may be in: in one order, so that no two threads wait for each other. There is no
    /// second one if there is only one.
    fn lock_both(&self, id: Id) -> Locked<'_> {
        let buckets = self.buckets();
        let (first, second) = (id.first(self.len), id.second(self.len));
        match first.cmp(&second) {
            Ordering::Equal => (buckets[first].lock(), None),
            Ordering::Less => {
                let first = buckets[first].lock();
                (first, Some(buckets[second].lock()))
            }
            Ordering::Greater => {
                let second = buckets[second].lock();
                (buckets[first].lock(), Some(second))
            }
        }
    }

    fn overflow(&self) -> MutexGuard<'_, Overflow> {
        // Nothing in here can panic half way.
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Locked<'a> = (MutexGuard<'a, Accounts>, Option<MutexGuard<'a, Accounts>>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_two_buckets_where_there_are_two() {
        for hash in [
            0,
            1,
            u64::MAX,
            1 << 32,
            u64::MAX >> 32,
            0x9E37_79B9_7F4A_7C15,
        ] {
            let id = Id::new(hash);
            assert_ne!(id, Id::OVERFLOW);
            for len in [1, 2, 3, 4, 28_572, u32::MAX] {
                let (first, second) = (id.first(len), id.second(len));
                assert!(first.max(second) < len as usize, "{hash:x} of {len}");
                assert_eq!(first == second, len == 1, "{hash:x} of {len}");
            }
        }
    }
}
