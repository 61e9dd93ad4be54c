use std::sync::{Arc, atomic::Ordering::Relaxed};

use super::{
    account::{Account, Balance},
    log::{About, Log, State},
    records::Step,
    registry::{Group, Need, Scope, Victim},
    shared::Shared,
};

/// So many evicted events are counted at once.
const BATCH: u32 = 64;

/// What is held, and how it becomes less.
impl Shared {
    /// Takes `best` bytes for a log that grows, at the cost of streams that are not in use; but
    /// `least` bytes at the cost of any. Returns how many it got.
    ///
    /// No log is locked meanwhile, so that others can be.
    pub(super) fn reserve(&self, log: &Arc<Log>, least: usize, best: usize) -> usize {
        self.charge(&log.account, best);
        self.reclaim(log, 0, Need::Calm);
        let excess = self.reclaim(log, best - least, Need::Urgent);
        let refused = excess.min(best);
        self.release(&log.account, refused);
        best - refused
    }

    /// By what the rings of an owner grow: what is not used counts as much as what is, and no stream
    /// that is written should lose an event to that.
    pub(super) fn step(&self, account: &Account) -> Step {
        let is_plenty = |balance: &Balance, most: usize| balance.live() < most / 2;
        if is_plenty(&self.balance, self.limits.max_total_bytes)
            && is_plenty(&account.balance, self.limits.max_owner_bytes)
        {
            Step::Plenty
        } else {
            Step::Twofold
        }
    }

    /// Evicts others until `log`'s owner and the store hold no more than `tolerated` bytes over what
    /// they may. Returns how many they did when there was nothing left to evict.
    pub(super) fn reclaim(&self, log: &Arc<Log>, tolerated: usize, need: Need) -> usize {
        let scopes = [Scope::Owner(log.account.owner), Scope::Store];
        let mut left = 0;
        for scope in scopes {
            loop {
                let excess = self.excess(scope, &log.account);
                if excess <= tolerated {
                    left = left.max(excess);
                    break;
                }
                // Unlocked again before the victim is locked.
                let victim = self.registry().evict(scope, log, need);
                match victim {
                    Some(Victim::Whole(victim)) => {
                        let events = victim.lock().records.len();
                        self.forget(&victim);
                        self.evicted.fetch_add(events as u64, Relaxed);
                    }
                    Some(Victim::Events(victim)) => self.clear(&victim),
                    // Not looked at again: others may be about to take, or to give back.
                    None => {
                        left = left.max(excess);
                        break;
                    }
                }
            }
        }
        left
    }

    pub(super) fn charge(&self, account: &Account, bytes: usize) {
        self.balance.charge(bytes);
        account.balance.charge(bytes);
    }

    pub(super) fn release(&self, account: &Account, bytes: usize) {
        self.balance.release(bytes);
        account.balance.release(bytes);
    }

    /// Notes that a stream which holds so much has ended.
    pub(super) fn end(&self, account: &Account, bytes: usize) {
        self.balance.end(bytes);
        account.balance.end(bytes);
    }

    /// [`release`](Self::release) of a stream, as far as it has come.
    fn release_of(&self, log: &Log, state: &State, bytes: usize) {
        if state.end.is_some() {
            self.balance.release_ended(bytes);
            log.account.balance.release_ended(bytes);
        } else {
            self.release(&log.account, bytes);
        }
    }

    /// Counts evicted events: now and then, and not in each append.
    pub(super) fn count(&self, state: &mut State, evicted: usize) {
        state.uncounted = state.uncounted.saturating_add(evicted as u32);
        if state.uncounted >= BATCH {
            self.count_all(state);
        }
    }

    /// Makes a log that is in the registry no more let go of all it has.
    pub(super) fn forget(&self, log: &Log) {
        let mut state = log.lock();
        if state.is_gone {
            return;
        }
        state.is_gone = true;
        self.count_all(&mut state);
        let held = state.held();
        state.records.clear();
        state.about = About::EMPTY;
        self.release_of(log, &state, held);
        let woken = state.waiters.take();
        drop(state);
        woken.wake();
    }

    /// Has the events of a live log evicted when memory is short.
    pub(super) fn enlist(&self, log: &Arc<Log>) {
        let mut registry = self.registry();
        if log.group.load(Relaxed) == Group::Bare as u8 {
            registry.regroup(log, Group::Live);
        }
    }

    /// Makes a live log let go of its events.
    fn clear(&self, log: &Log) {
        let mut state = log.lock();
        if state.is_gone {
            return;
        }
        let held = state.records.held();
        let evicted = state.records.clear();
        // It may have ended meanwhile.
        self.release_of(log, &state, held);
        state.uncounted = state.uncounted.saturating_add(evicted as u32);
        self.count_all(&mut state);
    }

    fn count_all(&self, state: &mut State) {
        self.evicted.fetch_add(state.uncounted.into(), Relaxed);
        state.uncounted = 0;
    }

    fn excess(&self, scope: Scope, account: &Account) -> usize {
        match scope {
            // Whoever is nobody in particular is many.
            Scope::Owner(owner) if owner.is_anonymous() => 0,
            Scope::Owner(_) => {
                let held = account.balance.all();
                held.saturating_sub(self.limits.max_owner_bytes)
            }
            Scope::Store => {
                let held = self.balance.all();
                held.saturating_sub(self.limits.max_total_bytes)
            }
        }
    }
}
