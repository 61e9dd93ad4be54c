use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::time::Instant;

use super::pause::Pauses;
use crate::seldom::Seldom;

/// What the services of a layer share that has nothing to do with the types of its interceptors.
#[derive(Debug)]
pub(super) struct State {
    pub(super) pauses: Arc<Pauses>,
    pub(super) tally: Tally,
    log: Log,
}

/// What was told of what may be as much as responses.
#[derive(Debug)]
struct Log {
    start: Instant,
    dropped: Seldom,
    refused: Seldom,
}

impl Default for State {
    fn default() -> Self {
        Self {
            pauses: Arc::default(),
            tally: Tally::default(),
            log: Log {
                start: Instant::now(),
                dropped: Seldom::new(),
                refused: Seldom::new(),
            },
        }
    }
}

impl Log {
    fn now(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// What is not as usual. Messages that pass as they are count nothing, so that they touch nothing that all
/// threads write.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tally {
    pub(super) replaced: Count,
    pub(super) refused: Count,
    pub(super) responded: Count,
    pub(super) failed: Count,
    pub(super) paused: Count,
    pub(super) expired: Count,
    pub(super) unreadable: Count,
    pub(super) dropped: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a layer has done so far, and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterceptStats {
    /// Messages in whose place another one went on, counted each time.
    pub replaced_total: u64,
    /// Messages that were refused, by an interceptor or by somebody who had them held.
    pub refused_total: u64,
    /// Messages that were answered in place of the server.
    pub responded_total: u64,
    /// Interceptors that have panicked, taken too long, returned an error, or what was no message.
    pub failed_total: u64,
    /// Messages that were held.
    pub paused_total: u64,
    /// Messages about which nobody has decided in time, or that were too many.
    pub expired_total: u64,
    /// What nobody could read, where somebody was interested: no JSON, no message, too long, or to be read in
    /// two ways.
    pub unreadable_total: u64,
    /// Requests of servers that were left out of responses in which there must not be any (S25).
    pub dropped_total: u64,
    /// Messages that are held now.
    pub held: usize,
}

impl State {
    /// Takes note that a server's request was dropped.
    #[cold]
    pub(super) fn note_dropped(&self) {
        self.tally.dropped.add();
        if let Some(requests) = self.log.dropped.count(1, self.log.now()) {
            tracing::warn!(requests, "a server asks where it must not: that is dropped");
        }
    }

    /// Takes note that a response was refused, because of what its headers say.
    #[cold]
    pub(super) fn note_refused(&self) {
        self.tally.unreadable.add();
        if let Some(responses) = self.log.refused.count(1, self.log.now()) {
            tracing::warn!(responses, "responses cannot be inspected, and are refused");
        }
    }

    pub(super) fn stats(&self) -> InterceptStats {
        let Tally {
            replaced,
            refused,
            responded,
            failed,
            paused,
            expired,
            unreadable,
            dropped,
        } = &self.tally;
        InterceptStats {
            replaced_total: replaced.get(),
            refused_total: refused.get(),
            responded_total: responded.get(),
            failed_total: failed.get(),
            paused_total: paused.get(),
            expired_total: expired.get(),
            unreadable_total: unreadable.get(),
            dropped_total: dropped.get(),
            held: self.pauses.count(),
        }
    }
}
