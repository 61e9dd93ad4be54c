use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{
    Charge, Hold, LimiterStats, Rejection, RejectionKind,
    account::{Account, Limits},
};

/// A few accounts under a lock, in four cache lines. A check of a known key takes the first two, which
/// are next to each other; and where there are more buckets than keys that are in use, no thread waits
/// for another one, nor for its cache.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Bucket(Mutex<Accounts>);

/// In the order of the lines: the lock takes the rest of the first one.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Accounts {
    /// Zero where there is none.
    keys: [u64; Bucket::WAYS],
    requests: [u64; Bucket::WAYS],
    allowed: u64,
    resumes: [u64; Bucket::WAYS],
    over_quota: u64,
    streams: [u32; Bucket::WAYS],
    calls: [u32; Bucket::WAYS],
    evicted: u64,
}

/// A place for an account that means nothing now.
pub(super) struct Spare {
    /// How many there are.
    pub(super) count: usize,
    way: usize,
}

impl Bucket {
    pub(super) const WAYS: usize = 7;

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
            Ok(_) => self.allowed += 1,
            Err(rejection) if rejection.kind() == RejectionKind::OverQuota => self.over_quota += 1,
            // So few that they are counted elsewhere.
            Err(_) => {}
        }
        charged
    }

    pub(super) fn release(&mut self, way: usize, hold: Hold) {
        self.account(way).release(hold);
    }

    /// A place for a new account: that which has meant nothing for the longest time.
    ///
    /// An account whose units are all back, and of which nothing is open, says what one that was never
    /// there says.
    pub(super) fn spare(&self, now: u64) -> Option<Spare> {
        let idle = |way: &usize| {
            self.whole_at(*way) <= now && self.streams[*way] == 0 && self.calls[*way] == 0
        };
        let idle = (0..Bucket::WAYS).filter(idle);
        Some(Spare {
            count: idle.clone().count(),
            way: idle.min_by_key(|way| self.whole_at(*way))?,
        })
    }

    /// Opens an account, with all units.
    pub(super) fn open(&mut self, spare: &Spare, key: u64) -> usize {
        let way = spare.way;
        self.evicted += u64::from(self.keys[way] != 0);
        // What is left there has passed, and says no more than nothing would.
        self.keys[way] = key;
        way
    }

    pub(super) fn add_to(&self, stats: &mut LimiterStats) {
        let open = self.streams.iter().chain(&self.calls);
        stats.open += open.map(|count| u64::from(*count)).sum::<u64>();
        stats.keys += self.keys.iter().filter(|key| **key != 0).count();
        stats.allowed_total += self.allowed;
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
            streams: &mut self.streams[way],
            calls: &mut self.calls[way],
        }
    }
}
