//! The auth layer as a layer: readiness, clones, errors, stacks, decisions that take their time.

mod auth_support;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use auth_support::{CALL, Gate, Inner, Recorder, ask, count, post, principal, tokens, with};
use axum::{Extension, Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use shadowcat::{
    auth::{
        Auth, AuthLayer, Authorize, Credentials, Decision, Principal, Rejection, ResponseBody,
        StaticTokens,
    },
    message::MessageLayer,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Decided = Result<Principal, Rejection>;

/// Decides when its test says so.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    decided: Option<Decided>,
    waker: Option<Waker>,
    waiting: usize,
}

struct Wait(Arc<Mutex<Slot>>);

impl Slow {
    fn decide(&self, decided: Decided) {
        let mut slot = self.0.lock().expect("no panic");
        slot.decided = Some(decided);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }

    fn waiting(&self) -> usize {
        self.0.lock().expect("no panic").waiting
    }
}

impl Authorize for Slow {
    type Future = Wait;

    fn authorize(&self, _: Credentials<'_>) -> Decision<Wait> {
        self.0.lock().expect("no panic").waiting += 1;
        Decision::Later(Wait(Arc::clone(&self.0)))
    }
}

impl Future for Wait {
    type Output = Decided;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decided> {
        let mut slot = self.0.lock().expect("no panic");
        match slot.decided.take() {
            Some(decided) => Poll::Ready(decided),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Ok(mut slot) = self.0.lock() {
            slot.waiting -= 1;
        }
    }
}

#[tokio::test]
async fn passes_through_with_the_principal() {
    let inner = service_fn(async |request: Inner| {
        let who = request.extensions().get::<Principal>();
        assert_eq!(who.map(Principal::subject), Some("alice"));
        let response = Response::builder().status(201).body(request.into_body());
        Ok::<_, &str>(response.expect("valid"))
    });
    let service = AuthLayer::new(tokens()).layer(inner);
    let response = service.oneshot(with("alpha", post("hello"))).await;
    let response = response.expect("the inner one's");
    assert_eq!(response.status(), StatusCode::CREATED);
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "hello");

    let failing = service_fn(async |_: Inner| Err::<Response<Full<Bytes>>, _>("failed"));
    let service = AuthLayer::new(tokens()).layer(failing);
    let error = service.oneshot(with("alpha", post(""))).await;
    assert_eq!(error.expect_err("its own"), "failed");
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let layer = AuthLayer::new(tokens());
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(layer);
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(with("alpha", post(""))));
    assert_pending!(call.poll());
    let (_, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    respond.send_response(Response::new(Empty::new()));
    assert!(call.is_woken());
    assert_eq!(assert_ready_ok!(call.poll()).status(), StatusCode::OK);

    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let refused = assert_ready_ok!(spawn(service.call(post(""))).poll());
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_pending!(spawn(handle.next_request()).poll(), "not called");
}

#[tokio::test]
async fn readiness_goes_with_the_request_while_a_decision_takes_its_time() {
    let slow = Slow::default();
    let (mut service, mut handle) = tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(
        AuthLayer::new(slow.clone()),
    );
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(with("alpha", post(""))));
    assert_pending!(call.poll());
    assert_pending!(spawn(handle.next_request()).poll(), "not called yet");
    slow.decide(Ok(principal("alice", &[])));
    assert!(call.is_woken());
    assert_pending!(call.poll());
    // The mock panics if it is called by whoever has not polled it ready.
    let (request, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    let who = request.extensions().get::<Principal>();
    assert_eq!(who.map(Principal::subject), Some("alice"));
    assert!(!request.headers().contains_key("authorization"));
    assert_pending!(service.poll_ready(), "the permit went with the request");
    respond.send_response(Response::new(Empty::new()));
    assert_eq!(assert_ready_ok!(call.poll()).status(), StatusCode::OK);
}

#[tokio::test]
async fn late_rejection_has_called_nobody() {
    let slow = Slow::default();
    let inner = Recorder::default();
    let mut service = AuthLayer::new(slow.clone()).layer(inner.clone());
    let mut call = spawn(service.call(with("alpha", post(""))));
    assert_pending!(call.poll());
    slow.decide(Err(Rejection::invalid_token("the token is unknown")));
    let Ok(response) = assert_ready!(call.poll());
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = &response.headers()["www-authenticate"];
    assert_eq!(
        challenge,
        r#"Bearer error="invalid_token", error_description="the token is unknown""#
    );
    assert!(!inner.was_asked());
}

#[test]
fn future_dropped_before_it_is_ready_drops_the_decision_and_the_inner_one() {
    let slow = Slow::default();
    let inner = Recorder::default();
    let mut service = AuthLayer::new(slow.clone()).layer(inner.clone());
    let mut call = spawn(service.call(with("alpha", post(""))));
    assert_pending!(call.poll());
    assert_eq!(slow.waiting(), 1);
    drop(call);
    assert_eq!(slow.waiting(), 0);
    slow.decide(Ok(principal("alice", &[])));
    assert!(!inner.was_asked());

    let held = Arc::new(());
    let inner = service_fn(|_: Inner| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut service = AuthLayer::new(tokens()).layer(inner);
    let mut call = spawn(service.call(with("alpha", post(""))));
    assert_pending!(call.poll());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(call);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn inner_service_is_ready_when_called_and_cloned_only_to_wait() {
    let gate = Gate::default();
    let clones = Arc::clone(&gate.clones);
    let mut service = AuthLayer::new(tokens()).layer(gate);
    for request in [with("alpha", post("")), post(""), with("no", post(""))] {
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let Ok(_) = ready.expect("infallible").call(request).await;
    }
    assert_eq!(count(&clones), 0);

    let gate = Gate::default();
    let clones = Arc::clone(&gate.clones);
    let slow = Slow::default();
    let mut service = AuthLayer::new(slow.clone()).layer(gate);
    for _ in 0..2 {
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let call = ready.expect("infallible").call(with("alpha", post("")));
        slow.decide(Ok(principal("alice", &[])));
        let Ok(response) = call.await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(count(&clones), 1);
    }
}

#[tokio::test]
async fn function_is_an_authorizer_and_sees_the_head() {
    let judge = |credentials: Credentials<'_>| {
        assert_eq!(credentials.uri(), "/mcp");
        assert_eq!(credentials.method(), "POST");
        assert!(!credentials.headers().contains_key("authorization"));
        let is_for = credentials
            .headers()
            .get("x-tenant")
            .is_some_and(|tenant| tenant == "acme");
        let principal = if is_for && credentials.token() == "alpha" {
            Ok(principal("alice", &[]))
        } else {
            Err(Rejection::invalid_token("the token is for another tenant"))
        };
        Decision::<std::future::Ready<Decided>>::Now(principal)
    };
    let service = AuthLayer::new(judge).layer(Recorder::default());
    let mut request = with("alpha", post(""));
    assert_eq!(ask(&service, request.clone()).await.status, 401);
    let tenant = "acme".parse().expect("ASCII");
    request.headers_mut().insert("x-tenant", tenant);
    assert_eq!(ask(&service, request).await.status, 200);
    // So is one that is shared.
    let shared = AuthLayer::new(Arc::new(tokens())).layer(Recorder::default());
    assert_eq!(ask(&shared, with("beta", post(""))).await.status, 200);
}

#[tokio::test]
async fn prx_12_refusal_has_the_id_where_somebody_has_read_the_body() {
    let stack = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(AuthLayer::new(tokens()))
        .service(Recorder::default());
    let had = ask(&stack, post(CALL)).await;
    assert_eq!(had.status, 401);
    assert_eq!(had.headers["content-type"], "application/json");
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31401,"message":"a bearer token is required","data":{"source":"shadowcat"}}}"#
    );
    let alone = AuthLayer::new(tokens()).layer(Recorder::default());
    let had = ask(&alone, post(CALL)).await;
    assert!(
        had.body
            .starts_with(r#"{"jsonrpc":"2.0","error":{"code":-31401,"#)
    );
}

#[tokio::test]
async fn stacks_in_axum_with_cors_outside() {
    use tower_http::cors::CorsLayer;

    const PAGE: &str = "https://app.example.com";

    async fn handler(Extension(who): Extension<Principal>) -> String {
        who.subject().to_owned()
    }

    let page: http::HeaderValue = PAGE.parse().expect("valid");
    let router = Router::<()>::new()
        .route("/mcp", routing::post(handler))
        .layer(
            ServiceBuilder::new()
                .layer(CorsLayer::new().allow_origin([page]))
                .layer(AuthLayer::new(tokens())),
        );
    let call = |method: &str, token: Option<&str>| {
        let request = Request::builder().method(method).uri("/mcp");
        let mut request = request
            .header("origin", PAGE)
            .header("access-control-request-method", "POST");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(axum::body::Body::empty());
        router.clone().oneshot(request.expect("a valid request"))
    };
    // AUT-1: a preflight carries no credentials, and is answered outside.
    let Ok(response) = call("OPTIONS", None).await;
    assert_eq!(response.status(), StatusCode::OK);
    let Ok(response) = call("POST", None).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
    let Ok(response) = call("POST", Some("beta")).await;
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "bob");
}

#[tokio::test]
async fn stacks_on_hyper() {
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};

    let service = AuthLayer::new(tokens()).layer(service_fn(
        async |request: Request<hyper::body::Incoming>| {
            let who = request.extensions().get::<Principal>().expect("known");
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(who.subject().to_owned())))
        },
    ));
    let (client, server) = tokio::io::duplex(4_096);
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    let serving = tokio::spawn(connection);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .expect("a connection");
    let driving = tokio::spawn(connection);
    for (token, status, body) in [("alpha", 200, "alice"), ("beta", 200, "bob")] {
        let response = sender
            .send_request(with(token, post("")))
            .await
            .expect("answered");
        assert_eq!(response.status(), status);
        let had = response.into_body().collect().await.expect("a body");
        assert_eq!(had.to_bytes(), body);
    }
    let response = sender.send_request(post("")).await.expect("answered");
    assert_eq!(response.status(), 401);
    drop(response);
    drop(sender);
    driving.await.expect("no panic").expect("a clean end");
    serving.await.expect("no panic").expect("a clean end");
}

#[test]
fn layer_service_future_and_body_can_be_shared_and_sent() {
    fn assert_static<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    fn assert_body<B: http_body::Body<Data = Bytes> + Send + Unpin + 'static>() {}
    fn assert_infallible<S: Service<Inner, Error = Infallible>>(_: &S) {}

    let layer = AuthLayer::new(tokens());
    assert_static(&layer);
    let mut service: Auth<Recorder, StaticTokens> = layer.layer(Recorder::default());
    assert_static(&service);
    assert_infallible(&service);
    let call = service.call(with("alpha", post("")));
    assert_send(&call);
    assert_body::<ResponseBody<Full<Bytes>>>();
    assert!(format!("{layer:?} {service:?} {call:?}").contains("Calling"));
    // Whatever authorizes need not be shown, nor be one that can be copied.
    struct Opaque;
    let opaque = AuthLayer::new(Opaque);
    let copy = opaque.clone();
    assert!(format!("{opaque:?} {copy:?}").contains("Opaque"));
}
