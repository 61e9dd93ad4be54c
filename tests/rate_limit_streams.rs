//! RL-5: what a key keeps open, from the request to the end of its response, whichever way that ends.

mod rate_limit_support;
mod replay_support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use rate_limit_support::{limiter, quota, streams};
use replay_support::{FINAL, Reader, ScriptBody, Upstream, body, get, progress};
use shadowcat::{
    message::{Message, MessageLayer},
    rate_limit::{LimitHandle, LocalLimiter, Quota, RateLimitLayer},
    replay::{BodyErrorKind, ReplayLayer},
};
use tokio_test::{assert_pending, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

const V: &str = "2025-11-25";

type Answer<B> = BoxCloneSyncService<Request<Full<Bytes>>, Response<B>, Infallible>;

/// The server's ends of what is open.
type Open = Arc<Mutex<Vec<Upstream>>>;

/// A server that answers with event streams, which the test writes.
fn server() -> (
    Open,
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<ScriptBody>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + Sync
    + 'static,
) {
    let open = Open::default();
    let opened = Arc::clone(&open);
    let inner = service_fn(move |_: Request<Full<Bytes>>| {
        let (upstream, body) = body();
        opened.lock().expect("no panic").push(upstream);
        let response = Response::builder().header("content-type", "text/event-stream");
        std::future::ready(Ok(response.body(body).expect("a valid response")))
    });
    (open, inner)
}

fn last(open: &Open) -> Upstream {
    let mut open = open.lock().expect("no panic");
    open.pop().expect("the server was called")
}

/// At most that many streams and calls, for everybody together.
fn counting(max: u16) -> RateLimitLayer<()> {
    let limiter = LocalLimiter::new(Quota::UNLIMITED)
        .with_max_streams(streams(max))
        .with_max_keys(1);
    RateLimitLayer::with_limiter((), limiter)
}

/// A call that somebody outside has read.
fn call(session: &str, version: &str) -> Request<Full<Bytes>> {
    const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}"#;
    let mut request = replay_support::post(session, version, CALL);
    let message = Message::new(Bytes::from_static(CALL.as_bytes()));
    request.extensions_mut().insert(message);
    request
}

fn open(handle: &LimitHandle) -> u64 {
    handle.stats().limiter.open
}

#[tokio::test]
async fn stream_beyond_the_last_is_refused_until_one_ends() {
    let (upstreams, server) = server();
    let layer = counting(2);
    let handle = layer.handle();
    let service = layer.layer(server);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    // However it ends: by itself, by a failure, or because the client goes.
    for way in ["end", "fail", "drop"] {
        let one = send(get("s", None)).await;
        let upstream = last(&upstreams);
        let other = send(get("s", None)).await;
        assert_eq!((one.status().as_u16(), open(&handle)), (200, 2));
        let refused = send(get("s", None)).await;
        assert_eq!(refused.status(), 429, "{way}");
        assert_eq!(refused.headers()["retry-after"], "1");
        let body = refused.into_body().collect().await.expect("a body");
        assert_eq!(
            body.to_bytes(),
            r#"{"jsonrpc":"2.0","error":{"code":-31429,"message":"too many streams and calls at once","data":{"source":"shadowcat","retryAfterMs":1000}}}"#
        );
        // RL-10: and the server has not heard of it.
        assert_eq!(upstreams.lock().expect("no panic").len(), 1);

        let mut body = spawn(one.into_body().collect());
        assert_pending!(body.poll());
        assert_eq!(open(&handle), 2, "it is not read to its end");
        match way {
            "end" => drop(upstream),
            "fail" => upstream.break_off(),
            _ => {}
        }
        if way == "drop" {
            drop(body);
        } else {
            assert_eq!(body.await.is_err(), way == "fail");
        }
        assert_eq!(open(&handle), 1, "{way}");
        let again = send(get("s", None)).await;
        assert_eq!(again.status(), 200, "{way}");
        drop((again, other));
        assert_eq!(open(&handle), 0, "{way}");
        upstreams.lock().expect("no panic").clear();
    }
    assert_eq!(handle.stats().limiter.too_many_open_total, 3);
}

#[tokio::test]
async fn client_that_listens_can_still_call_where_only_one_is_allowed() {
    let (upstreams, server) = server();
    let layer = counting(1);
    let handle = layer.handle();
    let service = layer.layer(server);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    let listening = send(get("s", None)).await;
    let calling = send(call("s", V)).await;
    assert_eq!(calling.status(), 200);
    assert_eq!(open(&handle), 2);
    assert_eq!(send(call("s", V)).await.status(), 429);
    assert_eq!(send(get("s", None)).await.status(), 429);
    // A call is over with its answer, not with the head of it.
    let upstream = last(&upstreams);
    upstream.say(FINAL);
    drop(upstream);
    assert_eq!(send(call("s", V)).await.status(), 429);
    let answer = calling.into_body().collect().await.expect("a body");
    assert_eq!(answer.to_bytes(), FINAL);
    assert_eq!(send(call("s", V)).await.status(), 200);
    drop(listening);
    assert_eq!(open(&handle), 0);
}

#[tokio::test]
async fn request_that_waits_for_its_answer_is_open() {
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        std::future::pending::<()>().await;
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = counting(1);
    let handle = layer.handle();
    let mut service = layer.layer(inner);
    let mut waiting = spawn(service.call(call("s", V)));
    assert_pending!(waiting.poll());
    let Ok(refused) = service.call(call("s", V)).await;
    assert_eq!(refused.status(), 429);
    drop(waiting);
    assert_eq!(open(&handle), 0);
}

#[tokio::test]
async fn answer_without_a_body_is_over_at_once() {
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let layer = counting(1);
    let service = layer.layer(inner);
    let Ok(kept) = service.clone().oneshot(call("s", V)).await;
    assert_eq!(open(&layer.handle()), 0, "whoever keeps the response");
    drop(kept);
}

/// What is exempt, and notifications that are not, keep nothing open: they get no answer that lasts.
#[tokio::test]
async fn rl_4_responses_and_notifications_pass_while_all_is_open() {
    let (_upstreams, server) = server();
    let stack = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(counting(1))
        .service(service_fn(move |request: Request<_>| {
            let request: Request<shadowcat::body::RequestBody<Full<Bytes>>> = request;
            server.clone().oneshot(request.map(|_| Full::default()))
        }));
    let send = async |request| {
        let Ok(response) = stack.clone().oneshot(request).await;
        response
    };
    let post = |body: &'static str| replay_support::post("s", V, body);
    let calling = send(call("s", V)).await;
    assert_eq!(send(call("s", V)).await.status(), 429);
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
    ] {
        assert_eq!(send(post(body)).await.status(), 200, "{body}");
    }
    drop(calling);
}

/// A stack with streams that can be resumed, inside of the limit.
fn resumable(
    max: u16,
) -> (
    Open,
    LimitHandle,
    Answer<impl http_body::Body<Data = Bytes, Error = shadowcat::replay::BodyError>>,
) {
    let (upstreams, server) = server();
    let layer = counting(max);
    let handle = layer.handle();
    let stack = ServiceBuilder::new()
        .layer(layer)
        .layer(ReplayLayer::default())
        .service(server);
    (upstreams, handle, BoxCloneSyncService::new(stack))
}

/// N = 1, and a connection that is dead without anybody here knowing it.
#[tokio::test]
async fn half_open_client_resumes_where_only_one_is_allowed() {
    let (upstreams, handle, service) = resumable(1);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    let mut dead = Reader::new(send(get("s", None)).await.into_body());
    let upstream = last(&upstreams);
    upstream.say(progress(1));
    dead.next().await.expect("an event");
    let cursor = dead.cursor.clone().expect("a cursor");
    // Nobody has told the server that its client is gone: the body is still there.
    assert_eq!(send(get("s", None)).await.status(), 429, "a new one");
    let resumed = send(get("s", Some(&cursor))).await;
    assert_eq!(resumed.status(), 200);
    assert_eq!(open(&handle), 2);
    // RL-5: but not two more.
    let mut live = Reader::new(resumed.into_body());
    upstream.say(progress(2));
    let event = live.next().await.expect("an event");
    assert!(event.data.expect("data").contains("\"progress\":2"));
    // The old body is taken over, and its connection is cut when it is looked at.
    assert_eq!(dead.error().await.kind(), BodyErrorKind::Superseded);
    assert_eq!(open(&handle), 1);
    let again = send(get("s", live.cursor.as_deref())).await;
    assert_eq!(again.status(), 200, "as often as one ends");
    drop((dead, live, again));
    assert_eq!(open(&handle), 0);
}

/// A client that has lost all of its connections comes back for each of its streams, one by one.
#[tokio::test]
async fn client_that_lost_a_call_and_a_stream_comes_back_for_both() {
    let (upstreams, handle, service) = resumable(1);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    let mut cursors = Vec::new();
    let mut dead = Vec::new();
    let mut writers = Vec::new();
    for request in [get("s", None), call("s", V)] {
        let mut reader = Reader::new(send(request).await.into_body());
        let upstream = last(&upstreams);
        upstream.say(progress(1));
        while reader.next().await.expect("an event").data.as_deref() == Some("") {}
        cursors.push(reader.cursor.clone().expect("a cursor"));
        dead.push(reader);
        writers.push(upstream);
    }
    assert_eq!(open(&handle), 2);
    let mut live = Vec::new();
    for (cursor, dead) in cursors.iter().zip(&mut dead) {
        let resumed = send(get("s", Some(cursor))).await;
        assert_eq!(resumed.status(), 200);
        live.push(resumed);
        // Its connection is closed once somebody else has the stream.
        assert_eq!(dead.error().await.kind(), BodyErrorKind::Superseded);
    }
    assert_eq!(open(&handle), 2);
    // One more may come back, but nothing new is let in.
    let bogus = send(get("s", Some("bogus"))).await;
    assert_eq!(bogus.status(), 400, "let in");
    drop(bogus);
    assert_eq!(send(get("s", None)).await.status(), 429);
    assert_eq!(send(call("s", V)).await.status(), 429);
    drop((live, writers));
    assert_eq!(open(&handle), 0);
}

/// N = 1: a call that goes on in a GET is still a call, and leaves the place of the stream that listens.
#[tokio::test]
async fn client_whose_call_goes_on_in_a_get_can_still_listen() {
    let (upstreams, handle, service) = resumable(1);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    let mut dead = Reader::new(send(call("s", V)).await.into_body());
    let upstream = last(&upstreams);
    upstream.say(progress(1));
    while dead.next().await.expect("an event").data.as_deref() == Some("") {}
    let cursor = dead.cursor.clone().expect("a cursor");
    let resumed = send(get("s", Some(&cursor))).await;
    assert_eq!(resumed.status(), 200);
    assert_eq!(dead.error().await.kind(), BodyErrorKind::Superseded);
    let listening = send(get("s", None)).await;
    assert_eq!((listening.status().as_u16(), open(&handle)), (200, 2));
    assert_eq!(send(get("s", None)).await.status(), 429);
    assert_eq!(send(call("s", V)).await.status(), 429, "it has one");
    drop((resumed, listening));
    assert_eq!(open(&handle), 0);
}

/// Cursors that a client makes up get it no more than what it could have without, and one.
#[tokio::test]
async fn server_that_ignores_cursors_has_no_more_than_twice_and_one_open() {
    const MAX: usize = 2;
    let (_upstreams, server) = server();
    let service = counting(MAX as u16).layer(server);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        (response.status() == 200).then_some(response)
    };
    let mut open = Vec::new();
    for _ in 0..20 {
        open.extend(send(get("s", Some("x"))).await);
    }
    assert_eq!(open.len(), 2 * MAX + 1);
    for _ in 0..20 {
        open.extend(send(call("s", V)).await);
        open.extend(send(get("s", None)).await);
    }
    assert_eq!(open.len(), 2 * MAX + 1, "and nothing new");
}

/// Whoever sets up a count of what is open without a reader is told so, before a tool waits for a
/// response that waits for its call.
#[tokio::test]
async fn rl_4_unread_message_of_mcp_gets_500() {
    let (_upstreams, server) = server();
    let layer = counting(1);
    let handle = layer.handle();
    let service = layer.layer(server);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response.status().as_u16()
    };
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(send(replay_support::post("s", V, response)).await, 500);
    assert_eq!(handle.stats().keyless_total, 1);
    // Elsewhere it is one request like others.
    let plain = Request::post("/").body(Full::<Bytes>::default());
    assert_eq!(send(plain.expect("a valid request")).await, 200);
}

/// Wherever the inner service panics, what was open is given back.
#[tokio::test]
async fn panic_of_the_inner_service_gives_back() {
    let layer = counting(1);
    let at_once =
        |_: Request<Full<Bytes>>| -> std::future::Ready<Result<Response<Full<Bytes>>, Infallible>> {
            panic!("when it is called")
        };
    let later = async |_: Request<Full<Bytes>>| -> Result<Response<Full<Bytes>>, Infallible> {
        panic!("when it is polled")
    };
    let call = || call("s", V);
    let panicked = tokio::spawn(layer.layer(service_fn(at_once)).oneshot(call())).await;
    assert!(panicked.expect_err("it panics").is_panic());
    assert_eq!(open(&layer.handle()), 0);
    let panicked = tokio::spawn(layer.layer(service_fn(later)).oneshot(call())).await;
    assert!(panicked.expect_err("it panics").is_panic());
    assert_eq!(open(&layer.handle()), 0);
}

/// Streams and units are charged together, or not at all.
#[tokio::test]
async fn request_that_is_refused_for_one_reason_keeps_nothing_for_the_other() {
    let (_upstreams, server) = server();
    let (limiter, clock) = limiter(quota(2, Duration::from_secs(1)));
    let layer = RateLimitLayer::with_limiter((), limiter.with_max_streams(streams(1)));
    let handle = layer.handle();
    let service = layer.layer(server);
    let send = async |request| {
        let Ok(response) = service.clone().oneshot(request).await;
        response
    };
    let first = send(call("s", V)).await;
    // Too many are open: the unit is not spent.
    assert_eq!(send(call("s", V)).await.status(), 429);
    drop(first);
    let second = send(call("s", V)).await;
    assert_eq!(second.status(), 200);
    drop(second);
    // No unit is left: nothing is kept open.
    assert_eq!(send(call("s", V)).await.status(), 429);
    assert_eq!(open(&handle), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(send(call("s", V)).await.status(), 200);
}
