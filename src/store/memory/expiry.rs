use std::{
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{log::Log, shared::Shared};

/// How long ended streams are there.
impl Shared {
    /// The deadline of a stream that ends now.
    pub(super) fn new_deadline(&self) -> u64 {
        let deadline = self.now().saturating_add(nanos(self.limits.retain_for));
        deadline.min(Log::LIVE - 1)
    }

    pub(super) fn is_expired(&self, log: &Log) -> bool {
        let deadline = log.deadline.load(Relaxed);
        deadline != Log::LIVE && deadline <= self.now()
    }

    /// Forgets what has expired. The next deadline; if there is none, the sweeper is done.
    fn sweep(&self) -> Option<Instant> {
        self.expire();
        let mut registry = self.registry();
        let deadline = registry.deadline().map(Duration::from_nanos);
        let next = deadline.and_then(|deadline| self.epoch.checked_add(deadline));
        registry.is_swept = next.is_some();
        next
    }

    pub(super) fn expire_unless_swept(&self) {
        let is_swept = {
            let registry = self.registry();
            registry.is_swept || registry.deadline().is_none()
        };
        if !is_swept {
            self.expire();
        }
    }

    pub(super) fn expire(&self) {
        let now = self.now();
        loop {
            // Unlocked again before the stream is.
            let expired = self.registry().remove_expired(now);
            let Some(log) = expired else { return };
            self.forget(&log);
        }
    }

    fn now(&self) -> u64 {
        nanos(Instant::now().saturating_duration_since(self.epoch))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The task that forgets streams when their time has come, until there are none, or no store.
pub(super) struct Sweeper {
    store: Weak<Shared>,
    is_over: bool,
}

impl Sweeper {
    pub(super) fn new(store: &Arc<Shared>) -> Self {
        Self {
            store: Arc::downgrade(store),
            is_over: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let next = match self.store.upgrade() {
                Some(store) => store.sweep(),
                None => None,
            };
            let Some(next) = next else {
                // The store knows, and may have another task by now.
                self.is_over = true;
                return;
            };
            sleep_until(next).await;
        }
    }
}

/// Dropped with its runtime, it must not leave a store behind that believes to be swept.
impl Drop for Sweeper {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(store) = self.store.upgrade()
        {
            store.registry().is_swept = false;
        }
    }
}
