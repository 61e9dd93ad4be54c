use super::{
    Charge, LimiterStats, Quota, Rejection, RejectionKind,
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

/// How much each has spent of it within a window, and perhaps others: a number is for many keys. What
/// they have spent before that is back.
struct Sharers {
    units: [u32; Self::CELLS],
    /// Those of the window before.
    earlier: [u32; Self::CELLS],
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
                let cost = charge.cost();
                self.sharers.add(key, cost, now, limits.window_nanos());
            }
            Err(rejection) if rejection.kind() == RejectionKind::OverQuota => self.over_quota += 1,
            Err(_) => {}
        }
        charged
    }

    /// What a key owes that is to have an account of its own, so that nobody has two bursts: its part in
    /// what is owed. A part that others have spent is small, or a burst of many units would keep all that
    /// are new out of their accounts.
    pub(super) fn debt_of(&self, key: u64, now: u64, limits: &Limits) -> Debt {
        let units = self.sharers.spent(key);
        if units == 0 {
            return Debt::default();
        }
        let part =
            |whole_at: u64, quota: &Quota| whole_at.min(now.saturating_add(quota.nanos_of(units)));
        Debt {
            requests: part(self.debt.requests, &limits.requests),
            resumes: part(self.debt.resumes, &limits.resumes),
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
    /// In all eight kibibytes.
    const CELLS: usize = 1024;

    fn add(&mut self, key: u64, units: u32, now: u64, window: u64) {
        if now >= self.until {
            let is_next = now - self.until < window;
            let units = std::mem::replace(&mut self.units, [0; Self::CELLS]);
            self.earlier = if is_next { units } else { [0; Self::CELLS] };
            self.until = now + window;
        }
        let cell = &mut self.units[Self::cell(key)];
        *cell = cell.saturating_add(units);
    }

    fn spent(&self, key: u64) -> u32 {
        let cell = Self::cell(key);
        self.units[cell].saturating_add(self.earlier[cell])
    }

    /// By bits that have little to do with the buckets of the key, or all that come to one of those
    /// would have the same.
    const fn cell(key: u64) -> usize {
        key as usize % Self::CELLS
    }
}

impl Default for Sharers {
    fn default() -> Self {
        Self {
            units: [0; Self::CELLS],
            earlier: [0; Self::CELLS],
            until: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn key_owes_what_it_has_spent_itself_and_little_of_what_others_have() {
        let limits = Limits {
            requests: Quota::per(Duration::from_secs(3_600), 1_000).expect("a quota"),
            resumes: Quota::UNLIMITED,
            has_resumes: false,
            max_streams: None,
        };
        let mut overflow = Overflow::default();
        let unit = limits.requests.nanos_of(1);
        for key in 1..=900 {
            let charged = overflow.charge(key, Charge::new(1), 0, &limits);
            assert!(charged.is_ok(), "{key}");
        }
        assert!(overflow.charge(1, Charge::new(90), 0, &limits).is_ok());
        // Refused, and so it has spent nothing.
        assert!(overflow.charge(950, Charge::new(90), 0, &limits).is_err());
        let owed = |key: u64| overflow.debt_of(key, 0, &limits).requests;
        assert_eq!(owed(1), 91 * unit);
        assert_eq!(owed(2), unit);
        assert_eq!(owed(950), 0);
        // By chance in the same place as the second.
        assert_eq!(owed(2 + Sharers::CELLS as u64), unit);
        // Never more than all together.
        assert_eq!(
            overflow.debt_of(1, 989 * unit, &limits).requests,
            990 * unit
        );
    }
}
