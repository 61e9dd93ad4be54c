//! The layer that checks `Host` and `Origin`, as a layer: readiness, clones, errors, stacks.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use shadowcat::origin::{CheckOrigin, OriginLayer};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Inner = Request<Full<Bytes>>;

fn local(body: &'static str) -> Inner {
    let request = Request::post("/mcp").header("host", "localhost");
    request.body(Full::from(body)).expect("a valid request")
}

fn foreign() -> Inner {
    let request = Request::post("/mcp").header("host", "evil.example");
    request.body(Full::default()).expect("a valid request")
}

#[tokio::test]
async fn passes_through() {
    let inner = service_fn(async |request: Inner| {
        assert_eq!(request.headers()["host"], "localhost");
        Ok::<_, &str>(
            Response::builder()
                .status(201)
                .body(request.into_body())
                .expect("valid"),
        )
    });
    let service = OriginLayer::loopback().layer(inner);
    let response = service
        .oneshot(local("hello"))
        .await
        .expect("the inner one's");
    assert_eq!(response.status(), StatusCode::CREATED);
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "hello");

    let failing = service_fn(async |_: Inner| Err::<Response<Full<Bytes>>, _>("failed"));
    let error = OriginLayer::loopback()
        .layer(failing)
        .oneshot(local(""))
        .await;
    assert_eq!(error.expect_err("its own"), "failed");
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(OriginLayer::loopback());
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(local("")));
    assert_pending!(call.poll());
    let (request, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    assert_eq!(request.headers()["host"], "localhost");
    respond.send_response(Response::new(Empty::new()));
    assert!(call.is_woken());
    assert_eq!(assert_ready_ok!(call.poll()).status(), StatusCode::OK);

    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let refused = assert_ready_ok!(spawn(service.call(foreign())).poll());
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_pending!(spawn(handle.next_request()).poll(), "not called");
}

#[test]
fn future_dropped_before_it_is_ready_drops_the_inner_one() {
    let held = Arc::new(());
    let inner = service_fn(|_: Inner| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut call = spawn(OriginLayer::loopback().layer(inner).call(local("")));
    assert_pending!(call.poll());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(call);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// Panics if it is called when it is not ready, and counts its clones.
#[derive(Debug)]
struct Gate {
    clones: Arc<AtomicUsize>,
    is_ready: bool,
}

impl Gate {
    fn new() -> Self {
        Self {
            clones: Arc::default(),
            is_ready: false,
        }
    }
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
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called un-ready");
        ready(Ok(Response::new(Full::from("inner"))))
    }
}

#[tokio::test]
async fn inner_service_is_ready_when_called_and_not_cloned() {
    let gate = Gate::new();
    let clones = Arc::clone(&gate.clones);
    let mut service = OriginLayer::loopback().layer(gate);
    for request in [local(""), foreign(), local("")] {
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let Ok(_) = ready.expect("infallible").call(request).await;
    }
    assert_eq!(clones.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn stacks_in_axum_and_by_service_builder_with_cors_outside() {
    use tower_http::cors::CorsLayer;

    const PAGE: &str = "http://localhost:5173";

    let page: http::HeaderValue = PAGE.parse().expect("valid");
    let router = Router::<()>::new()
        .route("/mcp", routing::post(|| async { "hello" }))
        .layer(
            ServiceBuilder::new()
                .layer(
                    CorsLayer::new()
                        .allow_origin([page])
                        .allow_methods([Method::POST]),
                )
                .layer(OriginLayer::loopback()),
        );
    let call = |method: Method, host: &str, page: &str| {
        let request = Request::builder().method(method).uri("/mcp");
        let request = request.header("host", host).header("origin", page);
        let request = request.header("access-control-request-method", "POST");
        let request = request.body(axum::body::Body::empty());
        router.clone().oneshot(request.expect("a valid request"))
    };
    // ORG-6: the preflight is answered outside, and its page can read the answer.
    let Ok(response) = call(Method::OPTIONS, "localhost", PAGE).await;
    assert_eq!(response.status(), StatusCode::OK);
    let Ok(response) = call(Method::POST, "localhost", PAGE).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
    // Who is refused inside can be told why, if it is a page that may read at all.
    let Ok(response) = call(Method::POST, "evil.example", PAGE).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["access-control-allow-origin"], PAGE);
    let Ok(response) = call(Method::POST, "localhost", "http://evil.example").await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
}

#[test]
fn layer_service_and_future_can_be_shared_and_sent() {
    fn assert_static<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    fn assert_infallible<S: Service<Inner, Error = Infallible>>(_: &S) {}
    let layer = OriginLayer::loopback();
    assert_static(&layer);
    let mut gate = Gate::new();
    gate.is_ready = true;
    let mut service: CheckOrigin<Gate> = layer.layer(gate);
    assert_static(&service);
    assert_infallible(&service);
    let call = service.call(local(""));
    assert_send(&call);
    assert!(format!("{layer:?} {service:?} {call:?}").contains("Calling"));
}
