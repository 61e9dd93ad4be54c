use std::{num::NonZeroU16, time::Duration};

use super::{Budget, Charge, Hold, Quota, Rejection};

/// What each key may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) requests: Quota,
    pub(super) resumes: Quota,
    /// Whether somebody has said how often one may come back.
    pub(super) has_resumes: bool,
    pub(super) max_streams: Option<NonZeroU16>,
}

/// What is kept of one key, wherever that is. All times are nanoseconds of the limiter's clock.
pub(super) struct Account<'a> {
    /// When the units will all be back.
    pub(super) requests: &'a mut u64,
    pub(super) resumes: &'a mut u64,
    pub(super) open: &'a mut Open,
}

/// How much is open.
///
/// What comes back for a stream takes the place of one, or of a call, that may still be counted, and
/// nobody knows of which: so it is counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    calls: u16,
    streams: u16,
    resumptions: u32,
}

impl Limits {
    #[inline]
    pub(super) const fn quota(&self, budget: Budget) -> &Quota {
        match budget {
            Budget::Requests => &self.requests,
            Budget::Resumes => &self.resumes,
        }
    }

    /// What is really kept open: nothing, if nobody counts.
    #[inline]
    pub(super) fn held(&self, hold: Option<Hold>) -> Option<Hold> {
        hold.filter(|_| self.max_streams.is_some())
    }

    /// The nanoseconds after which whatever a key has spent is back.
    pub(super) fn window_nanos(&self) -> u64 {
        let (requests, resumes) = (self.requests.window_nanos(), self.resumes.window_nanos());
        requests.max(resumes)
    }
}

impl Account<'_> {
    /// Charges all of it, or nothing. Returns the time until all units are back.
    #[inline]
    pub(super) fn charge(
        self,
        charge: Charge,
        now: u64,
        limits: &Limits,
    ) -> Result<u64, Rejection> {
        let quota = limits.quota(charge.budget());
        let whole_at = match charge.budget() {
            Budget::Requests => self.requests,
            Budget::Resumes => self.resumes,
        };
        let whole_in = |whole_at: u64| Duration::from_nanos(whole_at.saturating_sub(now));
        let spent = quota.spend(*whole_at, now, charge.cost()).map_err(|wait| {
            Rejection::over_quota(whole_in(*whole_at), Duration::from_nanos(wait))
        })?;
        if let (Some(max), Some(hold)) = (limits.max_streams, charge.hold()) {
            if !self.open.has_room(hold, max) {
                return Err(Rejection::too_many_open(whole_in(*whole_at)));
            }
            self.open.add(hold);
        }
        *whole_at = spent;
        Ok(spent - now)
    }
}

impl Open {
    pub(super) fn total(self) -> u32 {
        u32::from(self.calls) + u32::from(self.streams) + self.resumptions
    }

    /// Each kind has its own places, and what comes back takes one of either; there may be one more of
    /// them, because the one in whose place it comes may still be there. All of them may be half open:
    /// each that comes back ends one, and the next may come.
    fn has_room(self, hold: Hold, max: NonZeroU16) -> bool {
        let (total, all) = (self.total(), 2 * u32::from(max.get()));
        match hold {
            Hold::Call => self.calls < max.get() && total < all,
            Hold::Stream => self.streams < max.get() && total < all,
            Hold::Resumption => total <= all,
        }
    }

    fn add(&mut self, hold: Hold) {
        match hold {
            Hold::Call => self.calls += 1,
            Hold::Stream => self.streams += 1,
            Hold::Resumption => self.resumptions += 1,
        }
    }

    /// Gives back what was kept open.
    pub(super) fn release(&mut self, hold: Hold) {
        match hold {
            Hold::Call => self.calls = self.calls.saturating_sub(1),
            Hold::Stream => self.streams = self.streams.saturating_sub(1),
            Hold::Resumption => self.resumptions = self.resumptions.saturating_sub(1),
        }
    }
}
