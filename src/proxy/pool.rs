use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::connection::Upstream;

/// Connections that wait for their next exchange.
///
/// The one used last is used next, so that a pool that was large once shrinks again. A request
/// that finds none makes a new one: there is no waiting, and no limit but that on idle ones.
pub(super) struct Pool<B> {
    max_idle: usize,
    idle_timeout: Duration,
    state: Mutex<State<B>>,
    this: Weak<Self>,
}

struct State<B> {
    /// Oldest first.
    idle: Vec<Idle<B>>,
    /// Whether a task looks for connections that nobody wanted. There is one at most, and none
    /// while the pool is empty.
    is_reaped: bool,
}

struct Idle<B> {
    connection: Box<dyn Upstream<B>>,
    since: Instant,
}

impl<B> Pool<B> {
    pub(super) fn new(max_idle: usize, idle_timeout: Duration) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            max_idle,
            idle_timeout,
            state: Mutex::new(State {
                idle: Vec::new(),
                is_reaped: false,
            }),
            this: Weak::clone(this),
        })
    }

    /// The connection that was used last. It may have ended since: hyper finds out before it
    /// writes, and gives the request back.
    pub(super) fn take(&self) -> Option<Box<dyn Upstream<B>>> {
        let idle = self.lock().idle.pop()?;
        // If the newest is too old, then so are the others, and the reaper is about to come.
        (idle.since.elapsed() < self.idle_timeout).then_some(idle.connection)
    }

    pub(super) fn downgrade(&self) -> Weak<Self> {
        Weak::clone(&self.this)
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what has waited too long. False once there is nothing left to look after.
    fn reap(&self) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        let State { idle, is_reaped } = &mut *state;
        let is_old = |one: &Idle<B>| now.duration_since(one.since) >= self.idle_timeout;
        let old: Vec<_> = idle.extract_if(.., |one| is_old(one)).collect();
        *is_reaped = !idle.is_empty();
        let goes_on = *is_reaped;
        drop(state);
        // Closing is done outside of the lock.
        drop(old);
        goes_on
    }
}

impl<B: 'static> Pool<B> {
    /// Keeps `connection`, unless enough are kept.
    pub(super) fn put(&self, connection: Box<dyn Upstream<B>>) {
        let mut state = self.lock();
        if state.idle.len() >= self.max_idle {
            return;
        }
        if !state.is_reaped {
            // Without a runtime nobody would ever close it.
            let Ok(runtime) = Handle::try_current() else {
                return;
            };
            runtime.spawn(reap(self.downgrade(), self.idle_timeout));
            state.is_reaped = true;
        }
        state.idle.push(Idle {
            connection,
            since: Instant::now(),
        });
    }
}

/// Looks after `pool` until it is empty or gone.
async fn reap<B>(pool: Weak<Pool<B>>, every: Duration) {
    loop {
        sleep(every).await;
        if !pool.upgrade().is_some_and(|pool| pool.reap()) {
            return;
        }
    }
}

impl<B> fmt::Debug for Pool<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.lock().idle.len();
        f.debug_struct("Pool")
            .field("idle", &idle)
            .finish_non_exhaustive()
    }
}
