use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::HeaderValue;
use tokio::sync::Notify;

use super::Session;
use crate::{protocol::ProtocolVersion, store::SessionRecord};

/// What nobody waits for, and one task per layer does.
#[derive(Default)]
pub(super) struct Chores {
    queue: Mutex<VecDeque<Job>>,
    /// Told of new ones, and of the end of the layer.
    pub(super) wake: Notify,
    pub(super) is_served: AtomicBool,
}

/// A chore, and how often it was tried.
pub(super) struct Job {
    pub(super) chore: Chore,
    pub(super) tries: u8,
}

pub(super) enum Chore {
    /// To tell a server that a session is over (SES-11).
    HangUp {
        session: Session,
        upstream: HeaderValue,
    },
    /// To have the store do what it did not do at once.
    End(SessionRecord),
    Abandon(SessionRecord),
    Learn(SessionRecord, ProtocolVersion),
    /// To see something through whose request is gone.
    Rest(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Chores {
    /// More are not kept: the oldest are given up, with a word.
    const MAX: usize = 8_192;

    fn lock(&self) -> MutexGuard<'_, VecDeque<Job>> {
        // Nothing in here can panic half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, chore: Chore) {
        self.add_again(Job { chore, tries: 0 });
    }

    pub(super) fn add_again(&self, job: Job) {
        let given_up = {
            let mut queue = self.lock();
            let oldest = (queue.len() >= Self::MAX)
                .then(|| queue.pop_front())
                .flatten();
            queue.push_back(job);
            oldest
        };
        if given_up.is_some() {
            tracing::warn!("too many sessions end at once: a server is not told of one");
        }
        self.wake.notify_one();
    }

    pub(super) fn next(&self) -> Option<Job> {
        self.lock().pop_front()
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
}

impl fmt::Debug for Chores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chores")
            .field("len", &self.lock().len())
            .finish_non_exhaustive()
    }
}
