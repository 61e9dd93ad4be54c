use std::{
    fmt,
    future::poll_fn,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, sleep},
};

use super::connection::Upstream;

/// How often idle connections are looked at.
const SWEEP: Duration = Duration::from_secs(1);

/// How many are looked at before whoever wants one has its turn.
const PORTION: usize = 64;

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
    /// Whether a task looks after them. There is one at most, and none while the pool is empty.
    is_watched: bool,
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
                is_watched: false,
            }),
            this: Weak::clone(this),
        })
    }

    /// The connection that was used last.
    ///
    /// It may have ended since. If that is known here when the request is about to be written,
    /// hyper gives the request back; if not, the request is lost with the connection.
    pub(super) fn take(&self) -> Option<Box<dyn Upstream<B>>> {
        let mut state = self.lock();
        let newest = state.idle.pop()?;
        if newest.since.elapsed() < self.idle_timeout {
            return Some(newest.connection);
        }
        // Then so are all others. They are closed outside of the lock.
        let old = mem::take(&mut state.idle);
        drop(state);
        drop(old);
        None
    }

    pub(super) fn downgrade(&self) -> Weak<Self> {
        Weak::clone(&self.this)
    }

    fn lock(&self) -> MutexGuard<'_, State<B>> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has waited too long, and what its upstream has closed. False once there is
    /// nothing left to look after.
    ///
    /// One that may be in use again within a moment is left alone.
    fn sweep(&self, cx: &mut Context<'_>) -> bool {
        let mut from = 0;
        loop {
            let mut state = self.lock();
            let end = state.idle.len().min(from + PORTION);
            let from_now = from.min(end);
            let closed: Vec<_> = state
                .idle
                .extract_if(from_now..end, |idle| {
                    let age = idle.since.elapsed();
                    age >= self.idle_timeout
                        || (age >= SWEEP && idle.connection.drive(cx).is_ready())
                })
                .collect();
            // Oldest first, and what is taken meanwhile is the newest: none is passed over.
            from = end - closed.len();
            let is_done = from >= state.idle.len();
            let goes_on = !state.idle.is_empty();
            if is_done && !goes_on {
                state.is_watched = false;
            }
            drop(state);
            drop(closed);
            if is_done {
                return goes_on;
            }
        }
    }
}

impl<B: 'static> Pool<B> {
    /// Keeps `connection`, unless enough are kept.
    pub(super) fn put(&self, connection: Box<dyn Upstream<B>>) {
        let mut state = self.lock();
        if state.idle.len() >= self.max_idle {
            return;
        }
        let starts = !state.is_watched;
        let runtime = if starts {
            Handle::try_current().ok()
        } else {
            None
        };
        if starts && runtime.is_none() {
            // Nobody would ever close it.
            return;
        }
        state.is_watched = true;
        state.idle.push(Idle {
            connection,
            since: Instant::now(),
        });
        drop(state);
        if let Some(runtime) = runtime {
            let watch = Watch {
                pool: self.downgrade(),
                is_over: false,
            };
            runtime.spawn(watch.run(self.idle_timeout.min(SWEEP)));
        }
    }
}

/// The task that looks after a pool, until that is empty or gone.
struct Watch<B> {
    pool: Weak<Pool<B>>,
    is_over: bool,
}

impl<B> Watch<B> {
    async fn run(mut self, every: Duration) {
        loop {
            sleep(every).await;
            let goes_on = poll_fn(|cx| {
                let pool = self.pool.upgrade();
                Poll::Ready(pool.is_some_and(|pool| pool.sweep(cx)))
            });
            if !goes_on.await {
                // The pool knows, and may have another task by now.
                self.is_over = true;
                return;
            }
        }
    }
}

/// Dropped with its runtime, it must not leave a pool behind that believes to be looked after.
impl<B> Drop for Watch<B> {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(pool) = self.pool.upgrade()
        {
            pool.lock().is_watched = false;
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
