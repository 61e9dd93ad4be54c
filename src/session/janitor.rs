use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, request::Parts};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tower_service::Service;

use super::{
    Session,
    chores::{Chore, Chores, Job},
    keep::is_settled,
    layer::Shared,
};
use crate::{
    header::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    protocol::Era,
    store::SessionStore,
};

/// How many chores are done side by side.
const AT_ONCE: usize = 16;
/// How long one may take.
const TIME: Duration = Duration::from_secs(10);
/// How often the store is asked, and the pause before it is asked again.
const TRIES: u8 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// How many sessions expire before others have their turn (C60).
const EXPIRE: usize = 64;

/// Starts the one task of a layer that lets sessions expire and does chores, if there is none.
///
/// It calls clones of `service`, at `uri`. It ends with the layer; outside of a runtime there is none.
pub(super) fn start<S, B, ResBody, T>(shared: &Arc<Shared<T>>, service: &S, uri: &Uri)
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
    if shared.chores.is_served.swap(true, Relaxed) {
        return;
    }
    let janitor = Janitor {
        layer: Arc::downgrade(shared),
        store: shared.store.clone(),
        realm: shared.config.realm,
        chores: Served(Arc::clone(&shared.chores)),
        service: service.clone(),
        // A copy, because a part of a transport buffer would keep all of it.
        uri: uri.to_string().parse().unwrap_or_default(),
    };
    runtime.spawn(janitor.run());
}

struct Janitor<S, T> {
    layer: Weak<Shared<T>>,
    store: T,
    realm: u64,
    chores: Served,
    service: S,
    uri: Uri,
}

/// Dropped with its runtime, the task must not leave a layer behind that believes to be served.
struct Served(Arc<Chores>);

impl Drop for Served {
    fn drop(&mut self) {
        let Self(chores) = self;
        chores.is_served.store(false, Relaxed);
    }
}

impl<S, T: SessionStore> Janitor<S, T> {
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
            uri,
        } = self;
        let Served(chores) = &served;
        let mut calls = JoinSet::new();
        let mut later: Vec<(Instant, Job)> = Vec::new();
        let mut sweep_at = Instant::now();
        while layer.strong_count() > 0 {
            if sweep_at <= Instant::now() {
                let again_in = sweep(&layer, &store, realm).await;
                sweep_at = after(again_in);
                if again_in.is_zero() {
                    tokio::task::yield_now().await;
                }
            }
            let now = Instant::now();
            for (_, job) in later.extract_if(.., |(at, _)| *at <= now) {
                chores.add_again(job);
            }
            while calls.len() < AT_ONCE
                && let Some(job) = chores.next()
            {
                let job = perform(store.clone(), service.clone(), uri.clone(), job);
                calls.spawn(job);
            }
            let next = later.iter().map(|(at, _)| *at).fold(sweep_at, Instant::min);
            if let Some(Some(job)) = something(chores, next, &mut calls).await {
                later.push((after(PAUSE), job));
            }
        }
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

/// Waits for a chore, the end of the layer, a moment, or the end of one of `calls`, which may be a
/// chore that is to be done again.
async fn something(
    chores: &Chores,
    moment: Instant,
    calls: &mut JoinSet<Option<Job>>,
) -> Option<Option<Job>> {
    let mut sleep = pin!(sleep_until(moment));
    let mut wake = pin!(chores.wake.notified());
    poll_fn(|cx| {
        if let Poll::Ready(Some(done)) = calls.poll_join_next(cx) {
            // A call that panicked is not made again.
            return Poll::Ready(Some(done.unwrap_or_default()));
        }
        if wake.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// Does a chore, and says if it is to be done again.
async fn perform<S, B, ResBody, T>(store: T, service: S, uri: Uri, job: Job) -> Option<Job>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: From<Bytes>,
    T: SessionStore,
{
    let Job { chore, tries } = job;
    let stored = match &chore {
        Chore::Abandon(session) => timeout(TIME, store.abandon(session)).await,
        Chore::End(session) => {
            let end = store.end(session.key()?, session.owner());
            timeout(TIME, end).await
        }
        Chore::Learn(session, version) => {
            let learn = store.learn(session.key()?, session.owner(), *version);
            timeout(TIME, learn).await
        }
        Chore::HangUp { .. } | Chore::Rest(_) => {
            // Once is enough.
            let _ = timeout(TIME, perform_once(service, uri, chore)).await;
            return None;
        }
    };
    if stored.is_ok_and(|stored| is_settled(&stored)) {
        return None;
    }
    if tries >= TRIES {
        tracing::warn!(tries, "the store does not forget a session that has ended");
        return None;
    }
    let tries = tries + 1;
    Some(Job { chore, tries })
}

async fn perform_once<S, B, ResBody>(service: S, uri: Uri, chore: Chore)
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: From<Bytes>,
{
    match chore {
        Chore::HangUp { session, upstream } => {
            let status = call(service, farewell(uri, session, upstream)).await;
            tracing::debug!(?status, "told a server that a session is over");
        }
        Chore::Rest(rest) => rest.await,
        Chore::Abandon(_) | Chore::End(_) | Chore::Learn(..) => {}
    }
}

/// What a server is told when a session is over (SES-11).
fn farewell(uri: Uri, session: Session, upstream: HeaderValue) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::DELETE;
    parts.uri = uri;
    parts.headers.insert(MCP_SESSION_ID, upstream);
    if let Some(version) = session.version() {
        parts.extensions.insert(Era::from(version));
        let version = HeaderValue::from_static(version.as_str());
        parts.headers.insert(MCP_PROTOCOL_VERSION, version);
    }
    parts.extensions.insert(session);
    parts
}

async fn call<S, B, ResBody>(mut service: S, parts: Parts) -> Option<StatusCode>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: From<Bytes>,
{
    poll_fn(|cx| service.poll_ready(cx)).await.ok()?;
    let called = service.call(Request::from_parts(parts, B::from(Bytes::new())));
    let status = called.await.map(|response| response.status());
    status.ok()
}
