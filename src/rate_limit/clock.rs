use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// Tells the time to a limiter.
///
/// For tests, and for whoever has a cheaper clock. It has to be the same for all threads, and must not
/// go back: if it does, keys wait for as long as it went back, but nobody gets more than a burst.
pub trait Clock {
    /// The time since a point that never changes, of which 292 years are told apart.
    fn now(&self) -> Duration;
}

/// A clock that starts with its construction, and never goes back.
///
/// It is tokio's, so that a paused clock of a test can move it; where there is no such clock it is that
/// of the system, at the same price, inside of a runtime and outside.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start: Instant,
}

impl MonotonicClock {
    /// Starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Duration {
        C::now(self)
    }
}

/// The latest time that is told apart: two of the longest windows can be added to it.
pub(super) const MAX_NANOS: u64 = 1 << 63;

/// A time in nanoseconds.
#[inline]
pub(super) fn nanos(time: Duration) -> u64 {
    let seconds = time.as_secs().saturating_mul(1_000_000_000);
    let nanos = seconds.saturating_add(u64::from(time.subsec_nanos()));
    nanos.min(MAX_NANOS)
}
