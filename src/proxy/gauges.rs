use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::outcome::{Guard, OnOutcome, Outcome};

/// What a [`ReverseProxy`](super::ReverseProxy) is doing, and how its exchanges ended.
///
/// A clone reads the same counters. An exchange lasts from the call to the end of the response
/// body; refusals that never went upstream are not counted.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    started: AtomicU64,
    completed: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
}

/// Counts the end of one exchange.
#[derive(Debug)]
pub(super) struct Ended(Arc<Counters>);

impl Gauges {
    /// Exchanges that are not over.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        // The ends are read first, so that one that comes in between cannot make this negative.
        let ended = self.completed() + self.failed() + self.cancelled();
        self.counters.started.load(Relaxed).saturating_sub(ended)
    }

    /// Exchanges whose response body was relayed to its end.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.counters.completed.load(Relaxed)
    }

    /// Exchanges that broke off: the upstream's answer, or the upload of a client; or that took the
    /// upstream too long.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.counters.failed.load(Relaxed)
    }

    /// Exchanges whose client went away first.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.counters.cancelled.load(Relaxed)
    }

    pub(super) fn start(&self) -> Guard<Ended> {
        self.counters.started.fetch_add(1, Relaxed);
        Guard::new(Ended(Arc::clone(&self.counters)))
    }
}

impl OnOutcome for Ended {
    fn on_outcome(self, outcome: Outcome) {
        let Counters {
            started: _,
            completed,
            failed,
            cancelled,
        } = &*self.0;
        let counter = match outcome {
            Outcome::Complete => completed,
            Outcome::Failed => failed,
            Outcome::Cancelled => cancelled,
        };
        counter.fetch_add(1, Relaxed);
    }
}
