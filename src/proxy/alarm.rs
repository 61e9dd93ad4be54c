use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// Wakes whoever waits for an upstream, and remembers that it did.
///
/// A server polls what it waits for more often than that wakes it: hyper's polls a body twice for each
/// event before it rests, and a response once more when its request's body has been read. Whoever is
/// asked again before the alarm has rung has nothing new to say, and need not
/// look.
pub(super) struct Alarm {
    bell: Arc<Bell>,
    waker: Waker,
    /// Whom the bell wakes: here too, so that the one who asks takes no lock.
    reader: Waker,
    /// Whether whatever may ring it has it, and has had nothing since.
    is_set: bool,
}

struct Bell {
    has_rung: AtomicBool,
    reader: Mutex<Waker>,
}

impl Alarm {
    pub(super) fn new(reader: &Waker) -> Self {
        let bell = Arc::new(Bell {
            has_rung: AtomicBool::new(false),
            reader: Mutex::new(reader.clone()),
        });
        Self {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            reader: reader.clone(),
            is_set: false,
        }
    }

    /// Whether there is nothing new for the reader that asks with `cx`. If there may be, what is
    /// looked at has to be given the [`waker`](Self::waker).
    #[inline]
    pub(super) fn is_silent(&mut self, cx: &Context<'_>) -> bool {
        let is_known = self.reader.will_wake(cx.waker());
        if self.is_set && is_known && !self.bell.has_rung.load(Ordering::Acquire) {
            return true;
        }
        self.is_set = false;
        if !is_known {
            self.listen(cx.waker());
        }
        // Before anything is looked at: what rings from now on may be missed by that look.
        self.bell.has_rung.swap(false, Ordering::AcqRel);
        false
    }

    fn listen(&mut self, reader: &Waker) {
        self.reader.clone_from(reader);
        let before = mem::replace(&mut *self.bell.reader(), reader.clone());
        // Unlocked: what it drops is not ours to know.
        drop(before);
    }

    /// Wakes nobody until somebody asks again.
    pub(super) fn rest(&mut self) {
        self.is_set = false;
        self.listen(Waker::noop());
    }

    pub(super) const fn waker(&self) -> &Waker {
        &self.waker
    }

    /// All that may ring has the waker, and nothing to say.
    pub(super) fn set(&mut self) {
        self.is_set = true;
    }
}

impl Bell {
    fn reader(&self) -> MutexGuard<'_, Waker> {
        // Nothing in here can panic half way.
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Release);
        let reader = self.reader().clone();
        reader.wake();
    }
}
