use std::{
    fmt,
    num::NonZeroU64,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

/// What is going on in a session on this node: the ids of its requests under way, and who wants to
/// know that it has ended. Two words as long as there is no more than one request, and nobody.
#[derive(Default)]
pub(super) struct Activity {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// One of the ids. It is not in the box, because most sessions have one request at a time.
    id: Option<NonZeroU64>,
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// The other ids.
    ids: Vec<NonZeroU64>,
    hooks: Vec<(HookKey, Hook)>,
    wakers: Vec<Slot>,
    free: Vec<u32>,
}

type Hook = Box<dyn FnOnce() + Send>;

enum Slot {
    Free,
    Waiting(Waker),
}

/// Names one who wants to know of the ends of sessions, so that he is told of each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HookKey(u64);

impl HookKey {
    /// A key that nobody else in this process has.
    #[must_use]
    // Two of them are never equal, so there is no default one.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

impl Activity {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all of those ids, or none of them if another request has one of them, or two are the
    /// same (D25).
    pub(super) fn claim(&self, ids: &[NonZeroU64]) -> bool {
        let mut state = self.lock();
        let is_taken = |nth: usize, id: &NonZeroU64| state.has(*id) || ids[..nth].contains(id);
        if ids.iter().enumerate().any(|(nth, id)| is_taken(nth, id)) {
            return false;
        }
        for id in ids {
            match &mut state.id {
                None => state.id = Some(*id),
                Some(_) => state.more.get_or_insert_default().ids.push(*id),
            }
        }
        true
    }

    /// Gives ids back that were [claimed](Self::claim).
    pub(super) fn release(&self, ids: &[NonZeroU64]) {
        let mut state = self.lock();
        for id in ids {
            if state.id == Some(*id) {
                state.id = None;
            } else if let Some(more) = &mut state.more
                && let Some(at) = more.ids.iter().position(|one| one == id)
            {
                more.ids.swap_remove(at);
            }
        }
        let rest = state.take_empty();
        // Unlocked: what it drops is not ours to know.
        drop(state);
        drop(rest);
    }

    /// Keeps `hook`, unless there is one of that key. Gives it back if `is_over` says that it is too
    /// late; the one who ends the session asks for the hooks after that is so.
    pub(super) fn add<F: FnOnce() + Send + 'static>(
        &self,
        key: HookKey,
        hook: F,
        is_over: impl FnOnce() -> bool,
    ) -> Option<F> {
        let mut state = self.lock();
        if is_over() {
            return Some(hook);
        }
        let hooks = &mut state.more.get_or_insert_default().hooks;
        if !hooks.iter().any(|(other, _)| *other == key) {
            hooks.push((key, Box::new(hook)));
        }
        None
    }

    /// Has `waker` woken by the end, in place of the one of that ticket; one is made if there is none.
    /// False if `is_over` says that it is too late, as for [`add`](Self::add).
    pub(super) fn register(
        &self,
        ticket: &mut Option<u32>,
        waker: &Waker,
        is_over: impl FnOnce() -> bool,
    ) -> bool {
        let mut state = self.lock();
        if is_over() {
            return false;
        }
        let more = state.more.get_or_insert_default();
        let at = *ticket.get_or_insert_with(|| match more.free.pop() {
            Some(at) => at,
            None => {
                more.wakers.push(Slot::Free);
                // Each has a response body, of which there are no 2³².
                (more.wakers.len() - 1) as u32
            }
        });
        match &mut more.wakers[at as usize] {
            Slot::Waiting(known) if known.will_wake(waker) => {}
            slot => *slot = Slot::Waiting(waker.clone()),
        }
        true
    }

    /// Wakes the one with that ticket no more.
    pub(super) fn deregister(&self, ticket: u32) {
        let mut state = self.lock();
        let Some(more) = state.more.as_mut() else {
            return;
        };
        // After the end there is nobody to wake, and no place either.
        let Some(slot) = more.wakers.get_mut(ticket as usize) else {
            return;
        };
        let waker = std::mem::replace(slot, Slot::Free);
        more.free.push(ticket);
        if more.free.len() == more.wakers.len() {
            (more.wakers, more.free) = (Vec::new(), Vec::new());
        }
        let rest = state.take_empty();
        // Unlocked: what it drops is not ours to know.
        drop(state);
        drop((waker, rest));
    }

    /// Wakes and calls everybody.
    pub(super) fn send(&self) {
        let (wakers, hooks) = {
            let mut state = self.lock();
            let Some(more) = state.more.as_mut() else {
                return;
            };
            more.free = Vec::new();
            let who = (
                std::mem::take(&mut more.wakers),
                std::mem::take(&mut more.hooks),
            );
            state.take_empty();
            who
        };
        for slot in wakers {
            if let Slot::Waiting(waker) = slot {
                waker.wake();
            }
        }
        for (_, hook) in hooks {
            hook();
        }
    }
}

impl State {
    fn has(&self, id: NonZeroU64) -> bool {
        let more = self.more.as_ref();
        self.id == Some(id) || more.is_some_and(|more| more.ids.contains(&id))
    }

    /// What is not needed any more.
    fn take_empty(&mut self) -> Option<Box<More>> {
        let more = self.more.as_ref()?;
        let is_empty = more.ids.is_empty() && more.hooks.is_empty() && more.wakers.is_empty();
        is_empty.then(|| self.more.take()).flatten()
    }
}

impl fmt::Debug for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activity").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[u64]) -> Vec<NonZeroU64> {
        all.iter()
            .map(|id| NonZeroU64::new(*id).expect("not 0"))
            .collect()
    }

    #[test]
    fn d25_ids_are_claimed_together_or_not_at_all() {
        let activity = Activity::default();
        assert!(activity.claim(&ids(&[1])));
        assert!(!activity.claim(&ids(&[1])));
        assert!(activity.claim(&ids(&[2, 3])));
        for taken in [&[1][..], &[2], &[4, 3], &[4, 1], &[5, 5]] {
            assert!(!activity.claim(&ids(taken)), "{taken:?}");
        }
        // The one that is not in the box is free, and those in it are not.
        activity.release(&ids(&[1]));
        assert!(!activity.claim(&ids(&[2])));
        assert!(activity.claim(&ids(&[1, 4])));
        activity.release(&ids(&[2, 3]));
        activity.release(&ids(&[4, 1]));
        assert!(activity.lock().more.is_none(), "nothing is left");
        assert!(activity.claim(&ids(&[4, 3, 2, 1])));
        assert!(activity.claim(&[]));
    }

    #[test]
    fn end_leaves_ids_alone_and_lets_nobody_wait() {
        let activity = Activity::default();
        assert!(activity.claim(&ids(&[1, 2])));
        let (waker, count) = futures_count();
        let mut ticket = None;
        assert!(activity.register(&mut ticket, &waker, || false));
        activity.send();
        assert_eq!(count.get(), 1);
        assert!(!activity.claim(&ids(&[2])));
        let mut late = None;
        assert!(!activity.register(&mut late, &waker, || true));
        assert_eq!(late, None);
        activity.deregister(ticket.expect("it had one"));
        activity.release(&ids(&[1, 2]));
        assert!(activity.lock().more.is_none());
    }

    #[test]
    fn d25_of_many_threads_one_has_an_id() {
        let activity = Activity::default();
        for round in 1..200 {
            let won: usize = std::thread::scope(|scope| {
                let claim = || usize::from(activity.claim(&ids(&[round, round + 1])));
                let threads = [(); 4].map(|()| scope.spawn(claim));
                threads
                    .map(|one| one.join().expect("no panic"))
                    .iter()
                    .sum()
            });
            assert_eq!(won, 1);
            activity.release(&ids(&[round, round + 1]));
        }
    }

    /// A waker that counts.
    fn futures_count() -> (Waker, Count) {
        let count = Count::default();
        (Waker::from(std::sync::Arc::clone(&count.0)), count)
    }

    #[derive(Default)]
    struct Count(std::sync::Arc<Calls>);

    #[derive(Default)]
    struct Calls(AtomicU64);

    impl Count {
        fn get(&self) -> u64 {
            self.0.0.load(Relaxed)
        }
    }

    impl std::task::Wake for Calls {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
}
