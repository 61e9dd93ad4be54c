use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use tokio::{runtime::Handle, time::Instant};

use super::{
    account::Balance,
    expiry::Sweeper,
    limits::Limits,
    log::Log,
    records::Step,
    registry::{Group, Need, Registry},
    stats::MemoryStats,
};
use crate::{
    sse::StreamKey,
    store::{End, Owner, StoreErrorKind},
};

/// What all clones of a store share.
///
/// There is one lock for the registry and one for each log, and nobody ever holds two: what the
/// registry decides about a log is done after the registry is unlocked.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    /// What deadlines are counted from.
    pub(super) epoch: Instant,
    pub(super) balance: Balance,
    pub(super) evicted: AtomicU64,
    registry: Mutex<Registry>,
}

impl Shared {
    /// What a stream costs before it has any events.
    pub(super) const COST: usize = size_of::<Log>() + 2 * size_of::<usize>() + Registry::COST;

    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            epoch: Instant::now(),
            balance: Balance::default(),
            evicted: AtomicU64::new(0),
            registry: Mutex::new(Registry::new()),
        }
    }

    pub(super) fn stats(&self) -> MemoryStats {
        MemoryStats {
            streams: self.registry().len(),
            bytes: self.balance.all(),
            evicted: self.evicted.load(Relaxed),
        }
    }

    pub(super) fn registry(&self) -> MutexGuard<'_, Registry> {
        // Nothing in here can panic half way.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(
        &self,
        key: StreamKey,
        owner: Owner,
        about: &[u8],
    ) -> Result<Arc<Log>, StoreErrorKind> {
        self.expire();
        let cost = Self::COST + about.len();
        let opened = {
            let mut registry = self.registry();
            let opened = registry.insert(key, owner, about);
            if let Some(log) = &opened {
                // Before somebody else can find it, and take back what it costs.
                self.charge(&log.account, cost);
            }
            opened
        };
        let log = opened.ok_or(StoreErrorKind::Conflict)?;
        if self.reclaim(&log, 0, Need::Urgent) > 0 {
            // Everything that can be forgotten is.
            self.registry().remove(&log);
            self.forget(&log);
            return Err(StoreErrorKind::Unavailable);
        }
        Ok(log)
    }

    /// The stream, if it is there and `owner`'s.
    pub(super) fn find(&self, key: StreamKey, owner: Owner) -> Result<Arc<Log>, StoreErrorKind> {
        self.expire_unless_swept();
        let log = self.registry().find(key).map(Arc::clone);
        match log {
            Some(log) if log.account.owner == owner && !self.is_expired(&log) => Ok(log),
            _ => Err(StoreErrorKind::NotFound),
        }
    }

    pub(super) fn append(
        &self,
        log: &Arc<Log>,
        sequence: u64,
        event: &[u8],
    ) -> Result<(), StoreErrorKind> {
        let mut state = log.lock();
        if !state.admits(sequence)? {
            return Ok(());
        }
        let len = event.len();
        let (mut step, mut credit) = (Step::Twofold, 0);
        let grows = state.records.growth(len, &self.limits, step) != (0, 0);
        if grows {
            step = self.step(&log.account);
            let (least, best) = state.records.growth(len, &self.limits, step);
            drop(state);
            credit = self.reserve(log, least, best);
            state = log.lock();
            // It may be purged meanwhile.
            if let Err(error) = state.admits(sequence) {
                self.release(&log.account, credit);
                return Err(error);
            }
        }

        let before = state.records.held();
        let forgotten = state.records.push(event, credit, &self.limits, step);
        let after = state.records.held();
        if after != before || credit != 0 {
            // Under the log's lock: what it holds is counted by the time somebody else can take it.
            self.charge(&log.account, after);
            self.release(&log.account, before + credit);
        }
        if forgotten > 0 {
            self.count(&mut state, forgotten);
        }
        // Evicted streams leave their group before they lose their events.
        let is_new = grows && log.group.load(Relaxed) == Group::Bare as u8;
        let woken = state.waiters.take();
        drop(state);

        if !log.is_touched.load(Relaxed) {
            log.is_touched.store(true, Relaxed);
        }
        if is_new {
            self.enlist(log);
        }
        woken.wake();
        Ok(())
    }

    pub(super) fn close(self: &Arc<Self>, log: &Arc<Log>, end: End) -> Result<(), StoreErrorKind> {
        let mut state = log.lock();
        if state.is_gone {
            return Err(StoreErrorKind::NotFound);
        }
        if state.end.is_some() {
            return Ok(());
        }
        state.end = Some(end);
        // Nobody writes any more, and a stream is kept for long after its end.
        let unused = state.records.shrink();
        self.release(&log.account, unused);
        self.end(&log.account, state.held());
        let woken = state.waiters.take();
        drop(state);
        woken.wake();

        let runtime = {
            let mut registry = self.registry();
            // In here, so that the deadlines are in the order of the list.
            log.deadline.store(self.new_deadline(), Relaxed);
            registry.regroup(log, Group::Ended);
            let runtime = if registry.is_swept {
                None
            } else {
                Handle::try_current().ok()
            };
            registry.is_swept |= runtime.is_some();
            runtime
        };
        match runtime {
            // Unlocked: a runtime that is shut down drops the task at once.
            Some(runtime) => drop(runtime.spawn(Sweeper::new(self).run())),
            None => self.expire_unless_swept(),
        }
        Ok(())
    }

    pub(super) fn purge(&self, owner: Owner) {
        let purged = self.registry().remove_all(owner);
        for log in &purged {
            self.forget(log);
        }
        self.expire();
    }
}
