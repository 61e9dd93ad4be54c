//! Log lines that would be as many as requests.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counts what happens, and has it told every now and then.
#[derive(Debug)]
pub(crate) struct Seldom {
    untold: AtomicU64,
    next: AtomicI64,
}

impl Seldom {
    /// Between two lines.
    pub(crate) const EVERY: Duration = Duration::from_secs(10);

    pub(crate) const fn new() -> Self {
        Self {
            untold: AtomicU64::new(0),
            next: AtomicI64::new(i64::MIN),
        }
    }

    /// Counts `more`. How many to tell of, if the last time is long enough ago; `now` is in
    /// nanoseconds of any one clock.
    pub(crate) fn count(&self, more: u64, now: i64) -> Option<u64> {
        self.untold.fetch_add(more, Relaxed);
        let next = self.next.load(Relaxed);
        if now < next {
            return None;
        }
        let later = now.saturating_add(Self::EVERY.as_nanos() as i64);
        // One of many tells.
        let tells = self.next.compare_exchange(next, later, Relaxed, Relaxed);
        tells.is_ok().then(|| self.untold.swap(0, Relaxed))
    }
}

impl Default for Seldom {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_is_told_at_once_and_the_rest_together() {
        let seldom = Seldom::new();
        let every = Seldom::EVERY.as_nanos() as i64;
        assert_eq!(seldom.count(1, -5), Some(1));
        assert_eq!(seldom.count(1, -4), None);
        assert_eq!(seldom.count(3, every - 6), None);
        assert_eq!(seldom.count(1, every - 5), Some(5));
        assert_eq!(seldom.count(1, every), None);
    }
}
