use std::{error::Error, fmt, time::Duration};

use super::clock::nanos;

/// How much a key may do: units that come back one by one, and how many of them there are at most.
///
/// A request costs one unit unless the layer says otherwise. Whoever has spent nothing for long may
/// spend [`burst`](Self::burst) units at once, and from then on one unit per
/// [`interval`](Self::interval): in every window of length *w*, no more than `burst + w / interval`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds per unit.
    interval: u64,
    burst: u32,
}

impl Quota {
    /// What has no limit: for a limiter that only counts what is open.
    pub const UNLIMITED: Self = Self {
        interval: 0,
        burst: u32::MAX,
    };

    /// The longest [`window`](Self::window): a hundred years, which every clock can add twice.
    pub const MAX_WINDOW: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

    /// `units` per second, and as many at once.
    ///
    /// # Errors
    ///
    /// As [`per`](Self::per).
    pub const fn per_second(units: u32) -> Result<Self, QuotaError> {
        Self::per(Duration::from_secs(1), units)
    }

    /// `units` per minute, and as many at once.
    ///
    /// # Errors
    ///
    /// As [`per`](Self::per).
    pub const fn per_minute(units: u32) -> Result<Self, QuotaError> {
        Self::per(Duration::from_secs(60), units)
    }

    /// `units` per `period`, and as many at once.
    ///
    /// The time per unit is rounded up to whole nanoseconds, so that nobody gets more than that: of
    /// several hundred millions per second it may be noticeably less.
    ///
    /// # Errors
    ///
    /// If either is zero, if there is more than one unit per nanosecond, or if the period is longer
    /// than [`MAX_WINDOW`](Self::MAX_WINDOW).
    pub const fn per(period: Duration, units: u32) -> Result<Self, QuotaError> {
        let nanos = period.as_nanos();
        if units == 0 {
            return Err(QuotaError::new(QuotaErrorKind::NoUnits));
        }
        if nanos == 0 {
            return Err(QuotaError::new(QuotaErrorKind::NoPeriod));
        }
        if nanos < units as u128 {
            return Err(QuotaError::new(QuotaErrorKind::TooFast));
        }
        if nanos > Self::MAX_WINDOW.as_nanos() {
            return Err(QuotaError::new(QuotaErrorKind::TooLong));
        }
        let quota = Self {
            interval: nanos.div_ceil(units as u128) as u64,
            burst: units,
        };
        // Rounded up, it may be longer.
        quota.with_burst(units)
    }

    /// The same rate with up to `burst` units at once.
    ///
    /// # Errors
    ///
    /// If there are none, or if it takes longer than [`MAX_WINDOW`](Self::MAX_WINDOW) until they are
    /// back.
    pub const fn with_burst(self, burst: u32) -> Result<Self, QuotaError> {
        if burst == 0 {
            return Err(QuotaError::new(QuotaErrorKind::NoBurst));
        }
        if self.interval as u128 * burst as u128 > Self::MAX_WINDOW.as_nanos() {
            return Err(QuotaError::new(QuotaErrorKind::TooLong));
        }
        Ok(Self { burst, ..self })
    }

    /// The time until one unit is back.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// How many units may be spent at once.
    #[must_use]
    #[inline]
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The time until all units are back.
    #[must_use]
    pub const fn window(&self) -> Duration {
        Duration::from_nanos(self.window_nanos())
    }

    /// Whether it has no limit.
    #[must_use]
    #[inline]
    pub const fn is_unlimited(&self) -> bool {
        self.interval == 0
    }

    #[inline]
    pub(super) const fn window_nanos(&self) -> u64 {
        self.interval * self.burst as u64
    }

    /// The time until so many units are back.
    pub(super) const fn nanos_of(&self, units: u32) -> u64 {
        self.interval.saturating_mul(units as u64)
    }

    /// Spends `cost` units of a key, by the generic cell rate algorithm: all that is kept of the key is
    /// when its units will all be back. All times are nanoseconds of one clock.
    ///
    /// # Errors
    ///
    /// With the time to wait, if there are not that many. More than the burst there never are, and
    /// somebody has to look before.
    #[inline]
    pub(super) fn spend(&self, whole_at: u64, now: u64, cost: u32) -> Result<u64, u64> {
        let spent = whole_at.max(now) + u64::from(cost) * self.interval;
        // What is free, or has no limit, never waits: not for a clock that went back, nor for whoever has
        // looked at it earlier and came later.
        if cost == 0 || self.is_unlimited() {
            return Ok(spent);
        }
        let limit = now + self.window_nanos();
        if spent <= limit {
            Ok(spent)
        } else {
            Err(spent - limit)
        }
    }

    /// The units that are left of a key whose units will all be back after `whole_in`.
    #[must_use]
    pub fn left(&self, whole_in: Duration) -> u32 {
        let left = self.window_nanos().saturating_sub(nanos(whole_in));
        let units = left.checked_div(self.interval);
        units.map_or(self.burst, |units| u32::try_from(units).unwrap_or(u32::MAX))
    }

    /// The time until there is one more than [`left`](Self::left), unless all are there.
    pub(super) fn next_in(&self, whole_in: Duration) -> Option<Duration> {
        let missing = self
            .burst
            .checked_sub(self.left(whole_in))?
            .checked_sub(1)?;
        let rest = u64::from(missing) * self.interval;
        Some(whole_in.saturating_sub(Duration::from_nanos(rest)))
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unlimited() {
            return f.write_str("Quota(unlimited)");
        }
        f.debug_struct("Quota")
            .field("interval", &self.interval())
            .field("burst", &self.burst)
            .finish()
    }
}

/// There is no such quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaError {
    kind: QuotaErrorKind,
}

/// What is wrong with a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuotaErrorKind {
    /// No units per period: nothing would ever be let in.
    NoUnits,
    /// A period of no time.
    NoPeriod,
    /// No units at once.
    NoBurst,
    /// More than one unit per nanosecond.
    TooFast,
    /// The units are back only after [`Quota::MAX_WINDOW`].
    TooLong,
}

impl QuotaError {
    const fn new(kind: QuotaErrorKind) -> Self {
        Self { kind }
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> QuotaErrorKind {
        self.kind
    }
}

impl fmt::Display for QuotaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            QuotaErrorKind::NoUnits => "a quota of no units lets nothing in",
            QuotaErrorKind::NoPeriod => "the period of a quota is zero",
            QuotaErrorKind::NoBurst => "a quota without a burst lets nothing in",
            QuotaErrorKind::TooFast => "a quota has more than one unit per nanosecond",
            QuotaErrorKind::TooLong => {
                "a quota takes longer than a hundred years to be whole again"
            }
        })
    }
}

impl Error for QuotaError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r08_senseless_quotas_are_not_made() {
        use QuotaErrorKind::{NoBurst, NoPeriod, NoUnits, TooFast, TooLong};

        let per = |period, units| Quota::per(period, units).map_err(|error| error.kind());
        assert_eq!(per(Duration::from_secs(1), 0), Err(NoUnits));
        assert_eq!(per(Duration::ZERO, 1), Err(NoPeriod));
        assert_eq!(per(Duration::from_secs(1), u32::MAX), Err(TooFast));
        assert_eq!(per(Duration::MAX, 1), Err(TooLong));
        assert_eq!(
            per(Quota::MAX_WINDOW + Duration::from_nanos(1), 1),
            Err(TooLong)
        );
        assert!(per(Quota::MAX_WINDOW, 1).is_ok());
        let one = Quota::per_second(1).expect("a quota");
        let burst = |burst| one.with_burst(burst).map_err(|error| error.kind());
        assert_eq!(burst(0), Err(NoBurst));
        assert_eq!(burst(u32::MAX), Err(TooLong));
        assert!(burst(1_000_000_000).is_ok());
    }

    #[test]
    fn interval_is_rounded_up_and_the_burst_is_the_units() {
        let quota = Quota::per_minute(7).expect("a quota");
        assert_eq!(quota.interval(), Duration::from_nanos(8_571_428_572));
        assert_eq!(quota.burst(), 7);
        assert_eq!(quota.window(), quota.interval() * 7);
        let fast = Quota::per_second(1_000_000_000).expect("a quota");
        assert_eq!(fast.interval(), Duration::from_nanos(1));
    }

    #[test]
    fn units_are_spent_and_come_back() {
        let quota = Quota::per(Duration::from_nanos(30), 3).expect("a quota");
        let left = |whole_in| quota.left(Duration::from_nanos(whole_in));
        assert_eq!(left(0), 3);
        assert_eq!(quota.spend(0, 100, 2), Ok(120));
        assert_eq!(left(20), 1);
        assert_eq!(quota.spend(120, 100, 2), Err(10));
        assert_eq!(quota.spend(120, 109, 2), Err(1));
        assert_eq!(quota.spend(120, 110, 2), Ok(140));
        assert_eq!([left(30), left(21), left(20)], [0, 0, 1]);
    }

    #[test]
    fn next_unit_is_back_when_there_is_one_more() {
        let quota = Quota::per(Duration::from_nanos(30), 3).expect("a quota");
        for (whole_in, next_in) in [
            (0, None),
            (1, Some(1)),
            (10, Some(10)),
            (11, Some(1)),
            (29, Some(9)),
            (30, Some(10)),
            // A clock that went back.
            (35, Some(15)),
        ] {
            let had = quota.next_in(Duration::from_nanos(whole_in));
            assert_eq!(had, next_in.map(Duration::from_nanos), "{whole_in}");
        }
        assert_eq!(Quota::UNLIMITED.next_in(Duration::ZERO), None);
    }

    #[test]
    fn what_is_unlimited_never_says_no() {
        let quota = Quota::UNLIMITED;
        assert_eq!(quota.spend(0, 5, u32::MAX), Ok(5));
        // Somebody else has been here since the clock was read.
        assert_eq!(quota.spend(6, 5, 1), Ok(6));
        assert_eq!(quota.left(Duration::ZERO), u32::MAX);
        assert_eq!(format!("{quota:?}"), "Quota(unlimited)");
    }

    #[test]
    fn greatest_numbers_can_be_added() {
        let quota = Quota::per(Quota::MAX_WINDOW, 1).expect("a quota");
        let now = super::super::clock::MAX_NANOS;
        let spent = quota.spend(0, now, 1).expect("it is whole");
        assert!(quota.spend(spent, now, 1).is_err());
    }
}
