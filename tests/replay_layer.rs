//! The replay layer as a layer: readiness, clones, errors, stacks; and streams that are not MCP.

mod replay_support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, response::Sse, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use replay_support::{FINAL, Reader, ScriptBody, Server, call, get, post, progress};
use shadowcat::{
    message::MessageLayer,
    replay::{Replay, ReplayLayer, ResponseBody},
    store::MemoryStore,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Inner = Request<Full<Bytes>>;

const V: &str = "2025-11-25";

#[tokio::test]
async fn readiness_is_the_inner_services_and_goes_with_the_request() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Full<Bytes>>, _>(ReplayLayer::default());
    handle.allow(0);
    assert_pending!(service.poll_ready());
    for request in [call("s", V), get("s", None)] {
        handle.allow(1);
        assert_ready_ok!(service.poll_ready());
        // The mock panics if it is called by whoever has not polled it ready.
        let mut calling = tokio_test::task::spawn(service.call(request));
        assert_pending!(calling.poll());
        let (_, respond) = assert_ready!(tokio_test::task::spawn(handle.next_request()).poll())
            .expect("the inner service is called");
        assert_pending!(service.poll_ready(), "the permit went with the request");
        respond.send_response(Response::new(Full::from("{}")));
        let response = assert_ready_ok!(calling.poll());
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_cursor_that_is_refused_has_called_nobody() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Full<Bytes>>, _>(ReplayLayer::default());
    assert_ready_ok!(service.poll_ready());
    let mut calling = tokio_test::task::spawn(service.call(get("s", Some("theirs"))));
    assert_eq!(
        assert_ready_ok!(calling.poll()).status(),
        StatusCode::BAD_REQUEST
    );
    assert_pending!(tokio_test::task::spawn(handle.next_request()).poll());
}

/// Panics if it is called when it is not ready, and counts its clones.
#[derive(Debug)]
struct Gate {
    clones: Arc<AtomicUsize>,
    is_ready: bool,
}

impl Clone for Gate {
    fn clone(&self) -> Self {
        self.clones.fetch_add(1, Ordering::Relaxed);
        Self {
            clones: Arc::clone(&self.clones),
            is_ready: false,
        }
    }
}

impl<B> Service<Request<B>> for Gate {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called un-ready");
        std::future::ready(Ok(Response::new(Full::from("inner"))))
    }
}

fn gate() -> (Gate, Arc<AtomicUsize>) {
    let clones = Arc::<AtomicUsize>::default();
    let gate = Gate {
        clones: Arc::clone(&clones),
        is_ready: false,
    };
    (gate, clones)
}

#[tokio::test]
async fn the_inner_service_is_cloned_only_to_wait_for_a_body() {
    let unread = call("s", V);
    let mut read = call("s", V);
    let message = shadowcat::message::Message::new(Bytes::from_static(b"{}"));
    read.extensions_mut().insert(message);
    let cursor = shadowcat::sse::EventId::new(shadowcat::sse::StreamKey::from_bytes([1; 16]), 1);
    let resume = get("s", Some(&cursor.to_string()));
    for (request, expected) in [(unread, 1), (read, 0), (get("s", None), 0), (resume, 1)] {
        let (gate, clones) = gate();
        let mut service = ReplayLayer::default().layer(gate);
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let response = ready.expect("infallible").call(request).await;
        assert!(response.is_ok());
        assert_eq!(clones.load(Ordering::Relaxed), expected);
    }
}

#[test]
fn layer_service_future_and_body_can_be_shared_and_sent() {
    fn assert_static<T: Send + Sync + Clone + 'static>() {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    fn assert_sync<T: Send + Sync + 'static>() {}
    fn assert_infallible<S: Service<Inner, Error = Infallible>>(_: &S) {}
    assert_static::<ReplayLayer>();
    assert_static::<Replay<Gate, MemoryStore>>();
    assert_sync::<ResponseBody<Full<Bytes>>>();
    let mut service = ReplayLayer::default().layer(Gate {
        clones: Arc::default(),
        is_ready: true,
    });
    assert_infallible(&service);
    assert_send(&service.call(get("s", None)));
    assert!(ResponseBody::<ScriptBody>::default().is_end_stream());
}

#[tokio::test]
async fn inner_errors_pass() {
    let inner = service_fn(|_: Inner| async { Err::<Response<Full<Bytes>>, _>("broken") });
    let service = ReplayLayer::default().layer(inner);
    assert_eq!(service.oneshot(get("s", None)).await.err(), Some("broken"));
}

#[tokio::test]
async fn one_layer_is_one_set_of_streams_on_an_axum_router() {
    // axum calls `layer` once per route.
    let layer = ReplayLayer::default();
    let events = || async {
        let events = ["one", "two", "three"]
            .map(|data| Ok::<_, Infallible>(axum::response::sse::Event::default().data(data)));
        Sse::new(tokio_stream::iter(events))
    };
    let router = Router::<()>::new()
        .route("/ticks", routing::get(events).post(events))
        .route("/other", routing::get(events))
        .layer(ServiceBuilder::new().layer(layer.clone()));
    let send = |request: Request<Full<Bytes>>| {
        let request = request.map(axum::body::Body::new);
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request).await;
            response
        }
    };
    for method in ["GET", "POST"] {
        let request = Request::builder().method(method).uri("/ticks");
        let response = send(request.body(Full::default()).expect("valid")).await;
        let whole = response
            .into_body()
            .collect()
            .await
            .expect("no error")
            .to_bytes();
        let text = String::from_utf8(whole.to_vec()).expect("UTF-8");
        let ids: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("id: "))
            .collect();
        assert_eq!(ids.len(), 3, "{text}");

        let resume = |path, cursor: &str| {
            let request = Request::get(path).header("last-event-id", cursor);
            send(request.body(Full::default()).expect("valid"))
        };
        for path in ["/ticks", "/other"] {
            let response = resume(path, ids[0]).await;
            assert_eq!(response.status(), 200);
            let rest = response
                .into_body()
                .collect()
                .await
                .expect("no error")
                .to_bytes();
            assert_eq!(rest, text[text.find("data: one").expect("one") + 11..]);
        }
        let response = resume("/ticks", ids[2]).await;
        // SWF-11: nothing else stops a browser.
        assert_eq!(response.status(), 204);
        let response = resume("/ticks", "not ours").await;
        assert_eq!(response.status(), 400);
    }
}

#[tokio::test]
async fn an_llm_stream_over_post_is_resumed_by_get_while_it_goes_on() {
    let server = Server::new(ReplayLayer::default());
    let prompt = r#"{"model":"m","messages":[],"stream":true}"#;
    let response = server.send(post("", "", prompt)).await;
    let (_, upstream) = server.upstream();
    upstream.say("data: {\"token\":\"a\"}\n\n");
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("a token");
    let cursor = reader.cursor.clone();
    drop(reader);
    upstream.say("data: {\"token\":\"b\"}\n\ndata: [DONE]\n\n");
    let response = server.send(get("", cursor.as_deref())).await;
    let mut reader = Reader::new(response.into_body());
    assert_eq!(
        reader.next().await.and_then(|b| b.data).as_deref(),
        Some("{\"token\":\"b\"}")
    );
    drop(upstream);
    assert_eq!(reader.data().await, ["[DONE]"]);
}

#[tokio::test]
async fn sse3_only_calls_of_2025_11_25_are_primed_and_every_other_stream_begins_with_a_comment() {
    for (request, primed) in [
        (call("s", V), true),
        (call("s", "2025-06-18"), false),
        (call("s", "2025-03-26"), false),
        (call("s", ""), false),
        (get("s", None), false),
        (get("", None), false),
        (post("", "", "{}"), false),
    ] {
        let what = format!("{request:?}");
        let server = Server::new(ReplayLayer::default());
        let response = server.send(request).await;
        let (_, upstream) = server.upstream();
        let mut reader = Reader::new(response.into_body());
        if primed {
            let first = reader.next().await.expect("a cursor");
            assert!(
                first.id.is_some() && first.data.as_deref() == Some(""),
                "{what}"
            );
            assert_eq!(first.event, None);
        } else {
            let next = std::future::poll_fn(|cx| Poll::Ready(reader.poll_next(cx))).await;
            assert!(next.is_pending());
            assert_eq!(reader.raw, b":\n\n", "{what}");
        }
        upstream.say(progress(1));
        assert!(
            reader.next().await.is_some_and(|event| event.id.is_some()),
            "{what}"
        );
    }
}

#[tokio::test]
async fn a_server_that_speaks_at_once_is_not_interrupted_by_a_greeting() {
    let server = Server::new(ReplayLayer::default());
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(FINAL);
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.rest().await.len(), 1);
    assert!(reader.raw.starts_with(b"id: "));
}

#[tokio::test]
async fn a_client_of_an_older_revision_gets_its_cursor_in_a_form_that_it_skips() {
    for (session, version, event, has_data) in [
        ("s", "2025-06-18", Some("resumed"), true),
        ("", "", None, false),
    ] {
        let server = Server::new(ReplayLayer::default());
        let response = server.send(get(session, None)).await;
        let (_, upstream) = server.upstream();
        upstream.say(progress(1));
        let mut reader = Reader::new(response.into_body());
        reader.next().await.expect("an event");
        let mut request = get(session, reader.cursor.as_deref());
        if !version.is_empty() {
            let version = version.parse().expect("legal");
            request
                .headers_mut()
                .insert("mcp-protocol-version", version);
        }
        let response = server.send(request).await;
        let first = Reader::new(response.into_body())
            .next()
            .await
            .expect("the cursor");
        assert_eq!(first.id, reader.cursor);
        assert_eq!(first.event.as_deref(), event);
        assert_eq!(first.data.is_some(), has_data);
    }
}

#[tokio::test]
async fn inside_a_message_layer_the_body_is_read_once() {
    let inner = service_fn(
        |request: Request<shadowcat::body::RequestBody<Full<Bytes>>>| async {
            let body = request
                .into_body()
                .collect()
                .await
                .expect("no error")
                .to_bytes();
            Ok::<_, Infallible>(Response::new(Full::new(body)))
        },
    );
    let service = ServiceBuilder::new()
        .layer(MessageLayer::new().with_max_body_bytes(100))
        .layer(ReplayLayer::default())
        .service(inner);
    let Ok(response) = service.oneshot(call("s", V)).await;
    let body = response
        .into_body()
        .collect()
        .await
        .expect("no error")
        .to_bytes();
    assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":7,"#));
}

#[tokio::test]
async fn a_body_that_is_too_large_to_be_read_is_refused_only_if_it_may_be_mcp() {
    let large = "x".repeat(5 * 1024 * 1024);
    for (accept, status) in [("text/event-stream", 413), ("*/*", 200)] {
        let service = ReplayLayer::default().layer(service_fn(|_: Inner| async {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }));
        let request = Request::post("/upload")
            .header("content-type", "application/json")
            .header("accept", accept);
        let request = request.body(Full::from(large.clone())).expect("valid");
        let Ok(response) = service.oneshot(request).await;
        assert_eq!(response.status(), status);
    }
}
