use std::{num::NonZeroU16, time::Duration};

use super::{Budget, Charge, Hold, Quota, Rejection};

/// What each key may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) requests: Quota,
    pub(super) resumes: Quota,
    pub(super) max_streams: Option<NonZeroU16>,
}

/// What is kept of one key, wherever that is. All times are nanoseconds of the limiter's clock.
pub(super) struct Account<'a> {
    /// When the units will all be back.
    pub(super) requests: &'a mut u64,
    pub(super) resumes: &'a mut u64,
    /// How many are open.
    pub(super) streams: &'a mut u32,
    pub(super) calls: &'a mut u32,
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
        let spent = quota.spend(*whole_at, now, charge.cost()).map_err(|wait| {
            let left = quota.left(whole_at.saturating_sub(now));
            Rejection::over_quota(left, Duration::from_nanos(wait))
        })?;
        if let (Some(max), Some(hold)) = (limits.max_streams, charge.hold()) {
            let max = u32::from(max.get());
            let has_room = match hold {
                Hold::Call => *self.calls < max,
                Hold::Stream => *self.streams < max,
                // What it takes the place of is one of either kind, and still counted. All of them may
                // be half open: each that comes back ends one, and the next may come.
                Hold::Resumption => *self.streams + *self.calls <= 2 * max,
            };
            if !has_room {
                let left = quota.left(whole_at.saturating_sub(now));
                return Err(Rejection::too_many_open(left));
            }
            *match hold {
                Hold::Call => self.calls,
                Hold::Stream | Hold::Resumption => self.streams,
            } += 1;
        }
        *whole_at = spent;
        Ok(spent - now)
    }

    /// Gives back what was kept open.
    pub(super) fn release(self, hold: Hold) {
        let count = match hold {
            Hold::Call => self.calls,
            Hold::Stream | Hold::Resumption => self.streams,
        };
        *count = count.saturating_sub(1);
    }
}
