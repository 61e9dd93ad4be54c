use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Charge, Hold, LimiterStats, Rejection, RejectionKind,
    account::{Account, Limits, Open},
    overflow::Debt,
};

/// A few accounts under a lock, in four cache lines. A check of a known key takes the first two, which
/// are next to each other; and where there are more buckets than keys that are in use, no thread waits
/// for another one, nor for its cache.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Bucket(Mutex<Accounts>);

const _: () = assert!(size_of::<Bucket>() == 4 * 64);

/// In the order of the lines: the lock takes the rest of the first one.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Accounts {
    /// Zero where there is none.
    keys: [u64; Bucket::WAYS],
    requests: [u64; Bucket::WAYS],
    tally: Tally,
    resumes: [u64; Bucket::WAYS],
    over_quota: u64,
    open: [Open; Bucket::WAYS],
    evicted: u64,
}

/// How many requests were let in, and of which accounts more than one: in one word, because each
/// request that is let in changes both.
#[derive(Clone, Copy, Debug, Default)]
struct Tally(u64);

/// A place for an account that means nothing now.
pub(super) struct Spare {
    /// How many there are.
    pub(super) count: usize,
    way: usize,
}

impl Bucket {
    pub(super) const WAYS: usize = 7;

    /// How many accounts keep their places because they were used more than once: the others are for
    /// whoever is new.
    const KEPT: usize = 5;

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Accounts> {
        // Nothing in here can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// Where the account of a key is.
    #[inline]
    pub(super) fn find(&self, key: u64) -> Option<usize> {
        self.keys.iter().position(|have| *have == key)
    }

    /// Charges an account. Returns the time until all its units are back.
    #[inline]
    pub(super) fn charge(
        &mut self,
        way: usize,
        charge: Charge,
        now: u64,
        limits: &Limits,
    ) -> Result<u64, Rejection> {
        let charged = self.account(way).charge(charge, now, limits);
        match &charged {
            Ok(_) => self.tally.allow(way),
            Err(rejection) if rejection.kind() == RejectionKind::OverQuota => self.over_quota += 1,
            // So few that they are counted elsewhere.
            Err(_) => {}
        }
        charged
    }

    pub(super) fn release(&mut self, way: usize, hold: Hold) {
        self.open[way].release(hold);
    }

    /// A place for a new account.
    ///
    /// An account whose units are all back, and of which nothing is open, says what one that was never
    /// there says. Those that were used only once go first, whoever has used them may never come again;
    /// then those whose units have been back for longer than `kept_for`, and of all others those that
    /// are too many. Of several, it is that which has meant nothing for the longest time.
    pub(super) fn spare(&self, now: u64, kept_for: u64) -> Option<Spare> {
        let is_kept = |way: usize| {
            self.tally.has_more(way) && now.saturating_sub(self.whole_at(way)) <= kept_for
        };
        let is_idle = |way: &usize| self.whole_at(*way) <= now && self.open[*way].total() == 0;
        let idle = (0..Bucket::WAYS).filter(is_idle);
        let kept = idle.clone().filter(|way| is_kept(*way)).count();
        let count = idle.clone().count() - kept.min(Bucket::KEPT);
        if count == 0 {
            return None;
        }
        let way = idle.min_by_key(|way| (is_kept(*way), self.whole_at(*way)))?;
        Some(Spare { count, way })
    }

    /// Opens an account for a key that owes `debt`, and charges it.
    pub(super) fn open(
        &mut self,
        spare: &Spare,
        key: u64,
        debt: Debt,
        charge: Charge,
        now: u64,
        limits: &Limits,
    ) -> Result<u64, Rejection> {
        let way = spare.way;
        self.evicted += u64::from(self.keys[way] != 0);
        self.keys[way] = key;
        self.requests[way] = debt.requests;
        self.resumes[way] = debt.resumes;
        let charged = self.charge(way, charge, now, limits);
        self.tally.forget(way);
        charged
    }

    /// Counts a request of somebody who has no account, and needs none.
    pub(super) const fn allow_free(&mut self) {
        self.tally.0 += Tally::ONE;
    }

    pub(super) fn add_to(&self, stats: &mut LimiterStats) {
        let open = self.open.iter().map(|open| u64::from(open.total()));
        stats.open += open.sum::<u64>();
        stats.keys += self.keys.iter().filter(|key| **key != 0).count();
        stats.allowed_total += self.tally.allowed();
        stats.over_quota_total += self.over_quota;
        stats.evicted_total += self.evicted;
    }

    fn whole_at(&self, way: usize) -> u64 {
        self.requests[way].max(self.resumes[way])
    }

    #[inline]
    fn account(&mut self, way: usize) -> Account<'_> {
        Account {
            requests: &mut self.requests[way],
            resumes: &mut self.resumes[way],
            open: &mut self.open[way],
        }
    }
}

impl Tally {
    /// Above a bit for each account.
    const ONE: u64 = 1 << Bucket::WAYS;

    /// Counts a request of an account that was there before.
    #[inline]
    const fn allow(&mut self, way: usize) {
        self.0 = (self.0 + Self::ONE) | 1 << way;
    }

    /// Whether requests were let in of an account since it was opened, but for the first one.
    const fn has_more(self, way: usize) -> bool {
        self.0 & 1 << way != 0
    }

    const fn forget(&mut self, way: usize) {
        self.0 &= !(1 << way);
    }

    const fn allowed(self) -> u64 {
        self.0 >> Bucket::WAYS
    }
}
