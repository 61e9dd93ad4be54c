use std::{
    ops::{Deref, DerefMut},
    sync::{
        MutexGuard, PoisonError, TryLockError,
        atomic::{
            Ordering::{Relaxed, SeqCst},
            fence,
        },
    },
    task::Waker,
};

use super::{State, Stream, StreamState};

/// The locked state of a stream.
///
/// Whoever wants the stream to end and finds it locked leaves that to the one who holds it, who looks
/// after unlocking it whether somebody has.
pub(super) struct Held<'a> {
    // In this order: dropped first, and so unlocked before the other looks.
    guard: MutexGuard<'a, State>,
    after: After<'a>,
}

struct After<'a> {
    stream: &'a Stream,
}

impl Stream {
    pub(super) fn lock(&self) -> Held<'_> {
        // A producer that panics leaves `is_polling` set, which says more than the poison does.
        self.held(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn held<'a>(&'a self, guard: MutexGuard<'a, State>) -> Held<'a> {
        Held {
            guard,
            after: After { stream: self },
        }
    }

    /// Ends the stream, whoever drives it, also from within its producer.
    pub(in crate::replay) fn terminate(&self) {
        self.is_terminated.store(true, Relaxed);
        // With the one in `After`: either it is not locked any more, or its holder sees the flag.
        fence(SeqCst);
        match self.state.try_lock() {
            Ok(guard) => self.held(guard).end(),
            Err(TryLockError::Poisoned(poisoned)) => self.held(poisoned.into_inner()).end(),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// Wakes the driver.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.take_waker() {
            waker.wake();
        }
    }

    pub(super) fn take_waker(&self) -> Option<Waker> {
        let mut kept = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }
}

impl Held<'_> {
    /// Keeps the waker of the driver, and unlocks.
    pub(super) fn keep(self, waker: &Waker) {
        let stream = self.after.stream;
        let mut kept = stream.waker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match &*kept {
            Some(kept) if kept.will_wake(waker) => None,
            _ => kept.replace(waker.clone()),
        };
        drop(kept);
        // Not before: whoever is fenced meanwhile must not take the place of the next one's.
        drop(self);
        // Unlocked: what it drops is not ours to know.
        drop(before);
    }

    /// Ends the stream: nobody drives it any more, and a log that is not closed is lost.
    pub(super) fn end(mut self) {
        let stream = self.after.stream;
        self.generation += 1;
        let producer = self.producer.take();
        stream.set_mode(StreamState::Over);
        drop(self);
        // Unlocked: what else it drops is not ours to know.
        drop(producer);
        stream.hub.remove(&stream.key);
        stream.wake();
    }
}

impl Deref for Held<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.guard
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.guard
    }
}

impl Drop for After<'_> {
    fn drop(&mut self) {
        fence(SeqCst);
        let Self { stream } = self;
        if stream.is_terminated.load(Relaxed) && stream.state() != StreamState::Over {
            stream.terminate();
        }
    }
}
