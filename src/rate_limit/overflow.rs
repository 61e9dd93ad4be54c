use super::{
    Charge, LimiterStats, Rejection, RejectionKind,
    account::{Account, Limits, Open},
};

/// The one account of all keys that there is no room for.
#[derive(Default)]
pub(super) struct Overflow {
    debt: Debt,
    pub(super) open: Open,
    sharers: Sharers,
    allowed: u64,
    over_quota: u64,
    total: u64,
}

/// When all units of an account will be back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Debt {
    pub(super) requests: u64,
    pub(super) resumes: u64,
}

/// Who has spent something of it within a window, and perhaps others: a bit is for many keys. What they
/// have spent before that is back.
struct Sharers {
    bits: [u64; Self::WORDS],
    /// Those of the window before.
    earlier: [u64; Self::WORDS],
    /// When the window ends.
    until: u64,
}

impl Overflow {
    /// Charges a key that has no account of its own. Returns the time until all units are back.
    pub(super) fn charge(
        &mut self,
        key: u64,
        charge: Charge,
        now: u64,
        limits: &Limits,
    ) -> Result<u64, Rejection> {
        let account = Account {
            requests: &mut self.debt.requests,
            resumes: &mut self.debt.resumes,
            open: &mut self.open,
        };
        let charged = account.charge(charge, now, limits);
        self.total += 1;
        match &charged {
            Ok(_) => {
                self.allowed += 1;
                self.sharers.add(key, now, limits.window_nanos());
            }
            Err(rejection) if rejection.kind() == RejectionKind::OverQuota => self.over_quota += 1,
            Err(_) => {}
        }
        charged
    }

    /// What a key owes that is to have an account of its own: all that is owed, if it has a part in it,
    /// so that nobody has two bursts.
    pub(super) fn debt_of(&self, key: u64) -> Debt {
        if self.sharers.have(key) {
            self.debt
        } else {
            Debt::default()
        }
    }

    /// When nobody owes anything.
    pub(super) fn whole_at(&self) -> u64 {
        self.debt.requests.max(self.debt.resumes)
    }

    pub(super) fn add_to(&self, stats: &mut LimiterStats) {
        stats.allowed_total += self.allowed;
        stats.over_quota_total += self.over_quota;
        stats.overflowed_total += self.total;
        stats.open += u64::from(self.open.total());
    }
}

impl Sharers {
    /// In all a kibibyte: few are let in where all share the quota of one.
    const WORDS: usize = 64;

    fn add(&mut self, key: u64, now: u64, window: u64) {
        if now >= self.until {
            let is_next = now - self.until < window;
            let bits = std::mem::replace(&mut self.bits, [0; Self::WORDS]);
            self.earlier = if is_next { bits } else { [0; Self::WORDS] };
            self.until = now + window;
        }
        let (word, bit) = Self::place(key);
        self.bits[word] |= bit;
    }

    fn have(&self, key: u64) -> bool {
        let (word, bit) = Self::place(key);
        (self.bits[word] | self.earlier[word]) & bit != 0
    }

    /// By bits that have little to do with the buckets of the key, or all that come to one of those
    /// would have the same.
    const fn place(key: u64) -> (usize, u64) {
        let bits = key as usize;
        (bits / 64 % Self::WORDS, 1 << (bits % 64))
    }
}

impl Default for Sharers {
    fn default() -> Self {
        Self {
            bits: [0; Self::WORDS],
            earlier: [0; Self::WORDS],
            until: 0,
        }
    }
}
