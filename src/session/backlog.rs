use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, time::Instant};

use super::{
    duty::{Duty, Job, Later},
    farewell::Notice,
    pending::Wait,
};
use crate::{
    protocol::ProtocolVersion,
    seldom::Seldom,
    store::{SessionRecord, now},
};

/// What is still to be done that nobody waits for: one task per layer works it off. It outlives the task: what that has not done
/// when its runtime goes, the next one does.
#[derive(Default)]
pub(super) struct Backlog {
    queues: Mutex<Queues>,
    /// Told of new ones, and of the end of the layer.
    pub(super) wake: Notify,
    is_served: AtomicBool,
    undone: Seldom,
    given_up: Seldom,
}

#[derive(Default)]
struct Queues {
    duties: VecDeque<Job>,
    later: Later,
    farewells: VecDeque<Notice>,
    attempts: VecDeque<Attempt>,
    /// Whether the layer is gone.
    is_closed: bool,
}

/// What is tried once, if there is time.
pub(super) enum Attempt {
    /// To have the store note a version.
    Learn(SessionRecord, ProtocolVersion),
    /// To take back what is being opened for a request that is gone.
    Abandon(Wait),
}

impl Backlog {
    /// More farewells are not kept, nor more attempts: the oldest are given up.
    const MAX: usize = 8_192;

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing in here can panic half way.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, duty: Duty) {
        self.lock().duties.push_back(Job::new(duty));
        self.wake.notify_one();
    }

    /// Has a duty done that was tried in vain, after a pause. After the end of the layer it is given
    /// up.
    pub(super) fn put_off(&self, job: Job) {
        if let Some(count) = self.undone.count(1, now()) {
            tracing::warn!(count, "the store does not forget sessions that have ended");
        }
        let given_up = {
            let mut queues = self.lock();
            if queues.is_closed {
                Some(job)
            } else {
                queues.later.add(job);
                None
            }
        };
        drop(given_up);
        self.wake.notify_one();
    }

    /// Has the server told that a session is over (SES-11), if it is not told already (D09).
    pub(super) fn tell(&self, session: &SessionRecord) {
        if session.owe_end() {
            self.say_farewell(session);
        }
    }

    pub(super) fn say_farewell(&self, session: &SessionRecord) {
        if let Some(notice) = Notice::new(session) {
            self.push(notice, |queues| &mut queues.farewells);
        }
    }

    pub(super) fn attempt(&self, attempt: Attempt) {
        self.push(attempt, |queues| &mut queues.attempts);
    }

    fn push<I>(&self, item: I, queue: impl FnOnce(&mut Queues) -> &mut VecDeque<I>) {
        let given_up = {
            let mut queues = self.lock();
            let queue = queue(&mut queues);
            let is_full = queue.len() >= Self::MAX;
            let oldest = is_full.then(|| queue.pop_front()).flatten();
            queue.push_back(item);
            oldest
        };
        self.wake.notify_one();
        // Unlocked, though none of them adds to the backlog when it is dropped: each that did would push
        // out the next, as deep as there are some.
        if given_up.is_some() {
            self.give_up();
        }
    }

    /// Takes note of something that was not done and is not tried again.
    pub(super) fn give_up(&self) {
        if let Some(count) = self.given_up.count(1, now()) {
            tracing::warn!(
                count,
                "servers are not told of the ends of sessions, or stores of their beginnings"
            );
        }
    }

    pub(super) fn next_duty(&self) -> Option<Job> {
        self.lock().duties.pop_front()
    }

    /// Has those of the duties done that were put off until now, and says when the next one is due.
    pub(super) fn resume(&self) -> Option<Instant> {
        let mut queues = self.lock();
        let now = Instant::now();
        while let Some(job) = queues.later.next(now) {
            queues.duties.push_back(job);
        }
        queues.later.first()
    }

    /// Whether more sessions may expire, whose servers have to be told.
    pub(super) fn has_room(&self) -> bool {
        self.lock().farewells.len() <= Self::MAX / 2
    }

    pub(super) fn next_farewell(&self) -> Option<Notice> {
        self.lock().farewells.pop_front()
    }

    pub(super) fn next_attempt(&self) -> Option<Attempt> {
        self.lock().attempts.pop_front()
    }

    /// Whether all are done, or under way.
    pub(super) fn is_empty(&self) -> bool {
        let queues = self.lock();
        queues.duties.is_empty() && queues.farewells.is_empty() && queues.attempts.is_empty()
    }

    /// The layer is gone: what was put off is tried once more.
    pub(super) fn close(&self) {
        let mut queues = self.lock();
        queues.is_closed = true;
        queues.hurry();
        drop(queues);
        self.wake.notify_one();
    }

    /// Whether somebody does them.
    #[inline]
    pub(super) fn is_served(&self) -> bool {
        self.is_served.load(Relaxed)
    }

    /// Leaves them to the caller, unless somebody else does them.
    pub(super) fn serve(self: &Arc<Self>) -> Option<Served> {
        if self.is_served.swap(true, Relaxed) {
            return None;
        }
        // Another runtime may have another clock.
        self.lock().hurry();
        Some(Served(Arc::clone(self)))
    }
}

impl Queues {
    /// Has everything done now that was put off.
    fn hurry(&mut self) {
        let late = self.later.take();
        self.duties.extend(late);
    }
}

impl fmt::Debug for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.lock();
        f.debug_struct("Backlog")
            .field("duties", &queues.duties.len())
            .field("farewells", &queues.farewells.len())
            .field("attempts", &queues.attempts.len())
            .finish_non_exhaustive()
    }
}

/// The right to work off the backlog. Dropped with its runtime, the task must not leave a layer behind that
/// believes to be served.
pub(super) struct Served(pub(super) Arc<Backlog>);

impl Drop for Served {
    fn drop(&mut self) {
        let Self(backlog) = self;
        backlog.is_served.store(false, Relaxed);
    }
}

#[cfg(test)]
mod tests;
