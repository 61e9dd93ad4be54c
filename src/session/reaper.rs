use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Weak},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinSet},
    time::{Instant, error::Elapsed, sleep_until, timeout},
};
use tower_service::Service;

use super::{
    backlog::{Attempt, Backlog, Served},
    duty::Duty,
    layer::Shared,
};
use crate::{
    seldom::Seldom,
    store::{Expired, SessionStore, StoreError, StoreErrorKind, now},
};

/// How many of a kind are done side by side. Each kind has places of its own: a store that hangs does
/// not keep servers from being told.
const AT_ONCE: usize = 16;
/// How long one may take, and what is left when the layer is gone, all together.
const TIME: Duration = Duration::from_secs(10);
/// The pause before a store that has failed is asked again what has expired.
const PAUSE: Duration = Duration::from_secs(1);
/// How many sessions expire before others have their turn (C60).
const EXPIRE: usize = 64;

/// Starts the one task of a layer that lets sessions expire and works off the backlog, if there is none.
///
/// It calls clones of `service`. It ends with the layer, once what is left was tried; outside of a
/// runtime there is none.
pub(super) fn start<S, B, ResBody, T>(shared: &Arc<Shared<T>>, service: &S)
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    B: From<Bytes> + 'static,
    ResBody: 'static,
    T: SessionStore,
{
    if shared.backlog.is_served() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    let Some(served) = shared.backlog.serve() else {
        return;
    };
    let layer = Arc::downgrade(shared);
    let sweeper = Sweeper {
        realm: shared.config.realm,
        last: 0,
        at: Instant::now(),
        failed: Seldom::new(),
    };
    let work = Work {
        store: shared.store.clone(),
        service: service.clone(),
        served,
        sweep: JoinSet::new(),
        duties: JoinSet::new(),
        farewells: JoinSet::new(),
        attempts: JoinSet::new(),
    };
    runtime.spawn(run(layer, sweeper, work));
}

async fn run<S, B, ResBody, T>(layer: Weak<Shared<T>>, mut sweeper: Sweeper, mut work: Work<S, T>)
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    B: From<Bytes> + 'static,
    ResBody: 'static,
    T: SessionStore,
{
    while layer.strong_count() > 0 {
        let sweep_at = work.sweep(&sweeper);
        let due = work.backlog().resume();
        work.start();
        let moment = [sweep_at, due].into_iter().flatten().min();
        match work.something(moment).await {
            Event::Swept(swept) => sweeper.swept(swept, &layer),
            Event::GivenUp => work.backlog().give_up(),
            Event::Other => {}
        }
    }
    // Whoever else uses the store finds it as it should be, and servers are told, if they are quick.
    let rest = async {
        work.start();
        while !work.is_done() {
            work.something(None).await;
            work.start();
        }
    };
    if timeout(TIME, rest).await.is_err() {
        work.backlog().give_up();
    }
}

/// When the store is asked next what has expired.
struct Sweeper {
    realm: u64,
    /// The last one that has expired and was seen to.
    last: u64,
    at: Instant,
    failed: Seldom,
}

impl Sweeper {
    fn swept<T: SessionStore>(
        &mut self,
        swept: Result<Expired, StoreError>,
        layer: &Weak<Shared<T>>,
    ) {
        let again_in = match swept {
            Ok(expired) => {
                let (last, again_in) = (expired.last(), expired.again_in());
                if let Some(layer) = layer.upgrade() {
                    for session in expired.into_sessions() {
                        layer.expired(&session);
                    }
                    self.last = last;
                }
                again_in
            }
            Err(error) => {
                if let Some(count) = self.failed.count(1, now()) {
                    tracing::warn!(count, %error, "the store cannot tell which sessions have expired");
                }
                PAUSE
            }
        };
        self.at = after(again_in);
    }
}

/// The store takes no longer than that to say what has expired.
async fn sweep<T: SessionStore>(store: T, realm: u64, last: u64) -> Result<Expired, StoreError> {
    match timeout(TIME, store.expire(realm, last, EXPIRE)).await {
        Ok(swept) => swept,
        Err(elapsed) => Err(StoreError::new(StoreErrorKind::Unavailable, elapsed)),
    }
}

fn after(time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + time.min(FAR)
}

/// What is under way.
struct Work<S, T> {
    store: T,
    service: S,
    served: Served,
    sweep: JoinSet<Result<Expired, StoreError>>,
    duties: JoinSet<()>,
    farewells: JoinSet<Result<(), Elapsed>>,
    attempts: JoinSet<Result<(), Elapsed>>,
}

/// What has been waited for.
enum Event {
    /// The store has said what has expired, or has not.
    Swept(Result<Expired, StoreError>),
    /// Something was tried once, in vain.
    GivenUp,
    /// There is something to do, or the layer is gone.
    Other,
}

impl<S, T: SessionStore> Work<S, T> {
    fn backlog(&self) -> &Arc<Backlog> {
        let Served(backlog) = &self.served;
        backlog
    }

    /// Asks what has expired if it is time, and says when it will be: `None` while the store is asked,
    /// or too many servers are still to be told.
    fn sweep(&mut self, sweeper: &Sweeper) -> Option<Instant> {
        if !self.sweep.is_empty() {
            return None;
        }
        if sweeper.at > Instant::now() {
            return Some(sweeper.at);
        }
        // What has expired and is not swept is as unknown as what is.
        if !self.backlog().has_room() {
            return None;
        }
        let Sweeper { realm, last, .. } = *sweeper;
        self.sweep.spawn(sweep(self.store.clone(), realm, last));
        None
    }

    /// Starts what there is a place for.
    fn start<B, ResBody>(&mut self)
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
        S::Future: Send,
        B: From<Bytes> + 'static,
        ResBody: 'static,
    {
        let Self {
            store,
            service,
            served: Served(backlog),
            sweep: _,
            duties,
            farewells,
            attempts,
        } = self;
        while duties.len() < AT_ONCE
            && let Some(job) = backlog.next_duty()
        {
            duties.spawn(job.run(store.clone(), Arc::clone(backlog), TIME));
        }
        while farewells.len() < AT_ONCE
            && let Some(notice) = backlog.next_farewell()
        {
            farewells.spawn(timeout(TIME, notice.send(service.clone())));
        }
        while attempts.len() < AT_ONCE
            && let Some(attempt) = backlog.next_attempt()
        {
            let try_once = try_once(store.clone(), Arc::clone(backlog), attempt);
            attempts.spawn(timeout(TIME, try_once));
        }
    }

    /// Whether nothing is left, but for what has expired.
    fn is_done(&self) -> bool {
        let is_idle =
            self.duties.is_empty() && self.farewells.is_empty() && self.attempts.is_empty();
        is_idle && self.backlog().is_empty()
    }

    /// Waits for more to do, the end of the layer, a moment, or the end of something under way.
    async fn something(&mut self, moment: Option<Instant>) -> Event {
        let Self {
            store: _,
            service: _,
            served: Served(backlog),
            sweep,
            duties,
            farewells,
            attempts,
        } = self;
        let mut sleep = pin!(async {
            if let Some(moment) = moment {
                sleep_until(moment).await;
            } else {
                std::future::pending().await
            }
        });
        let mut wake = pin!(backlog.wake.notified());
        poll_fn(|cx| {
            if let Poll::Ready(Some(swept)) = sweep.poll_join_next(cx) {
                return Poll::Ready(Event::Swept(swept.unwrap_or_else(|panicked| {
                    Err(StoreError::new(StoreErrorKind::Unavailable, panicked))
                })));
            }
            // What is not done says so itself.
            if let Poll::Ready(Some(_)) = duties.poll_join_next(cx) {
                return Poll::Ready(Event::Other);
            }
            for once in [&mut *farewells, &mut *attempts] {
                if let Poll::Ready(Some(done)) = once.poll_join_next(cx) {
                    return Poll::Ready(tried_once(&done));
                }
            }
            if wake.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Other);
            }
            Poll::Pending
        })
        .await
    }
}

const fn tried_once(done: &Result<Result<(), Elapsed>, JoinError>) -> Event {
    match done {
        Ok(Ok(())) => Event::Other,
        _ => Event::GivenUp,
    }
}

async fn try_once<T: SessionStore>(store: T, backlog: Arc<Backlog>, attempt: Attempt) {
    match attempt {
        Attempt::Learn(session, version) => {
            if let Some(key) = session.key()
                && let Err(error) = store.learn(key, session.owner(), version).await
            {
                tracing::debug!(%error, "the store does not learn a session's version");
            }
        }
        Attempt::Abandon(opening) => {
            if let Ok(lease) = opening.await {
                lease.end();
                backlog.add(Duty::Abandon(lease.record().clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{captured_log::CapturedLog, store::MemorySessionStore};

    #[tokio::test(start_paused = true)]
    async fn store_that_goes_on_failing_is_logged_now_and_then() {
        let log = CapturedLog::start();
        let mut sweeper = Sweeper {
            realm: 1,
            last: 0,
            at: Instant::now(),
            failed: Seldom::new(),
        };
        let gone = Weak::<Shared<MemorySessionStore>>::new();
        for _ in 0..15 {
            let failed = Err(StoreErrorKind::Unavailable.into());
            sweeper.swept(failed, &gone);
            assert_eq!(sweeper.at - Instant::now(), PAUSE);
            tokio::time::advance(PAUSE).await;
        }
        let log = log.take();
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(log.contains("the store is not available"), "{log}");
    }
}
