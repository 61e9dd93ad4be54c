use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{runtime::Handle, time::timeout};

use super::{hub::Hub, layer::Shared, whose::Session};
use crate::store::{EventStore, Owner, StoreError};

/// Ends the streams of a session that is over, and forgets what they said (RPL-10).
///
/// The store may take its time; until it is done, nobody resumes them.
pub(super) fn purge<T: EventStore>(
    store: &T,
    hub: &Arc<Hub>,
    owner: Owner,
    runtime: Option<&Handle>,
) {
    for stream in hub.purge(&owner) {
        stream.terminate();
    }
    let mark = Mark {
        hub: Arc::downgrade(hub),
        owner,
    };
    let mut purge = store.purge(owner);
    // A task that goes on asks again, and is woken.
    match Pin::new(&mut purge).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(purged) => tell(&purged),
        Poll::Pending => hub.slow_purges.add(hub, Box::pin(purge), mark, runtime),
    }
}

/// Has the streams of a session end with it, whoever ends it. Once said is enough.
pub(super) fn purge_at_end<T: EventStore>(
    shared: &Shared<T>,
    session: &Session,
    runtime: Option<Handle>,
) {
    let owner = session.owner();
    let (store, hub) = (shared.store.clone(), Arc::clone(&shared.hub));
    session.on_end(shared.hub.end_key, move || {
        purge(&store, &hub, owner, runtime.as_ref());
    });
}

fn tell(purged: &Result<(), StoreError>) {
    if let Err(error) = purged {
        tracing::warn!(%error, "the streams of a session that is over are not forgotten");
    }
}

/// Keeps everybody from the streams of an owner, until it is dropped.
struct Mark {
    hub: Weak<Hub>,
    owner: Owner,
}

impl Drop for Mark {
    fn drop(&mut self) {
        let Self { hub, owner } = self;
        if let Some(hub) = hub.upgrade() {
            hub.purged(owner);
        }
    }
}

type Purge = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// What a store has not forgotten at once. A few tasks see to it, however many sessions end.
#[derive(Default)]
pub(super) struct SlowPurges {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Purge, Mark)>,
    workers: usize,
}

impl SlowPurges {
    /// How many tasks there are at most.
    const WORKERS: usize = 8;
    /// More do not wait: the store keeps the streams of the oldest until they are too old for it.
    const MAX: usize = 8_192;
    /// How long one may take.
    const TIME: Duration = Duration::from_secs(10);

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, hub: &Arc<Hub>, purge: Purge, mark: Mark, runtime: Option<&Handle>) {
        let Some(runtime) = runtime else {
            tracing::warn!("the streams of a session that is over are not forgotten: no runtime");
            return;
        };
        let (given_up, has_room) = {
            let mut state = self.lock();
            let is_full = state.waiting.len() >= Self::MAX;
            let oldest = is_full.then(|| state.waiting.pop_front()).flatten();
            state.waiting.push_back((purge, mark));
            let has_room = state.workers < Self::WORKERS;
            state.workers += usize::from(has_room);
            (oldest, has_room)
        };
        if given_up.is_some() {
            tracing::warn!("the streams of a session that is over are not forgotten: too many");
        }
        if has_room {
            let worker = Worker {
                hub: Arc::clone(hub),
                is_done: false,
            };
            runtime.spawn(worker.run());
        }
    }

    /// The next one for a worker, who is none any more if there is none.
    fn next(&self) -> Option<(Purge, Mark)> {
        let mut state = self.lock();
        let next = state.waiting.pop_front();
        if next.is_none() {
            state.workers -= 1;
        }
        next
    }
}

/// It ends when nothing waits; so long it keeps the hub, and what waits there.
struct Worker {
    hub: Arc<Hub>,
    is_done: bool,
}

impl Worker {
    async fn run(mut self) {
        while let Some((purge, mark)) = self.hub.slow_purges.next() {
            match timeout(SlowPurges::TIME, purge).await {
                Ok(purged) => tell(&purged),
                Err(error) => {
                    tracing::warn!(%error, "the streams of a session that is over are not forgotten");
                }
            }
            drop(mark);
        }
        self.is_done = true;
    }
}

/// Its runtime may be shut down: then another one has to go on, or nobody does.
impl Drop for Worker {
    fn drop(&mut self) {
        let Self { hub, is_done } = self;
        if *is_done {
            return;
        }
        let mut state = hub.slow_purges.lock();
        state.workers -= 1;
        let left = (state.workers == 0).then(|| std::mem::take(&mut state.waiting));
        // Unlocked: what it drops is not ours to know.
        drop(state);
        drop(left);
    }
}

impl fmt::Debug for SlowPurges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SlowPurges")
            .field("waiting", &state.waiting.len())
            .field("workers", &state.workers)
            .finish()
    }
}

#[cfg(test)]
mod tests;
