//! The rate limit as a layer: what it answers, readiness, clones, errors, stacks, and limiters that take
//! their time.

mod auth_support;
mod rate_limit_support;

use std::{
    convert::Infallible,
    future::Future,
    hash::Hash,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use auth_support::{Gate, Inner, Recorder, ask, count, post, principal};
use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use rate_limit_support::{LIST, T, layer, limiter, message, quota, streams};
use shadowcat::{
    message::MessageLayer,
    rate_limit::{
        Admission, ByPrincipal, Caller, Charge, Decision, KeyError, Limiter, LimiterStats,
        LocalLimiter, Quota, RateKey, RateLimit, RateLimitLayer, Rejection, ResponseBody, Verdict,
    },
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// Says when its test says so, and what.
#[derive(Clone, Default)]
struct Slow(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    said: Option<Result<(), Rejection>>,
    waker: Option<Waker>,
    waiting: usize,
    held: usize,
}

struct Wait(Arc<Mutex<Slot>>);

/// What is open.
struct Held(Arc<Mutex<Slot>>);

impl Slow {
    fn say(&self, said: Result<(), Rejection>) {
        let mut slot = self.0.lock().expect("no panic");
        slot.said = Some(said);
        if let Some(waker) = slot.waker.take() {
            waker.wake();
        }
    }

    fn waiting(&self) -> usize {
        self.0.lock().expect("no panic").waiting
    }

    fn held(&self) -> usize {
        self.0.lock().expect("no panic").held
    }
}

impl Limiter for Slow {
    type Slot = Held;
    type Future = Wait;

    fn check<K: Hash>(&self, _: &K, _: Charge) -> Decision<Held, Wait> {
        self.0.lock().expect("no panic").waiting += 1;
        Decision::Later(Wait(Arc::clone(&self.0)))
    }

    fn quota(&self) -> Quota {
        quota(5, T)
    }

    fn stats(&self) -> LimiterStats {
        LimiterStats::default()
    }
}

impl Future for Wait {
    type Output = Verdict<Held>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict<Held>> {
        let mut slot = self.0.lock().expect("no panic");
        match slot.said.take() {
            Some(Ok(())) => {
                slot.held += 1;
                let held = Held(Arc::clone(&self.0));
                Poll::Ready(Ok(Admission::new(Some(held), T)))
            }
            Some(Err(rejection)) => Poll::Ready(Err(rejection)),
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

impl Drop for Held {
    fn drop(&mut self) {
        if let Ok(mut slot) = self.0.lock() {
            slot.held -= 1;
        }
    }
}

#[tokio::test]
async fn passes_through() {
    let inner = service_fn(async |request: Inner| {
        let response = Response::builder().status(201).body(request.into_body());
        Ok::<_, &str>(response.expect("valid"))
    });
    let response = layer(1).0.layer(inner).oneshot(post("hello")).await;
    let response = response.expect("the inner one's");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert!(response.headers().is_empty());
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "hello");

    let failing = service_fn(async |_: Inner| Err::<Response<Full<Bytes>>, _>("failed"));
    let error = layer(1).0.layer(failing).oneshot(post("")).await;
    assert_eq!(error.expect_err("its own"), "failed");
}

/// D18: a service per connection, or a layer per route, counts the same requests.
#[tokio::test]
async fn d18_clones_and_services_of_one_layer_count_together() {
    let (layer, _) = layer(3);
    let one = layer.layer(Recorder::default());
    let other = layer.clone().layer(Recorder::default());
    for service in [&one, &other, &one.clone()] {
        assert_eq!(ask(service, post("")).await.status, 200);
    }
    for service in [&one, &other, &layer.layer(Recorder::default())] {
        assert_eq!(ask(service, post("")).await.status, 429);
    }
    // What a setter makes shares the limiter, too.
    let told = layer.with_fields_in_all(true).layer(Recorder::default());
    assert_eq!(ask(&told, post("")).await.status, 429);
}

/// One limiter for two layers, in an `Arc` or as a clone: what is done through one counts for the other.
#[tokio::test]
async fn layers_of_one_limiter_share_accounts() {
    let (limiter, _) = limiter(quota(2, T));
    let limiter = Arc::new(limiter.with_max_streams(streams(1)));
    let (one, other) = (Arc::clone(&limiter), Arc::clone(&limiter));
    let one = RateLimitLayer::with_limiter((), one).with_name("one");
    let other = RateLimitLayer::with_limiter((), other).with_name("other");
    let [one, other] = [one, other].map(|layer| layer.expect("a name"));
    let mut first = one.layer(Recorder::default());
    let second = other.layer(Recorder::default());
    let third = RateLimitLayer::with_limiter((), LocalLimiter::clone(&limiter));
    let third = third.layer(Recorder::default());
    let Ok(open) = first.call(post("")).await;
    let had = ask(&second, post("")).await;
    assert!(had.body.contains("too many streams"), "{}", had.body);
    drop(open);
    assert_eq!(ask(&third, post("")).await.status, 200);
    for service in [&first, &second] {
        assert_eq!(ask(service, post("")).await.status, 429);
    }
    let stats = one.handle().stats().limiter;
    assert_eq!(
        (stats, stats.allowed_total),
        (other.handle().stats().limiter, 2)
    );
}

/// What is said of a limiter counts in an `Arc`, too.
#[tokio::test]
async fn limiter_in_an_arc_says_what_it_says() {
    let with = |name: &'static str, mut request: Inner| {
        let value = http::HeaderValue::from_static("x");
        request.headers_mut().insert(name, value);
        request
    };
    let get = || {
        let mut request = with("last-event-id", post(""));
        *request.method_mut() = http::Method::GET;
        request
    };
    let (plain, _) = limiter(quota(1, T));
    let resuming = Arc::new(plain.with_resumes(quota(2, T)));
    let service = RateLimitLayer::with_limiter((), resuming).layer(Recorder::default());
    // Nothing that is open is counted, and whoever comes back is.
    for (request, status) in [
        (with("mcp-session-id", post("")), 200),
        (get(), 200),
        (get(), 200),
        (get(), 429),
    ] {
        assert_eq!(ask(&service, request).await.status, status);
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let (layer, _) = layer(1);
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(layer);
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(post("")));
    assert_pending!(call.poll());
    let (_, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    respond.send_response(Response::new(Empty::new()));
    assert!(call.is_woken());
    assert_eq!(assert_ready_ok!(call.poll()).status(), StatusCode::OK);

    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let refused = assert_ready_ok!(spawn(service.call(post(""))).poll());
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_pending!(spawn(handle.next_request()).poll(), "not called");
}

#[tokio::test]
async fn readiness_goes_with_the_request_while_a_verdict_takes_its_time() {
    let slow = Slow::default();
    let layer = RateLimitLayer::with_limiter((), slow.clone());
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Full<Bytes>>, _>(layer);
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(post("")));
    assert_pending!(call.poll());
    assert_pending!(spawn(handle.next_request()).poll(), "not called yet");
    slow.say(Ok(()));
    assert!(call.is_woken());
    assert_pending!(call.poll());
    // The mock panics if it is called by whoever has not polled it ready.
    let (_, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    assert_pending!(service.poll_ready(), "the permit went with the request");
    respond.send_response(Response::new(Full::from("hello")));
    let response = assert_ready_ok!(call.poll());
    assert_eq!(slow.held(), 1, "by the body");
    drop(call);
    assert_eq!(slow.held(), 1);
    drop(response);
    assert_eq!(slow.held(), 0);
}

#[tokio::test]
async fn late_rejection_has_called_nobody() {
    let slow = Slow::default();
    let inner = Recorder::default();
    let mut service = RateLimitLayer::with_limiter((), slow.clone()).layer(inner.clone());
    let mut call = spawn(service.call(message(&principal("alice", &[]), LIST)));
    assert_pending!(call.poll());
    slow.say(Err(Rejection::over_quota(T * 4, T)));
    let Ok(response) = assert_ready!(call.poll());
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["ratelimit"], r#""default";r=1;t=2"#);
    let body = assert_ready_ok!(spawn(response.into_body().collect()).poll());
    assert!(body.to_bytes().starts_with(br#"{"jsonrpc":"2.0","id":7,"#));
    assert!(!inner.was_asked());
}

#[test]
fn future_dropped_before_it_is_ready_drops_the_inner_one_and_gives_back() {
    let held = Arc::new(());
    let inner = service_fn(|_: Inner| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let slow = Slow::default();
    let mut service = RateLimitLayer::with_limiter((), slow.clone()).layer(inner);
    // While the verdict takes its time, nothing is held.
    let mut call = spawn(service.call(post("")));
    assert_pending!(call.poll());
    assert_eq!((slow.waiting(), slow.held()), (1, 0));
    drop(call);
    assert_eq!((slow.waiting(), Arc::strong_count(&held)), (0, 1));
    // While the inner service does, what is open is.
    slow.say(Ok(()));
    let mut call = spawn(service.call(post("")));
    assert_pending!(call.poll());
    assert_eq!((slow.held(), Arc::strong_count(&held)), (1, 2));
    drop(call);
    assert_eq!((slow.held(), Arc::strong_count(&held)), (0, 1));
}

#[tokio::test]
async fn error_of_the_inner_service_gives_back() {
    let slow = Slow::default();
    let failing = service_fn(async |_: Inner| Err::<Response<Full<Bytes>>, _>("failed"));
    let mut service = RateLimitLayer::with_limiter((), slow.clone()).layer(failing);
    slow.say(Ok(()));
    let error = service.call(post("")).await;
    assert_eq!(error.expect_err("its own"), "failed");
    assert_eq!(slow.held(), 0);
}

#[tokio::test]
async fn inner_service_is_ready_when_called_and_cloned_only_to_wait() {
    let gate = Gate::default();
    let clones = Arc::clone(&gate.clones);
    let mut service = layer(2).0.layer(gate);
    for _ in 0..3 {
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let Ok(_) = ready.expect("infallible").call(post("")).await;
    }
    assert_eq!(count(&clones), 0);

    let gate = Gate::default();
    let clones = Arc::clone(&gate.clones);
    let slow = Slow::default();
    let mut service = RateLimitLayer::with_limiter((), slow.clone()).layer(gate);
    for _ in 0..2 {
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let call = ready.expect("infallible").call(post(""));
        slow.say(Ok(()));
        let Ok(response) = call.await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(count(&clones), 1);
    }
}

/// What hurts elsewhere: here nothing has to be named, whatever is outside or inside.
#[tokio::test]
async fn stacks_in_axum_without_a_type_with_trace_and_compression_outside() {
    use shadowcat::peer::PeerAddr;
    use shadowcat::rate_limit::ByPeer;
    use tower_http::{compression::CompressionLayer, trace::TraceLayer};

    let quota = quota(3, Duration::from_secs(60));
    let router = Router::<()>::new()
        .route("/mcp", routing::post(|| async { "hello".repeat(100) }))
        .route_layer(RateLimitLayer::new(ByPeer::new(), quota))
        .route("/free", routing::post(|| async { "free" }))
        .layer(RateLimitLayer::new(
            (),
            quota.with_burst(4).expect("a quota"),
        ))
        .layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(CompressionLayer::new()),
        );
    let call = |path: &str| {
        let request = Request::post(path).header("accept-encoding", "gzip");
        let mut request = request.body(axum::body::Body::empty()).expect("valid");
        let peer = PeerAddr::new(([203, 0, 113, 9], 1).into());
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request)
    };
    for (path, status) in [
        ("/mcp", 200),
        ("/mcp", 200),
        ("/mcp", 200),
        ("/mcp", 429),
        ("/free", 429),
    ] {
        let Ok(response) = call(path).await;
        assert_eq!(response.status(), status, "{path}");
        let is_compressed = response.headers().contains_key("content-encoding");
        let body = response.into_body().collect().await.expect("a body");
        assert_eq!(is_compressed, body.to_bytes().starts_with(b"\x1f\x8b"));
    }
}

#[tokio::test]
async fn stacks_on_hyper() {
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};

    let service = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(RateLimitLayer::new((), quota(2, Duration::from_secs(60))))
        .service(service_fn(async |request: Request<_>| {
            let _: Request<shadowcat::body::RequestBody<hyper::body::Incoming>> = request;
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from("hello")))
        }));
    let (client, server) = tokio::io::duplex(4_096);
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    let serving = tokio::spawn(connection);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
        .await
        .expect("a connection");
    let driving = tokio::spawn(connection);
    for (status, start) in [
        (200, "hello"),
        (200, "hello"),
        (429, r#"{"jsonrpc":"2.0","id":7,"#),
    ] {
        let response = sender.send_request(post(LIST)).await.expect("answered");
        assert_eq!(response.status(), status);
        let had = response.into_body().collect().await.expect("a body");
        assert!(had.to_bytes().starts_with(start.as_bytes()));
    }
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

    let layer = RateLimitLayer::new(ByPrincipal, quota(1, T));
    assert_static(&layer);
    assert_static(&layer.handle());
    let mut service: RateLimit<Recorder, ByPrincipal, LocalLimiter> =
        layer.layer(Recorder::default());
    assert_static(&service);
    assert_infallible(&service);
    let call = service.call(message(&principal("alice", &[]), LIST));
    assert_send(&call);
    assert_body::<ResponseBody<Full<Bytes>>>();
    let shown = format!("{layer:?} {service:?} {call:?} {:?}", layer.handle());
    assert!(shown.contains("Calling"), "{shown}");
    assert!(!shown.contains("alice"), "{shown}");
    // Whatever tells keys need not be shown, nor be one that can be copied.
    struct Opaque;

    impl RateKey for Opaque {
        type Key<'a> = ();

        fn key(&self, _: Caller<'_>) -> Result<(), KeyError> {
            Ok(())
        }
    }

    let opaque = RateLimitLayer::new(Opaque, quota(1, T));
    let copy = opaque.clone();
    assert!(format!("{opaque:?} {copy:?}").contains("Opaque"));
}
