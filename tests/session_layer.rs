//! The session layer as a layer: readiness, clones, errors, stacks.

mod session_support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use session_support::{
    By, CALL, INITIALIZE, SESSION, ScriptBody, Server, agreed, delete, get, post, principal,
};
use shadowcat::{
    message::MessageLayer,
    replay::ReplayLayer,
    session::{BindSession, ResponseBody, Session, SessionHandle, SessionLayer},
    store::{
        MemorySessionStore,
        faulty::{FaultyStore, Moment, Operation},
    },
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Inner = Request<Full<Bytes>>;

fn layer() -> SessionLayer {
    SessionLayer::default().allow_anonymous()
}

#[tokio::test]
async fn readiness_is_the_inner_services_and_goes_with_the_request() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Full<Bytes>>, _>(layer());
    handle.allow(0);
    assert_pending!(service.poll_ready());
    for request in [post("", CALL), get(""), post("", INITIALIZE)] {
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
async fn refusal_has_called_nobody() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Full<Bytes>>, _>(layer());
    for request in [post("unknown", CALL), get("unknown"), delete("unknown")] {
        assert_ready_ok!(service.poll_ready());
        let mut calling = tokio_test::task::spawn(service.call(request));
        let response = assert_ready_ok!(calling.poll());
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
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

    fn call(&mut self, request: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called un-ready");
        let mut response = Response::new(Full::from("inner"));
        if !request.headers().contains_key(SESSION) {
            let id = http::HeaderValue::from_static("theirs");
            response.headers_mut().insert(SESSION, id);
        }
        std::future::ready(Ok(response))
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

async fn call<S, B>(service: &mut S, request: Inner) -> Response<B>
where
    S: Service<Inner, Response = Response<B>, Error = Infallible>,
{
    let Ok(ready) = service.ready().await;
    let Ok(response) = ready.call(request).await;
    response
}

#[tokio::test]
async fn inner_service_is_cloned_once_for_the_layer_and_else_only_to_wait() {
    let (gate, clones) = gate();
    let stack = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(layer())
        .service(gate);
    let mut stack = stack;
    let count = |of: &AtomicUsize| of.swap(0, Ordering::Relaxed);
    // Each body that is read takes a clone of what is inside along: that is the message layer's.
    let response = call(&mut stack, post("", INITIALIZE)).await;
    let session = response.headers()[SESSION].to_str().unwrap().to_owned();
    assert_eq!(count(&clones), 2, "one is for the sessions that expire");
    call(&mut stack, post(&session, CALL)).await;
    assert_eq!(count(&clones), 1);
    for request in [get(&session), get("unknown")] {
        call(&mut stack, request).await;
        assert_eq!(count(&clones), 0);
    }
}

#[tokio::test]
async fn store_that_takes_its_time_is_waited_for_with_the_ready_service() {
    let store = FaultyStore::new(MemorySessionStore::new());
    let (gate, _) = gate();
    let mut service = SessionLayer::new(store.clone())
        .allow_anonymous()
        .layer(gate);
    store.faults().slow_down(2);
    let response = call(&mut service, post("", INITIALIZE)).await;
    assert_eq!(response.status(), 200);
    let session = response.headers()[SESSION].to_str().unwrap().to_owned();
    for request in [post(&session, CALL), get(&session), delete(&session)] {
        let response = call(&mut service, request).await;
        assert_eq!(response.status(), 200);
    }
    let response = call(&mut service, get(&session)).await;
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn ses4_store_that_fails_is_503_and_never_404() {
    let store = FaultyStore::new(MemorySessionStore::new());
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    let session = server.initialize(None).await;
    server.asked();
    store.faults().set_down(true);
    for request in [post(&session, CALL), get(&session), post("", INITIALIZE)] {
        let had = server.send(request).await;
        assert_eq!(had.status, 503);
        assert!(!server.was_asked());
    }
    store.faults().set_down(false);
    assert_eq!(server.send(post(&session, CALL)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_a_store_fails_to_forget_it_is_asked_again() {
    for moment in [Moment::Before, Moment::After] {
        let memory = MemorySessionStore::new();
        let store = FaultyStore::new(memory.clone());
        let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
        let session = server.initialize(None).await;
        let stream = server.open(get(&session)).await;
        store.faults().fail_next(Operation::EndSession, moment);
        assert_eq!(server.send(delete(&session)).await.status, 200);
        // On this node it is over at once.
        assert_eq!(session_support::had(stream).await.body, "");
        assert_eq!(server.send(get(&session)).await.status, 404);
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(memory.stats().sessions, 0, "{moment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn d08_session_that_the_store_does_not_take_is_over_for_its_server_too() {
    for moment in [Moment::Before, Moment::After] {
        let store = FaultyStore::new(MemorySessionStore::new());
        let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
        store
            .faults()
            .fail_next(Operation::EstablishSession, moment);
        let had = server.send(post("", INITIALIZE)).await;
        assert_eq!(had.status, 503);
        assert!(had.headers.get(SESSION).is_none());
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(server.world().sessions.is_empty(), "{moment:?}");
    }
}

#[test]
fn layer_service_future_and_body_can_be_shared_and_sent() {
    fn assert_static<T: Send + Sync + Clone + 'static>() {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    fn assert_sync<T: Send + Sync + 'static>() {}
    fn assert_infallible<S: Service<Inner, Error = Infallible>>(_: &S) {}
    assert_static::<SessionLayer>();
    assert_static::<BindSession<Gate, MemorySessionStore>>();
    assert_static::<SessionHandle<MemorySessionStore>>();
    assert_static::<Session>();
    assert_sync::<ResponseBody<Full<Bytes>>>();
    let mut service = layer().layer(Gate {
        clones: Arc::default(),
        is_ready: true,
    });
    assert_infallible(&service);
    // Also outside of a runtime.
    assert_send(&service.call(get("")));
    assert!(ResponseBody::<ScriptBody>::default().is_end_stream());
}

#[tokio::test]
async fn inner_errors_pass() {
    let inner = service_fn(|_: Inner| async { Err::<Response<Full<Bytes>>, _>("broken") });
    let store = MemorySessionStore::new();
    let service = SessionLayer::new(store.clone())
        .allow_anonymous()
        .layer(inner);
    for request in [get(""), post("", INITIALIZE)] {
        let error = service.clone().oneshot(request).await.err();
        assert_eq!(error, Some("broken"));
    }
    assert_eq!(store.stats().sessions, 0);
}

#[tokio::test]
async fn b54_request_without_a_principal_is_500_unless_that_is_allowed() {
    let server = Server::new(SessionLayer::default());
    let alice = principal("i", "alice");
    let session = server.initialize(Some(&alice)).await;
    server.asked();
    for request in [
        post("", INITIALIZE),
        post("", CALL),
        get(""),
        delete(""),
        post(&session, CALL),
        get(&session),
        delete(&session),
    ] {
        let had = server.send(request).await;
        assert_eq!(had.status, 500);
        let text = String::from_utf8(had.body.to_vec()).unwrap();
        assert!(text.contains(r#""error":{"code":-32603,"message":"internal error""#));
    }
    assert!(!server.was_asked());
    let had = server.send(post(&session, CALL).by(Some(&alice))).await;
    assert_eq!(had.status, 200);
}

#[tokio::test]
async fn d18_one_layer_has_one_set_of_sessions_on_an_axum_router() {
    // axum calls `layer` for each method of each route.
    let layer = layer();
    let hello = || async { "hello" };
    let router = Router::<()>::new()
        .route(
            "/mcp",
            routing::get(hello)
                .post(|request: Request<axum::body::Body>| async move {
                    let is_known = request.headers().contains_key(SESSION);
                    let mut response = Response::new(axum::body::Body::from(agreed("2025-11-25")));
                    if !is_known {
                        let id = http::HeaderValue::from_static("theirs");
                        response.headers_mut().insert(SESSION, id);
                    }
                    response
                })
                .delete(hello),
        )
        .layer(ServiceBuilder::new().layer(layer.clone()));
    let send = |request: Inner| {
        let router = router.clone();
        async move {
            let Ok(response) = router.oneshot(request.map(axum::body::Body::new)).await;
            let (parts, body) = response.into_parts();
            body.collect().await.expect("no error");
            parts
        }
    };
    let opened = send(post("", INITIALIZE)).await;
    let session = opened.headers[SESSION].to_str().unwrap().to_owned();
    assert_ne!(session, "theirs");
    for request in [post(&session, CALL), get(&session), delete(&session)] {
        assert_eq!(send(request).await.status, 200);
    }
    for request in [post(&session, CALL), get(&session), delete(&session)] {
        assert_eq!(send(request).await.status, 404);
    }
}

#[tokio::test]
async fn stacks_between_message_and_replay_on_hyper() {
    let inner = service_fn(
        |request: Request<shadowcat::body::RequestBody<hyper::body::Incoming>>| async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("no error").to_bytes();
            let mut response = Response::new(Full::new(body));
            if !parts.headers.contains_key(SESSION) {
                let id = http::HeaderValue::from_static("theirs");
                response.headers_mut().insert(SESSION, id);
            }
            Ok::<_, Infallible>(response)
        },
    );
    let stack = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(layer())
        .layer(ReplayLayer::default())
        .service(inner);
    let (client, server) = tokio::io::duplex(1 << 16);
    let service = hyper_util::service::TowerToHyperService::new(stack);
    let io = hyper_util::rt::TokioIo::new(server);
    let serving =
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
    let io = hyper_util::rt::TokioIo::new(client);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    let connection = tokio::spawn(connection);
    let response = sender.send_request(post("", INITIALIZE)).await.unwrap();
    let session = response.headers()[SESSION].to_str().unwrap().to_owned();
    response.into_body().collect().await.unwrap();
    let response = sender.send_request(post(&session, CALL)).await.unwrap();
    assert_eq!(response.status(), 200);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, CALL, "not a byte is changed");
    drop(sender);
    connection.await.unwrap().unwrap();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn debug_shows_no_id_and_no_name() {
    let server = Server::new(SessionLayer::default());
    let alice = principal("https://issuer.example", "alice");
    let session = server.initialize(Some(&alice)).await;
    let response = server.open(get(&session).by(Some(&alice))).await;
    let fact = server.asked().pop().expect("it was asked").fact().clone();
    let handle = server.layer.handle();
    let list = handle.list(None, 10).await.unwrap();
    let shown = format!(
        "{fact:?} {handle:?} {list:?} {:?} {response:?}",
        server.layer
    );
    for secret in [&*session, &session[..21], "up-1", "alice", "issuer"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
