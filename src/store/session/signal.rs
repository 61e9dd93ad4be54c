use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::Waker,
};

/// Tells whoever wants to know that a session has ended. One word as long as nobody does.
#[derive(Default)]
pub(super) struct Signal {
    state: Mutex<Option<Box<State>>>,
}

#[derive(Default)]
struct State {
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

impl Signal {
    fn lock(&self) -> MutexGuard<'_, Option<Box<State>>> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let hooks = &mut state.get_or_insert_default().hooks;
        if !hooks.iter().any(|(other, _)| *other == key) {
            hooks.push((key, Box::new(hook)));
        }
        None
    }

    /// Has `waker` woken by the end, in place of the one of that ticket; one is made if there is none.
    pub(super) fn register(&self, ticket: &mut Option<u32>, waker: &Waker) {
        let mut state = self.lock();
        let state = state.get_or_insert_default();
        let at = *ticket.get_or_insert_with(|| match state.free.pop() {
            Some(at) => at,
            None => {
                state.wakers.push(Slot::Free);
                // Each has a response body, of which there are no 2³².
                (state.wakers.len() - 1) as u32
            }
        });
        // After the end there is nobody to wake, and no place either.
        let Some(slot) = state.wakers.get_mut(at as usize) else {
            return;
        };
        match slot {
            Slot::Waiting(known) if known.will_wake(waker) => {}
            slot => *slot = Slot::Waiting(waker.clone()),
        }
    }

    /// Wakes the one with that ticket no more.
    pub(super) fn deregister(&self, ticket: u32) {
        let mut state = self.lock();
        let Some(open) = state.as_mut() else {
            return;
        };
        let Some(slot) = open.wakers.get_mut(ticket as usize) else {
            return;
        };
        let waker = std::mem::replace(slot, Slot::Free);
        open.free.push(ticket);
        let rest = if open.free.len() < open.wakers.len() {
            None
        } else if open.hooks.is_empty() {
            state.take()
        } else {
            (open.wakers, open.free) = (Vec::new(), Vec::new());
            None
        };
        // Unlocked: what it drops is not ours to know.
        drop(state);
        drop((waker, rest));
    }

    /// Wakes and calls everybody.
    pub(super) fn send(&self) {
        let Some(state) = self.lock().take() else {
            return;
        };
        let State { hooks, wakers, .. } = *state;
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

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").finish_non_exhaustive()
    }
}
