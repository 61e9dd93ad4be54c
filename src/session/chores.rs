use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::sync::Notify;

use super::{farewell::Notice, pending::Wait};
use crate::{
    protocol::ProtocolVersion,
    seldom::Seldom,
    store::{SessionName, SessionRecord, now},
};

/// What nobody waits for, and one task per layer does.
#[derive(Default)]
pub(super) struct Chores {
    queues: Mutex<Queues>,
    /// Told of new ones, and of the end of the layer.
    pub(super) wake: Notify,
    is_served: AtomicBool,
    given_up: Seldom,
}

#[derive(Default)]
struct Queues {
    duties: VecDeque<Job>,
    favours: VecDeque<Favour>,
}

/// What the store has to be told until it listens: whoever was promised it does not ask again. There
/// are no more of them than sessions.
#[derive(Debug)]
pub(super) enum Duty {
    /// To forget a session that has ended (SE-5, B14).
    End(SessionRecord),
    /// To take back one that was not given, and has no name.
    Abandon(SessionRecord),
    /// To take back one that was not given, whether or not that is its name. Its server is told only
    /// if it is: otherwise the server means somebody else's by it (B11, SE-2).
    Disown(SessionRecord, SessionName),
}

/// A duty, and how often it was tried.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) duty: Duty,
    pub(super) tries: u32,
}

/// What is done if there is time, and tried once.
pub(super) enum Favour {
    /// To tell a server that a session is over (SES-11).
    Tell(Notice),
    /// To have the store note a version.
    Learn(SessionRecord, ProtocolVersion),
    /// To take back what is being opened for a request that is gone.
    Abandon(Wait),
}

impl Chores {
    /// More favours are not kept: the oldest are given up.
    const MAX_FAVOURS: usize = 8_192;

    fn lock(&self) -> MutexGuard<'_, Queues> {
        // Nothing in here can panic half way.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, duty: Duty) {
        self.add_again(Job { duty, tries: 0 });
    }

    pub(super) fn add_again(&self, job: Job) {
        self.lock().duties.push_back(job);
        self.wake.notify_one();
    }

    pub(super) fn ask(&self, favour: Favour) {
        let given_up = {
            let mut queues = self.lock();
            let is_full = queues.favours.len() >= Self::MAX_FAVOURS;
            let oldest = is_full.then(|| queues.favours.pop_front()).flatten();
            queues.favours.push_back(favour);
            oldest
        };
        self.wake.notify_one();
        // Unlocked, though none of them leaves chores when it is dropped: each that did would push out
        // the next, as deep as there are some.
        if given_up.is_some() {
            self.give_up();
        }
    }

    /// Has the server told that a session is over.
    pub(super) fn tell(&self, session: &SessionRecord) {
        if let Some(notice) = Notice::new(session) {
            self.ask(Favour::Tell(notice));
        }
    }

    /// Takes note of a favour that was not done.
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

    pub(super) fn next_favour(&self) -> Option<Favour> {
        self.lock().favours.pop_front()
    }

    /// The layer is gone.
    pub(super) fn close(&self) {
        self.wake.notify_one();
    }

    /// Whether somebody does them.
    #[inline]
    pub(super) fn is_served(&self) -> bool {
        self.is_served.load(Relaxed)
    }

    /// Says whether somebody does them, and whether somebody did.
    pub(super) fn set_served(&self, is_served: bool) -> bool {
        self.is_served.swap(is_served, Relaxed)
    }
}

impl fmt::Debug for Chores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queues = self.lock();
        f.debug_struct("Chores")
            .field("duties", &queues.duties.len())
            .field("favours", &queues.favours.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::store::Owner;

    #[test]
    fn favours_are_bounded_and_duties_never_given_up() {
        let chores = Chores::default();
        let record = || SessionRecord::new(Owner::ANONYMOUS, Owner::ANONYMOUS);
        let first = record();
        chores.add(Duty::End(first.clone()));
        for nth in 0..=2 * Chores::MAX_FAVOURS {
            let version = ProtocolVersion::V2025_06_18;
            if nth == Chores::MAX_FAVOURS + 2 {
                chores.ask(Favour::Abandon(Box::pin(pending())));
            }
            chores.ask(Favour::Learn(record(), version));
        }
        // The one in the middle is the oldest that is left.
        assert!(matches!(chores.next_favour(), Some(Favour::Abandon(_))));
        let left = std::iter::from_fn(|| chores.next_favour()).count();
        assert_eq!(left, Chores::MAX_FAVOURS - 1);
        let Some(Job { duty, tries: 0 }) = chores.next_duty() else {
            panic!("a duty was given up");
        };
        assert!(matches!(duty, Duty::End(one) if one.is_same(&first)));
    }
}
