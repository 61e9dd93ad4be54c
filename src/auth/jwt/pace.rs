use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How much time tokens may take from those who serve requests.
///
/// Whatever has to be read of a token that is not known counts, whether it comes to a signature or not.
/// A signature takes 13 µs to check, or 200 with the largest keys, which is too little to hand it to
/// another thread and too much to do thousands of times a second between two events of a stream. So it
/// is done at once as long as that takes no more than a quarter of one thread's time, which leaves a
/// stream's latency what it is, and beyond that on threads of their own, no more than half as many as
/// there are cores (C61). To hand each over would cost more than most of them take.
#[derive(Debug)]
pub(super) struct Pace {
    born: Instant,
    /// Which part of time it is, and the nanoseconds spent in it: one word, so that no lock is needed.
    spent: AtomicU64,
    threads: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    allowance: Duration,
}

/// A place among those that wait, and then on a thread.
#[derive(Debug)]
pub(super) struct Queued {
    _waiting: OwnedSemaphorePermit,
    threads: Arc<Semaphore>,
}

impl Pace {
    /// A part of time. Short, so that what is saved up in a quiet one is no burst that is felt.
    const WINDOW: Duration = Duration::from_millis(50);

    /// What may be spent in each.
    pub(super) const ALLOWANCE: Duration = Duration::from_micros(12_500);

    /// More is not told apart: 4 s.
    const MAX_NANOS: u64 = u32::MAX as u64;

    /// How many may wait for a thread.
    const MAX_WAITING: usize = 1_024;

    pub(super) fn new(allowance: Duration) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            born: Instant::now(),
            spent: AtomicU64::new(0),
            threads: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::new(Semaphore::new(Self::MAX_WAITING)),
            allowance,
        }
    }

    /// Whether a signature may be checked at once.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let (_, nanos) = self.spent_in(self.window(now));
        u128::from(nanos) < self.allowance.as_nanos()
    }

    /// What was spent in a part of time, with that part and without.
    fn spent_in(&self, window: u64) -> (u64, u64) {
        let spent = self.spent.load(Relaxed);
        let nanos = if spent >> 32 == window {
            spent & Self::MAX_NANOS
        } else {
            0
        };
        (window << 32, nanos)
    }

    /// What was spent in the last part of time in which anything was.
    #[cfg(test)]
    pub(super) fn last_spent(&self) -> Duration {
        Duration::from_nanos(self.spent.load(Relaxed) & Self::MAX_NANOS)
    }

    /// Says that so much time was spent. What another thread says in the same moment may be lost, which
    /// does no harm.
    pub(super) fn spend(&self, from: Instant, to: Instant) {
        let (window, before) = self.spent_in(self.window(to));
        let nanos = (to - from).as_nanos().min(u128::from(Self::MAX_NANOS)) as u64;
        let spent = (before + nanos).min(Self::MAX_NANOS);
        self.spent.store(window | spent, Relaxed);
    }

    fn window(&self, now: Instant) -> u64 {
        let born = now.saturating_duration_since(self.born);
        (born.as_millis() / Self::WINDOW.as_millis()) as u64 & u64::from(u32::MAX)
    }

    /// A place to wait for a thread; `None` if there is none.
    pub(super) fn place(&self) -> Option<Queued> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        Some(Queued {
            _waiting: waiting,
            threads: Arc::clone(&self.threads),
        })
    }
}

impl Queued {
    /// Waits for the turn.
    pub(super) async fn turn(self) -> Option<OwnedSemaphorePermit> {
        // It is never closed.
        self.threads.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn c61_so_much_in_each_part_of_time() {
        let pace = Pace::new(Duration::from_millis(5));
        let start = Instant::now();
        assert!(pace.allows(start));
        pace.spend(start, start + Duration::from_millis(4));
        assert!(pace.allows(start + Duration::from_millis(4)));
        pace.spend(
            start + Duration::from_millis(4),
            start + Duration::from_millis(5),
        );
        assert!(!pace.allows(start + Duration::from_millis(5)));
        assert!(!pace.allows(start + Duration::from_millis(49)));
        assert!(pace.allows(start + Duration::from_millis(50)));
        // Many short ones are long together.
        for _ in 0..10_000 {
            let at = start + Duration::from_millis(100);
            pace.spend(at, at + Duration::from_nanos(500));
        }
        assert!(!pace.allows(start + Duration::from_millis(101)));
        // Nor do several that are too long run over.
        for _ in 0..3 {
            pace.spend(start, start + Duration::from_secs(3));
        }
        assert!(!pace.allows(start + Duration::from_secs(3)));
        assert!(pace.allows(start + Duration::from_secs(3) + Pace::WINDOW));
        // What one takes that is longer than its part is not made up for.
        pace.spend(start, start + Duration::from_secs(60));
        assert!(!pace.allows(start + Duration::from_secs(60)));
        assert!(pace.allows(start + Duration::from_secs(60) + Pace::WINDOW));
    }

    #[tokio::test]
    async fn so_many_wait_and_no_more() {
        let pace = Pace::new(Duration::ZERO);
        let places: Vec<_> = (0..Pace::MAX_WAITING).map_while(|_| pace.place()).collect();
        assert_eq!(places.len(), Pace::MAX_WAITING);
        assert!(pace.place().is_none());
        drop(places);
        assert!(pace.place().is_some());
    }
}
