//! The interceptors as a layer: readiness, clones, errors, stacks.

mod auth_support;
mod intercept_support;

use std::{convert::Infallible, sync::Arc, time::Duration};

use auth_support::{Gate, count};
use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use intercept_support::{CALL, Inner, RESULT, Server, ask, identity, post, requests, unread};
use shadowcat::{
    intercept::{
        self, Chain, Intercept, InterceptLayer, Interest, ResponseBody, ToolFilter, Verdict,
    },
    message::MessageLayer,
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// Takes a second for each request.
fn slow() -> impl intercept::Interceptor {
    intercept::async_fn(Interest::requests("*"), |_, _| async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(Verdict::Continue)
    })
}

#[tokio::test]
async fn passes_through() {
    let inner = service_fn(async |request: Inner| {
        let response = Response::builder().status(201).body(request.into_body());
        Ok::<_, &str>(response.expect("valid"))
    });
    let layer = InterceptLayer::new((identity(), identity()));
    let response = layer.layer(inner).oneshot(post(CALL)).await;
    let response = response.expect("the inner one's");
    assert_eq!(response.status(), StatusCode::CREATED);
    assert!(response.headers().is_empty());
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), CALL);

    let failing = service_fn(async |_: Inner| Err::<Response<Full<Bytes>>, _>("failed"));
    for request in [post(CALL), unread(CALL)] {
        let error = layer.layer(failing).oneshot(request).await;
        assert_eq!(error.expect_err("its own"), "failed");
    }
}

#[tokio::test]
async fn readiness_is_the_inner_services() {
    let layer = InterceptLayer::new(requests(|_, message| {
        match message.envelope().name().as_deref() {
            Some("drop") => Verdict::refuse("no"),
            _ => Verdict::Continue,
        }
    }));
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(layer);
    handle.allow(0);
    assert_pending!(service.poll_ready());
    handle.allow(1);
    assert!(service.is_woken());
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(post(CALL)));
    assert_pending!(call.poll());
    let (_, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    respond.send_response(Response::new(Empty::new()));
    assert!(call.is_woken());
    assert_eq!(assert_ready_ok!(call.poll()).status(), StatusCode::OK);

    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let refused = post(&CALL.replace("echo", "drop"));
    let refused = assert_ready_ok!(spawn(service.call(refused)).poll());
    assert!(refused.headers().contains_key("content-type"));
    assert_pending!(spawn(handle.next_request()).poll(), "not called");
}

#[tokio::test(start_paused = true)]
async fn readiness_goes_with_the_request_while_a_verdict_takes_its_time() {
    let (mut service, mut handle) = tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(
        InterceptLayer::new(slow()),
    );
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let mut call = spawn(service.call(post(CALL)));
    assert_pending!(call.poll());
    assert_pending!(spawn(handle.next_request()).poll(), "not called yet");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(call.is_woken());
    assert_pending!(call.poll());
    // The mock panics if it is called by whoever has not polled it ready.
    let (_, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
    assert_pending!(service.poll_ready(), "the permit went with the request");
    respond.send_response(Response::new(Empty::new()));
    assert_ready_ok!(call.poll());
}

#[tokio::test(start_paused = true)]
async fn inner_service_is_ready_when_called_and_cloned_only_to_wait() {
    for (is_slow, clones) in [(false, 0), (true, 1)] {
        let chain = Chain::new().add_interceptor(identity());
        let chain = if is_slow {
            chain.add_interceptor(slow())
        } else {
            chain
        };
        let gate = Gate::default();
        let counted = Arc::clone(&gate.clones);
        let mut service = InterceptLayer::new(chain).layer(gate);
        for _ in 0..3 {
            let ready = ServiceExt::<Inner>::ready(&mut service).await;
            let Ok(response) = ready.expect("infallible").call(post(CALL)).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(count(&counted), clones);
        }
        // Whoever reads the body waits for it.
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let Ok(response) = ready.expect("infallible").call(unread(CALL)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(count(&counted), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn future_dropped_before_it_is_ready_has_called_nobody_or_drops_the_call() {
    let held = Arc::new(());
    let inner = service_fn(|_: Inner| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut service = InterceptLayer::new(slow()).layer(inner);
    let mut call = spawn(service.call(post(CALL)));
    assert_pending!(call.poll());
    assert_eq!(Arc::strong_count(&held), 1);
    drop(call);
    let mut call = spawn(service.call(post(CALL)));
    assert_pending!(call.poll());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_pending!(call.poll());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(call);
    assert_eq!(Arc::strong_count(&held), 1);
}

/// D18: a service per connection, or a layer per route, has the same handle.
#[tokio::test]
async fn d18_clones_and_services_of_one_layer_count_together() {
    let layer = InterceptLayer::new(requests(|_, _| Verdict::refuse("no")));
    let handle = layer.handle();
    let server = Server::json(RESULT);
    ask(&layer, &server, post(CALL)).await;
    ask(&layer.clone(), &server, post(CALL)).await;
    ask(&layer.with_max_held(1), &server, post(CALL)).await;
    assert_eq!(handle.stats().refused_total, 3);
}

#[tokio::test(start_paused = true)]
async fn stacks_in_axum_without_a_type_with_trace_and_compression_outside() {
    use tower_http::{compression::CompressionLayer, trace::TraceLayer};

    async fn answer() -> ([(&'static str, &'static str); 1], String) {
        ([("content-type", "application/json")], RESULT.to_owned())
    }

    let router = Router::<()>::new()
        .route("/mcp", routing::post(answer))
        .route_layer(InterceptLayer::new(ToolFilter::deny(["drop_*"])))
        .layer(InterceptLayer::new((identity(), slow())))
        .layer(
            ServiceBuilder::new()
                .layer(TraceLayer::new_for_http())
                .layer(CompressionLayer::new()),
        );
    for (name, start) in [
        ("echo", RESULT),
        (
            "drop_it",
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403"#,
        ),
    ] {
        let request = Request::post("/mcp").header("content-type", "application/json");
        let body = axum::body::Body::from(CALL.replace("echo", name));
        let request = request.body(body).expect("valid");
        let Ok(response) = router.clone().oneshot(request).await;
        let body = response.into_body().collect().await.expect("a body");
        assert!(body.to_bytes().starts_with(start.as_bytes()));
    }
}

#[tokio::test]
async fn stacks_on_hyper() {
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};

    let service = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(InterceptLayer::new(ToolFilter::deny(["drop_*"])))
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
    for (name, start) in [
        ("echo", "hello"),
        (
            "drop_it",
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403"#,
        ),
        ("echo", "hello"),
    ] {
        let mut request = unread(&CALL.replace("echo", name));
        request.headers_mut().remove("content-length");
        let response = sender.send_request(request).await.expect("answered");
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
    fn assert_body<B: http_body::Body<Data = Bytes> + Send + Sync + Unpin + 'static>() {}
    fn assert_infallible<S: Service<Inner, Error = Infallible>>(_: &S) {}

    let layer = InterceptLayer::new((identity(), slow()));
    assert_static(&layer);
    assert_static(&layer.handle());
    assert_static(&layer.handle().pauses());
    let mut service = Intercept::new(Server::json(RESULT), (identity(), slow()));
    assert_static(&layer.layer(Server::json(RESULT)));
    assert_static(&service);
    assert_infallible(&service);
    let call = service.call(unread(CALL));
    assert_send(&call);
    assert_body::<ResponseBody<Full<Bytes>>>();
    let shown = format!("{layer:?} {:?} {call:?}", layer.handle());
    assert!(shown.contains("Reading"), "{shown}");
    let chain = Chain::new().add_interceptor(ToolFilter::deny(["x"]));
    assert!(format!("{chain:?}").contains("ToolFilter"));
    assert_eq!((chain.len(), chain.is_empty()), (1, false));
}
