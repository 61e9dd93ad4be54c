//! The limit among the other layers, under a paused clock.

mod auth_support;
mod rate_limit_support;
mod session_support;

use std::{convert::Infallible, time::Duration};

use auth_support::{Recorder, ask, principal};
use http::Request;
use rate_limit_support::{LIST, message, quota, streams};
use session_support::{
    By, CALL, INITIALIZE, NOTIFICATION, RESPONSE, Server, delete, get, post, settle,
};
use shadowcat::{
    message::MessageLayer,
    peer::PeerAddr,
    rate_limit::{ByPeer, ByPrincipal, BySession, LocalLimiter, RateLimitLayer},
    session::SessionLayer,
    store::MemorySessionStore,
};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const T: Duration = Duration::from_secs(20);

/// A burst, then 429; then exactly what `Retry-After` says, and not a nanosecond less than it has to be.
#[tokio::test(start_paused = true)]
async fn burst_then_429_then_admitted_after_retry_after() {
    let (alice, bob) = (principal("alice", &[]), principal("bob", &[]));
    let limiter = RateLimitLayer::new(ByPrincipal, quota(3, T));
    let service = limiter.layer(Recorder::default());
    for _ in 0..3 {
        assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    }
    advance(Duration::from_millis(300)).await;
    let had = ask(&service, message(&alice, LIST)).await;
    assert_eq!(had.status, 429);
    assert!(had.body.contains(r#""retryAfterMs":19700"#), "{}", had.body);
    assert_eq!(had.headers["retry-after"], "20");
    assert_eq!(ask(&service, message(&bob, LIST)).await.status, 200);
    advance(Duration::from_millis(19_699)).await;
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 429);
    advance(Duration::from_millis(1)).await;
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    let had = ask(&service, message(&alice, LIST)).await;
    let seconds = had.headers["retry-after"].to_str().expect("ASCII");
    sleep(Duration::from_secs(seconds.parse().expect("a number"))).await;
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
}

/// From that peer.
fn by<B>(peer: [u8; 4], mut request: Request<B>) -> Request<B> {
    let peer = PeerAddr::new((peer, 1).into());
    request.extensions_mut().insert(peer);
    request
}

/// B08: whoever guesses session ids gets few guesses, if peers are counted outside.
#[tokio::test(start_paused = true)]
async fn b08_guesses_of_sessions_are_counted() {
    let sessions = Server::anonymous();
    let layer = RateLimitLayer::new(ByPeer::new(), quota(5, T));
    let service = layer.layer(sessions.service());
    let guess = "A".repeat(43);
    let send = async |peer, request| {
        let Ok(response) = service.clone().oneshot(by(peer, request)).await;
        response.status().as_u16()
    };
    for _ in 0..4 {
        assert_eq!(send([203, 0, 113, 9], post(&guess, CALL)).await, 404);
    }
    assert_eq!(send([203, 0, 113, 9], delete(&guess)).await, 404);
    for _ in 0..100 {
        assert_eq!(send([203, 0, 113, 9], post(&guess, CALL)).await, 429);
        assert_eq!(send([203, 0, 113, 9], delete(&guess)).await, 429);
    }
    assert_eq!(sessions.layer.handle().stats().unknown_total, 5);
    assert_eq!(send([198, 51, 100, 1], post("", INITIALIZE)).await, 200);
}

/// B19: and whoever opens sessions opens few; nobody else is affected.
#[tokio::test(start_paused = true)]
async fn b19_sessions_are_opened_at_the_rate_of_their_principal() {
    let sessions = Server::new(SessionLayer::default());
    let layer = RateLimitLayer::new(ByPrincipal, quota(3, T));
    let service = layer.layer(sessions.service());
    let (alice, bob) = (principal("alice", &[]), principal("bob", &[]));
    let open = async |who| {
        let request = post("", INITIALIZE).by(Some(who));
        let Ok(response) = service.clone().oneshot(request).await;
        response.status().as_u16()
    };
    let mut opened = 0;
    for _ in 0..100 {
        opened += u32::from(open(&alice).await == 200);
    }
    assert_eq!(opened, 3);
    let count = sessions.layer.handle().count().await;
    assert_eq!(count.expect("it can tell"), 3);
    assert_eq!(open(&bob).await, 200);
}

/// What sessions need passes, however much has been spent: and so does the word to the server that one
/// is over, which no client sends.
#[tokio::test(start_paused = true)]
async fn rl_4_sessions_go_on_and_end_while_their_principal_is_over_quota() {
    let store = MemorySessionStore::new().with_idle_timeout(Some(Duration::from_secs(80)));
    let inner = Server::new(SessionLayer::default().allow_anonymous());
    // Per session, so inside of the layer that finds them.
    let limit = RateLimitLayer::new(BySession, quota(1, Duration::from_secs(3_600)));
    let handle = limit.handle();
    let sessions = SessionLayer::new(store).allow_anonymous();
    let world = std::sync::Arc::clone(&inner.world);
    let server = service_fn(
        move |request: Request<http_body_util::Full<bytes::Bytes>>| {
            use http_body_util::BodyExt;

            let world = std::sync::Arc::clone(&world);
            async move {
                let (parts, body) = request.into_parts();
                let Ok(body) = body.collect().await;
                let asked = session_support::Asked {
                    parts,
                    body: body.to_bytes(),
                };
                let mut world = world.lock().expect("not poisoned");
                let response = world.answer(&asked);
                world.asked.push(asked);
                Ok::<_, Infallible>(response)
            }
        },
    );
    let service = ServiceBuilder::new()
        .layer(sessions)
        .layer(limit)
        .service(server);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    let opened = send(post("", INITIALIZE)).await;
    let name = opened.headers()["mcp-session-id"].clone();
    let session = name.to_str().expect("ASCII");
    drop(opened);
    assert_eq!(send(post(session, CALL)).await.status(), 429);
    for free in [NOTIFICATION, RESPONSE] {
        assert_eq!(send(post(session, free)).await.status(), 200, "{free}");
    }
    // RL-6: GETs of MCP have units of their own.
    let mut listens = get(session);
    let cursor = "x".parse().expect("ASCII");
    listens.headers_mut().insert("last-event-id", cursor);
    let stream = send(listens).await;
    assert_eq!(stream.status(), 200);
    drop(stream);
    let before = handle.stats();
    assert_eq!(before.limiter.over_quota_total, 1);
    assert_eq!(send(delete(session)).await.status(), 200);

    // A session that nobody uses: its server is told by the layer itself.
    let opened = send(post("", INITIALIZE)).await;
    assert_eq!(opened.status(), 200);
    drop(opened);
    inner.asked();
    sleep(Duration::from_secs(200)).await;
    settle().await;
    let told = inner.asked();
    assert_eq!(told.len(), 1, "the server is told");
    assert_eq!(told[0].parts.method, "DELETE");
    let after = handle.stats();
    assert_eq!(after.keyless_total, 0);
    assert_eq!(after.exempt_total, before.exempt_total + 2);
}

/// The place of each in the stack: by peer outside of the reader, by principal inside.
#[tokio::test(start_paused = true)]
async fn two_limits_in_one_stack_are_told_apart() {
    let alice = principal("alice", &[]);
    let by_peer = RateLimitLayer::new(ByPeer::new(), quota(4, T))
        .with_name("peer")
        .expect("a name")
        .with_fields_in_all(true);
    let by_principal = RateLimitLayer::with_limiter(
        ByPrincipal,
        LocalLimiter::new(quota(2, T)).with_max_streams(streams(10)),
    )
    .with_name("principal")
    .expect("a name")
    .with_fields_in_all(true);
    let stack = ServiceBuilder::new()
        .layer(by_peer)
        .layer(MessageLayer::new())
        .layer(by_principal)
        .service(Recorder::default());
    let request = || by([203, 0, 113, 9], message(&alice, LIST));
    let had = ask(&stack, request()).await;
    let told: Vec<_> = had.headers.get_all("ratelimit").iter().collect();
    assert_eq!(told, [r#""principal";r=1;t=20"#, r#""peer";r=3;t=20"#]);
    assert_eq!(ask(&stack, request()).await.status, 200);
    for _ in 0..2 {
        let had = ask(&stack, request()).await;
        assert_eq!(had.status, 429);
        let mut names = had.headers.get_all("ratelimit-policy").iter();
        assert_eq!(names.next().expect("its own"), r#""principal";q=2;w=40"#);
        assert!(had.body.contains(r#""id":7"#));
    }
    // The outer one knows no message.
    let had = ask(&stack, request()).await;
    assert_eq!(had.headers["ratelimit-policy"], r#""peer";q=4;w=80"#);
}
