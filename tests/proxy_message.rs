//! The layer that reads messages: limits, time, facts, readiness.

#[allow(dead_code)]
#[path = "../src/mock_body.rs"]
mod mock_body;
mod scripted;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use mock_body::MockBody;
use scripted::{CALL, Front, ScriptedPeer, builder, guarded, settle};
use shadowcat::{
    body::RequestBody,
    message::{Message, MessageLayer, ReadMessage},
    protocol::{Era, ProtocolVersion},
    refusal::Refused,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Inner = Request<RequestBody<MockBody>>;

fn request(method: Method, body: MockBody) -> Request<MockBody> {
    let request = Request::builder().method(method).uri("/mcp");
    let request = request.header(CONTENT_TYPE, "application/json");
    request.body(body).expect("a valid request")
}

fn post(body: MockBody) -> Request<MockBody> {
    request(Method::POST, body)
}

/// What the inner service got, or the layer's refusal.
async fn through(layer: MessageLayer, request: Request<MockBody>) -> Result<Inner, Answer> {
    let seen = std::cell::RefCell::new(None);
    let inner = service_fn(|request: Inner| {
        let before = seen.borrow_mut().replace(request);
        assert!(before.is_none(), "called twice");
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let Ok(response) = layer.layer(inner).oneshot(request).await;
    match seen.take() {
        Some(request) => {
            assert!(response.extensions().get::<Refused>().is_none());
            Ok(request)
        }
        None => {
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("fixed").to_bytes();
            Err(Answer {
                status: parts.status,
                body: String::from_utf8(body.to_vec()).expect("UTF-8"),
            })
        }
    }
}

#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: String,
}

#[track_caller]
fn assert_refused(result: Result<Inner, Answer>, status: u16, code: i32) {
    let answer = result.expect_err("refused");
    assert_eq!(answer.status, status);
    let start = format!(r#"{{"jsonrpc":"2.0","error":{{"code":{code},"#);
    assert!(answer.body.starts_with(&start), "{}", answer.body);
}

const LIMIT: usize = 1000;

fn limited() -> MessageLayer {
    MessageLayer::new().with_max_body_bytes(LIMIT)
}

/// A message of `len` bytes.
fn message(len: usize) -> String {
    format!("{CALL}{}", " ".repeat(len - CALL.len()))
}

/// A message of `len` bytes in frames of `frame`.
fn body(len: usize, frame: usize) -> MockBody {
    let bytes = message(len).into_bytes();
    let frames = bytes.chunks(frame.max(1)).map(Bytes::copy_from_slice);
    frames.fold(MockBody::new(), |body, data| body.then_yield().data(data))
}

#[tokio::test]
async fn body_up_to_the_limit_passes_and_one_byte_more_does_not() {
    for frame in [1, 7, LIMIT - 1, LIMIT, LIMIT + 1] {
        for has_length in [false, true] {
            let body = |len| {
                let body = body(len, frame);
                if has_length { body.exact() } else { body }
            };
            for len in [CALL.len(), LIMIT - 1, LIMIT] {
                let passed = through(limited(), post(body(len))).await;
                let bytes = passed.expect("passes").into_body().collect().await;
                let bytes = bytes.expect("collected").to_bytes();
                assert!(bytes == message(len), "{len} in frames of {frame}");
            }
            let refused = through(limited(), post(body(LIMIT + 1))).await;
            assert_refused(refused, 413, -31413);
        }
    }
}

#[tokio::test]
async fn body_that_says_it_is_too_long_is_not_read() {
    let body = body(LIMIT + 1, 1).exact();
    let polls = body.polls();
    assert_refused(through(limited(), post(body)).await, 413, -31413);
    assert_eq!(polls.get(), 0);
}

#[tokio::test]
async fn body_that_gets_too_long_is_read_no_further() {
    let body = body(LIMIT, LIMIT).data("x").data("not read");
    let polls = body.polls();
    assert_refused(through(limited(), post(body)).await, 413, -31413);
    assert_eq!(polls.get(), 3, "yield, data, data");
}

#[tokio::test(start_paused = true)]
async fn body_that_is_not_there_in_time_is_refused() {
    let timeout = Duration::from_secs(5);
    let layer = MessageLayer::new().with_read_timeout(Some(timeout));
    for body in [MockBody::new().stall(), MockBody::new().data("{").stall()] {
        let start = tokio::time::Instant::now();
        let refused = guarded(through(layer, post(body))).await;
        assert_refused(refused, 408, -31408);
        assert_eq!(start.elapsed(), timeout);
    }
}

#[tokio::test]
async fn body_that_breaks_is_refused() {
    let body = MockBody::new().data("{").error("reset");
    let answer = through(MessageLayer::new(), post(body)).await;
    let text = &answer.as_ref().expect_err("refused").body;
    assert!(!text.contains("reset"), "SEC-11");
    assert_refused(answer, 400, -32600);
}

#[tokio::test]
async fn other_methods_pass_unread_and_without_a_limit() {
    for method in [Method::GET, Method::DELETE, Method::PUT, Method::OPTIONS] {
        let body = body(LIMIT + 1, LIMIT).exact();
        let polls = body.polls();
        let seen = through(limited(), request(method, body)).await;
        let seen = seen.expect("passes");
        assert_eq!(polls.get(), 0);
        assert!(seen.extensions().get::<Message>().is_none());
        let assumed = Era::Session(ProtocolVersion::V2025_03_26);
        assert_eq!(Era::of(seen.extensions()), Some(assumed));
        assert_eq!(seen.body().size_hint().exact(), Some(LIMIT as u64 + 1));
    }
}

#[tokio::test]
async fn message_and_era_are_there_inside_and_the_bytes_are_those_that_came() {
    let modern = r#"{"jsonrpc":"2.0","method":"notifications/x","params":{"_meta":
        {"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let batch = format!(" \r\n[{CALL}]\t");
    let assumed = Era::Session(ProtocolVersion::V2025_03_26);
    for (text, era) in [
        (CALL, assumed),
        (modern, Era::Stateless),
        (batch.as_str(), assumed),
    ] {
        for split in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(split);
            let body = MockBody::new()
                .data(Bytes::copy_from_slice(first))
                .then_yield()
                .data(Bytes::copy_from_slice(second));
            let seen = through(MessageLayer::new(), post(body)).await;
            let seen = seen.expect("passes");
            assert_eq!(Era::of(seen.extensions()), Some(era));
            let message = seen.extensions().get::<Message>().expect("a message");
            assert_eq!(message.body(), text);
            assert_eq!(seen.body().size_hint().exact(), Some(text.len() as u64));
            let forwarded = seen.into_body().collect().await.expect("collected");
            assert_eq!(forwarded.to_bytes(), text);
        }
    }
}

#[tokio::test]
async fn message_that_an_outer_layer_read_is_not_read_again_but_judged() {
    let read = |message: &'static str| {
        let mut request = post(MockBody::new().data("other").exact());
        request
            .extensions_mut()
            .insert(Message::new(message.into()));
        let polls = request.body().polls();
        (request, polls)
    };
    let (request, polls) = read(CALL);
    let seen = through(limited(), request).await.expect("passes");
    let message = seen.extensions().get::<Message>().expect("a message");
    assert_eq!(message.body(), CALL);
    assert!(Era::of(seen.extensions()).is_some());
    assert_eq!(polls.get(), 0);

    let (request, polls) = read("[]");
    assert_refused(through(limited(), request).await, 400, -32600);
    assert_eq!(polls.get(), 0);
}

#[tokio::test]
async fn readiness_is_the_inner_services_and_goes_with_the_request() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(MessageLayer::new());
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());

    // The mock panics if it is called by whoever has not polled it ready.
    let body = MockBody::new().then_yield().data(CALL);
    let mut reading = tokio_test::task::spawn(service.call(post(body)));
    assert_pending!(reading.poll());
    assert!(reading.is_woken());
    assert_pending!(reading.poll(), "the inner service has not answered");
    let (request, respond) = assert_ready!(tokio_test::task::spawn(handle.next_request()).poll())
        .expect("the inner service is called");
    assert_eq!(request.method(), Method::POST);
    assert_pending!(service.poll_ready(), "the permit went with the request");
    respond.send_response(Response::new(Empty::new()));
    let response = assert_ready_ok!(reading.poll());
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn future_dropped_while_reading_has_called_nobody() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(MessageLayer::new());
    assert_ready_ok!(service.poll_ready());
    let mut reading = tokio_test::task::spawn(service.call(post(MockBody::new().stall())));
    assert_pending!(reading.poll());
    drop(reading);
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

#[tokio::test]
async fn inner_service_is_ready_when_called_and_cloned_at_most_once() {
    for (method, expected) in [(Method::POST, 1), (Method::GET, 0)] {
        let clones = Arc::<AtomicUsize>::default();
        let gate = Gate {
            clones: Arc::clone(&clones),
            is_ready: false,
        };
        let mut service = ReadMessage::new(gate);
        for round in 1..=3 {
            let body = MockBody::new().then_yield().data(CALL);
            let request = request(method.clone(), body);
            let ready = ServiceExt::<Request<MockBody>>::ready(&mut service).await;
            let response = ready.expect("infallible").call(request).await;
            assert_eq!(response.expect("infallible").status(), StatusCode::OK);
            assert_eq!(clones.load(Ordering::Relaxed), round * expected);
        }
    }
}

#[tokio::test]
async fn stacks_in_axum_and_by_service_builder() {
    async fn handler(request: axum::extract::Request) -> String {
        let era = Era::of(request.extensions());
        let message = request.extensions().get::<Message>().cloned();
        let len = message.map(|message| message.body().len());
        format!("{:?} {len:?}", era.is_some())
    }
    let router = Router::new()
        .route("/mcp", routing::post(handler))
        .layer(ServiceBuilder::new().layer(limited()));
    let call = |body: String| {
        let request = Request::post("/mcp").header(CONTENT_TYPE, "application/json");
        let request = request.body(axum::body::Body::from(body));
        router.clone().oneshot(request.expect("a valid request"))
    };
    let Ok(response) = call(CALL.to_owned()).await;
    let text = response.into_body().collect().await.expect("a body");
    assert_eq!(text.to_bytes(), format!("true Some({})", CALL.len()));
    let Ok(response) = call("x".repeat(LIMIT + 1)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// The rest of a body that was refused is not the next request (A21).
#[tokio::test]
async fn refused_body_on_the_wire_is_never_a_request() {
    let smuggled = "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n\r\n{}";
    let padding = "x".repeat(LIMIT);
    let rest = format!("{padding}{smuggled}");
    for framing in [
        format!("Content-Length: {}\r\n\r\n{rest}", rest.len()),
        format!(
            "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{rest}\r\n",
            rest.len()
        ),
    ] {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let stack = limited().layer(builder(&peer).build());
            let front = Front::start(stack).await;
            let mut client = front.connect().await;
            client
                .write(format!(
                    "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Type: application/json\r\n{framing}"
                ))
                .await;
            let response = client.read_message().await;
            assert_eq!(response.start_line(), "HTTP/1.1 413 Payload Too Large");
            // A client that reused the connection would lose its next request.
            assert_eq!(response.fields("connection"), ["close"]);
            client.finish().await;
            assert_eq!(client.closed().await, b"", "no second answer");
            settle().await;
            assert_eq!(peer.connections().await, 0);
        })
        .await;
    }
}

/// Nor is a body that was not read at all (A21, B47).
#[tokio::test]
async fn body_of_another_type_on_the_wire_is_never_a_request() {
    let smuggled = "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Length: 2\r\n\r\n{}";
    for padding in [0, LIMIT, 1_000_000] {
        guarded(async {
            let body = format!("{smuggled}{}", " ".repeat(padding));
            let mut peer = ScriptedPeer::bind().await;
            let front = Front::start(limited().layer(builder(&peer).build())).await;
            let mut client = front.connect().await;
            client
                .write(format!(
                    "POST /mcp HTTP/1.1\r\nHost: f\r\nContent-Type: text/plain\r\n\
                     Content-Length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await;
            let response = client.read_message().await;
            let refused = "HTTP/1.1 415 Unsupported Media Type";
            assert_eq!(response.start_line(), refused);
            client.finish().await;
            assert_eq!(client.closed().await, b"", "no second answer");
            settle().await;
            assert_eq!(peer.connections().await, 0);
        })
        .await;
    }
}

#[test]
fn layer_service_and_future_can_be_shared_and_sent() {
    fn assert_static<T: Send + Sync + Clone + 'static>() {}
    fn assert_send<T: Send>(_: &T) {}
    fn assert_infallible<S: Service<Request<Full<Bytes>>, Error = Infallible>>(_: &S) {}
    assert_static::<MessageLayer>();
    assert_static::<ReadMessage<Gate>>();
    assert_static::<scripted::Stack<Full<Bytes>>>();
    let gate = Gate {
        clones: Arc::default(),
        is_ready: true,
    };
    let mut service = ReadMessage::new(gate);
    assert_infallible(&service);
    let request = Request::post("/").body(Full::<Bytes>::default());
    assert_send(&service.call(request.expect("a valid request")));
}
