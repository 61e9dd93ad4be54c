//! SES-11: what a server is told when a session ends that it does not know to be over.

mod session_support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use session_support::{
    Asked, By, CALL, INITIALIZE, SESSION, Server, V, agreed, delete, get, post, principal, settle,
    text,
};
use shadowcat::{
    auth::Principal,
    protocol::{Era, ProtocolVersion},
    session::{Farewell, SessionLayer},
    store::{MemorySessionStore, SessionStore},
};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, Service, service_fn};

const IDLE: Duration = Duration::from_secs(80);

fn store() -> MemorySessionStore {
    MemorySessionStore::new().with_idle_timeout(Some(IDLE))
}

/// What a server was told since the last time: of which sessions.
fn told<T: SessionStore>(server: &Server<T>) -> Vec<String> {
    let asked = server.asked().into_iter();
    let deletes = asked.filter(|asked| asked.parts.method == "DELETE");
    deletes
        .map(|asked| asked.session().expect("a session").to_owned())
        .collect()
}

/// A server that gives sessions of that name.
fn serve(store: &MemorySessionStore, name: &'static str) -> Server {
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    server.script(move |asked| {
        let response = Response::builder()
            .header(SESSION, name)
            .header("content-type", "application/json");
        (asked.body == INITIALIZE).then(|| response.body(text(agreed(V))).expect("valid"))
    });
    server
}

#[tokio::test(start_paused = true)]
async fn b10_b16_of_two_servers_on_one_store_each_is_told_of_its_own_sessions() {
    let store = store();
    let (one, other) = (serve(&store, "of-one"), serve(&store, "of-other"));
    one.initialize(None).await;
    let fact = one.asked().pop().expect("it was asked").fact().clone();
    other.initialize(None).await;
    other.asked();
    tokio::time::sleep(IDLE * 2).await;
    settle().await;
    assert_eq!(told(&one), ["of-one"]);
    assert_eq!(told(&other), ["of-other"]);
    assert!(fact.is_ended());
    for server in [one, other] {
        let stats = server.layer.handle().stats();
        assert_eq!((stats.ended_total, stats.expired_total), (1, 1));
    }
    assert_eq!(store.stats().unclaimed_total, 0);
}

#[tokio::test(start_paused = true)]
async fn server_is_told_where_the_session_was_opened_whoever_came_first() {
    let server = Server::new(SessionLayer::new(store()));
    let (alice, mallory) = (principal("i", "alice"), principal("i", "mallory"));
    let mut stray = post(&"A".repeat(43), CALL).by(Some(&mallory));
    *stray.uri_mut() = "/mcp/evil?token=hers".parse().expect("a URI");
    assert_eq!(server.send(stray).await.status, 404);
    for path in ["/mcp/one?token=his", "/mcp/two"] {
        let mut opens = post("", INITIALIZE).by(Some(&alice));
        *opens.uri_mut() = path.parse().expect("a URI");
        assert_eq!(server.send(opens).await.status, 200);
    }
    server.asked();
    tokio::time::sleep(IDLE * 2).await;
    settle().await;
    let asked = server.asked();
    let mut told: Vec<_> = (asked.iter())
        .map(|asked| {
            (
                asked.session().expect("a session"),
                asked.parts.uri.to_string(),
            )
        })
        .collect();
    told.sort_unstable();
    // Without what else was said there.
    let expected = [("up-1", "/mcp/one"), ("up-2", "/mcp/two")];
    assert_eq!(told, expected.map(|(id, path)| (id, path.to_owned())));
}

#[tokio::test(start_paused = true)]
async fn farewell_says_that_it_is_one_and_what_the_session_has_agreed_on() {
    let server = Server::new(SessionLayer::new(store()));
    let alice = principal("i", "alice");
    let session = server.initialize(Some(&alice)).await;
    server.send(delete("none").by(Some(&alice))).await;
    server.open(get(&session).by(Some(&alice))).await;
    let asked = server.asked();
    let is_farewell = |asked: &Asked| asked.parts.extensions.get::<Farewell>().is_some();
    assert!(!asked.iter().any(is_farewell), "no client says so");
    tokio::time::sleep(IDLE * 2).await;
    settle().await;
    let asked = server.asked().pop().expect("it was told");
    assert!(is_farewell(&asked));
    let extensions = &asked.parts.extensions;
    let era = Era::Session(ProtocolVersion::V2025_11_25);
    assert_eq!(extensions.get::<Era>(), Some(&era));
    assert!(extensions.get::<Principal>().is_none());
    assert!(asked.fact().is_ended());
    assert_eq!(asked.parts.headers["mcp-protocol-version"], V);
}

#[tokio::test(start_paused = true)]
async fn session_that_two_answers_end_is_counted_once_and_its_server_not_told() {
    let server = Server::new(SessionLayer::new(store()).allow_anonymous());
    let session = server.initialize(None).await;
    server.script(|asked| {
        let is_get = asked.parts.method == "GET";
        let response = Response::builder().status(404);
        is_get.then(|| response.body(text("{}")).expect("valid"))
    });
    // Both are in the session before the first is answered.
    let mut service = server.service();
    let calls = [(); 2].map(|()| task::spawn(service.call(get(&session))));
    server.asked();
    for mut call in calls {
        assert_eq!(assert_ready_ok!(call.poll()).status(), 404);
    }
    assert_eq!(server.asked().len(), 2);
    let stats = server.layer.handle().stats();
    assert_eq!((stats.opened_total, stats.ended_total), (1, 1));
    settle().await;
    assert!(told(&server).is_empty());
}

/// The server is slower to take leave of them than the store to let them expire.
#[tokio::test(start_paused = true)]
async fn ses11_server_is_told_of_each_of_very_many_sessions_that_expire_together() {
    const COUNT: usize = 9_000;
    let store = store().with_max_sessions(COUNT);
    let layer = SessionLayer::new(store.clone()).allow_anonymous();
    let (given, told) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let counts = (Arc::clone(&given), Arc::clone(&told));
    let mut service = layer.layer(service_fn(move |request: Request<Full<Bytes>>| {
        let (given, told) = counts.clone();
        async move {
            let mut response = Response::builder();
            if request.method() == "DELETE" {
                tokio::time::sleep(Duration::from_millis(20)).await;
                told.fetch_add(1, Relaxed);
            } else {
                let nth = given.fetch_add(1, Relaxed);
                response = response.header(SESSION, format!("up-{nth}"));
            }
            Ok::<_, Infallible>(response.body(text(agreed(V))).expect("valid"))
        }
    }));
    for _ in 0..COUNT {
        let Ok(response) = service.call(post("", INITIALIZE)).await;
        assert_eq!(response.status(), 200);
    }
    tokio::time::sleep(IDLE * 2).await;
    assert_eq!(told.load(Relaxed), COUNT);
    assert_eq!(store.stats().sessions, 0);
    let expired = layer.handle().stats().expired_total;
    assert_eq!(expired, COUNT as u64);
}
