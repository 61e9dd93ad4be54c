use std::{
    collections::BTreeMap,
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
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tower_service::Service;

use super::{
    chores::{Chores, Duty, Favour, Job},
    keep::is_settled,
    layer::Shared,
};
use crate::{
    seldom::Seldom,
    store::{SessionStore, StoreErrorKind, now},
};

/// How many duties are done side by side, and how many favours: a store that hangs does not keep
/// servers from being told.
const AT_ONCE: usize = 16;
/// How long one may take.
const TIME: Duration = Duration::from_secs(10);
/// The pause before the store is asked again, at first; it doubles each time, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(64);
/// How many sessions expire before others have their turn (C60).
const EXPIRE: usize = 64;

/// Starts the one task of a layer that lets sessions expire and does chores, if there is none.
///
/// It calls clones of `service`. It ends with the layer; outside of a runtime there is none.
pub(super) fn start<S, B, ResBody, T>(shared: &Arc<Shared<T>>, service: &S)
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    B: From<Bytes> + 'static,
    ResBody: 'static,
    T: SessionStore,
{
    if shared.chores.is_served() {
        return;
    }
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    if shared.chores.set_served(true) {
        return;
    }
    let reaper = Reaper {
        layer: Arc::downgrade(shared),
        store: shared.store.clone(),
        realm: shared.config.realm,
        chores: Served(Arc::clone(&shared.chores)),
        service: service.clone(),
    };
    runtime.spawn(reaper.run());
}

struct Reaper<S, T> {
    layer: Weak<Shared<T>>,
    store: T,
    realm: u64,
    chores: Served,
    service: S,
}

/// Dropped with its runtime, the task must not leave a layer behind that believes to be served.
struct Served(Arc<Chores>);

impl Drop for Served {
    fn drop(&mut self) {
        let Self(chores) = self;
        chores.set_served(false);
    }
}

impl<S, T: SessionStore> Reaper<S, T> {
    async fn run<B, ResBody>(self)
    where
        S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
        S::Future: Send,
        B: From<Bytes> + 'static,
        ResBody: 'static,
    {
        let Self {
            layer,
            store,
            realm,
            chores: served,
            service,
        } = self;
        let Served(chores) = &served;
        let mut duties = JoinSet::new();
        let mut favours = JoinSet::new();
        let mut later = Later::default();
        let mut sweep_at = Instant::now();
        while layer.strong_count() > 0 {
            if sweep_at <= Instant::now() {
                let again_in = sweep(&layer, &store, realm).await;
                sweep_at = after(again_in);
                if again_in.is_zero() {
                    tokio::task::yield_now().await;
                }
            }
            while let Some(job) = later.next(Instant::now()) {
                chores.add_again(job);
            }
            while duties.len() < AT_ONCE
                && let Some(job) = chores.next_duty()
            {
                duties.spawn(perform(store.clone(), Arc::clone(chores), job));
            }
            while favours.len() < AT_ONCE
                && let Some(favour) = chores.next_favour()
            {
                let (store, service) = (store.clone(), service.clone());
                let oblige = oblige(store, service, Arc::clone(chores), favour);
                favours.spawn(timeout(TIME, oblige));
            }
            let next = later.first().map_or(sweep_at, |first| first.min(sweep_at));
            match something(chores, next, &mut duties, &mut favours).await {
                Event::Undone(job) => later.add(job),
                Event::GivenUp => chores.give_up(),
                Event::Other => {}
            }
        }
    }
}

/// Duties that are to be tried again, in the order in which they are due.
#[derive(Default)]
struct Later {
    jobs: BTreeMap<(Instant, u64), Job>,
    /// So that no two are due at once.
    serial: u64,
    undone: Seldom,
}

impl Later {
    fn add(&mut self, job: Job) {
        if let Some(count) = self.undone.count(1, now()) {
            tracing::warn!(count, "the store does not forget sessions that have ended");
        }
        let Job { duty, tries } = job;
        let pause = PAUSE.saturating_mul(1 << tries.min(6)).min(LONGEST_PAUSE);
        let tries = tries.saturating_add(1);
        self.serial += 1;
        let due = (after(pause), self.serial);
        self.jobs.insert(due, Job { duty, tries });
    }

    fn first(&self) -> Option<Instant> {
        let ((due, _), _) = self.jobs.first_key_value()?;
        Some(*due)
    }

    fn next(&mut self, now: Instant) -> Option<Job> {
        let first = self.jobs.first_entry()?;
        let (due, _) = first.key();
        (*due <= now).then(|| first.remove())
    }
}

/// Ends what has expired, a few at a time, and says when to go on.
async fn sweep<T: SessionStore>(layer: &Weak<Shared<T>>, store: &T, realm: u64) -> Duration {
    let expired = match timeout(TIME, store.expire(realm, EXPIRE)).await {
        Ok(Ok(expired)) => expired,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the store cannot tell which sessions have expired");
            return PAUSE;
        }
        Err(_) => return PAUSE,
    };
    let again_in = expired.again_in();
    let Some(layer) = layer.upgrade() else {
        return again_in;
    };
    for session in expired.into_sessions() {
        layer.expired(&session);
    }
    again_in
}

fn after(time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    Instant::now() + time.min(FAR)
}

/// What the task has waited for.
enum Event {
    /// The store has not done it.
    Undone(Job),
    /// A favour took too long.
    GivenUp,
    /// There is something to do, or the layer is gone.
    Other,
}

/// Waits for a chore, the end of the layer, a moment, or the end of one of the chores under way.
async fn something(
    chores: &Chores,
    moment: Instant,
    duties: &mut JoinSet<Option<Job>>,
    favours: &mut JoinSet<Result<(), tokio::time::error::Elapsed>>,
) -> Event {
    let mut sleep = pin!(sleep_until(moment));
    let mut wake = pin!(chores.wake.notified());
    poll_fn(|cx| {
        if let Poll::Ready(Some(done)) = duties.poll_join_next(cx) {
            // A store that panicked is not asked again.
            let undone = done.unwrap_or_default();
            return Poll::Ready(undone.map_or(Event::Other, Event::Undone));
        }
        if let Poll::Ready(Some(done)) = favours.poll_join_next(cx) {
            return Poll::Ready(match done {
                Ok(Ok(())) => Event::Other,
                _ => Event::GivenUp,
            });
        }
        if wake.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Event::Other);
        }
        Poll::Pending
    })
    .await
}

/// Does a duty, and gives it back if it is to be done again.
async fn perform<T: SessionStore>(store: T, chores: Arc<Chores>, mut job: Job) -> Option<Job> {
    if let Duty::Disown(session, name) = &job.duty {
        let establish = store.establish(session, name.clone());
        let established = match timeout(TIME, establish).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => match error.kind() {
                StoreErrorKind::Conflict | StoreErrorKind::NotFound => false,
                _ => return Some(job),
            },
            Err(_) => return Some(job),
        };
        session.end();
        let session = session.clone();
        job.duty = if established {
            if session.settle_end() {
                chores.tell(&session);
            }
            Duty::End(session)
        } else {
            Duty::Abandon(session)
        };
    }
    let done = match &job.duty {
        Duty::End(session) => {
            let end = store.end(session.key()?, session.owner());
            timeout(TIME, end).await
        }
        Duty::Abandon(session) | Duty::Disown(session, _) => {
            timeout(TIME, store.abandon(session)).await
        }
    };
    let is_done = done.is_ok_and(|done| is_settled(&done));
    (!is_done).then_some(job)
}

async fn oblige<S, B, ResBody, T>(store: T, service: S, chores: Arc<Chores>, favour: Favour)
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: From<Bytes>,
    T: SessionStore,
{
    match favour {
        Favour::Tell(notice) => notice.send(service).await,
        Favour::Learn(session, version) => {
            if let Some(key) = session.key()
                && let Err(error) = store.learn(key, session.owner(), version).await
            {
                tracing::debug!(%error, "the store does not learn a session's version");
            }
        }
        Favour::Abandon(opening) => {
            if let Ok(lease) = opening.await {
                lease.end();
                chores.add(Duty::Abandon(lease.record().clone()));
            }
        }
    }
}
