//! What a principal may do: per method, tool, prompt and resource.

mod auth_support;

use std::{convert::Infallible, sync::Arc, time::Duration};

use auth_support::{Gate, Had, Inner, Recorder, ask, count, post, principal, scopes, tokens, with};
use axum::{Router, routing};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use shadowcat::{
    auth::{AuthLayer, CheckScopes, MetadataService, ScopeLayer},
    body::RequestBody,
    message::{Message, MessageLayer},
};
use tokio_test::{assert_pending, assert_ready, assert_ready_ok, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

fn by(granted: &[&str], mut request: Inner) -> Inner {
    request.extensions_mut().insert(principal("alice", granted));
    request
}

fn message(method: &str, params: &str) -> Inner {
    post(&format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#
    ))
}

fn call(tool: &str) -> Inner {
    message("tools/call", &format!(r#"{{"name":"{tool}"}}"#))
}

fn rules() -> ScopeLayer {
    ScopeLayer::new()
        .with_base(scopes(&["mcp"]))
        .add_method("tools/*", scopes(&["tools"]))
        .add_method("logging/setLevel", scopes(&["logging"]))
        .add_tool("delete_*", scopes(&["admin", "tools"]))
        .add_tool("drop", scopes(&["dba"]))
        .add_prompt("secret", scopes(&["prompts"]))
        .add_resource("file:///private/*", scopes(&["private"]))
}

/// The scopes that are asked for, or none if the request passed. Asked with and without a
/// `MessageLayer` outside.
async fn missing(layer: &ScopeLayer, granted: &[&str], request: Inner) -> Option<String> {
    let inner = Recorder::default();
    let read = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(layer.clone())
        .service(inner.clone());
    let had = ask(&read, by(granted, request.clone())).await;
    let alone = ask(&layer.layer(inner.clone()), by(granted, request)).await;
    assert_eq!((had.status, &had.body), (alone.status, &alone.body));
    assert_eq!(had.challenge(), alone.challenge());
    if had.status == StatusCode::OK {
        return None;
    }
    assert!(!inner.was_asked());
    Some(required(&had))
}

fn required(had: &Had) -> String {
    assert_eq!(had.status, 403, "{had:?}");
    assert!(
        had.body
            .starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403,"#)
    );
    let challenge = had.challenge();
    assert!(challenge.starts_with(r#"Bearer error="insufficient_scope", "#));
    let (_, rest) = challenge.split_once(r#" scope=""#).expect("scopes");
    let (named, _) = rest.split_once('"').expect("quoted");
    named.to_owned()
}

#[tokio::test]
async fn aut_7_all_that_an_operation_needs_is_named_at_once() {
    let layer = rules();
    for (granted, request, expected) in [
        (&["mcp"][..], message("ping", "{}"), None),
        (&[], message("ping", "{}"), Some("mcp")),
        (
            &["mcp"],
            message("logging/setLevel", "{}"),
            Some("mcp logging"),
        ),
        (&["mcp", "tools"], call("echo"), None),
        (&["mcp"], call("echo"), Some("mcp tools")),
        (&["tools"], call("echo"), Some("mcp tools")),
        (&["mcp", "tools"], message("tools/list", "{}"), None),
        (
            &["mcp", "tools"],
            call("delete_all"),
            Some("mcp tools admin"),
        ),
        (&["mcp", "tools", "admin"], call("delete_all"), None),
        (&["mcp", "tools"], call("delete"), None),
        (&["mcp", "tools"], call("drop"), Some("mcp tools dba")),
        (&["mcp", "tools"], call("drop_all"), None),
        (
            &["mcp"],
            message("prompts/get", r#"{"name":"secret"}"#),
            Some("mcp prompts"),
        ),
        (
            &["mcp"],
            message("prompts/get", r#"{"name":"other"}"#),
            None,
        ),
        // A tool's name is no prompt's.
        (&["mcp", "tools"], call("secret"), None),
    ] {
        let body = format!("{request:?}");
        let had = missing(&layer, granted, request).await;
        assert_eq!(had.as_deref(), expected, "{granted:?} {body}");
    }
    for method in ["read", "subscribe", "unsubscribe"] {
        for (uri, expected) in [
            ("file:///private/x", Some("mcp private")),
            ("file:///public/x", None),
        ] {
            let method = format!("resources/{method}");
            let request = message(&method, &format!(r#"{{"uri":"{uri}"}}"#));
            let had = missing(&layer, &["mcp"], request).await;
            assert_eq!(had.as_deref(), expected, "{method} {uri}");
        }
    }
}

#[tokio::test]
async fn t20_scopes_are_compared_whole() {
    let layer = ScopeLayer::new().add_method("tools/call", scopes(&["read"]));
    for granted in ["readwrite", "rea", "READ", "read,write", "read ", ""] {
        let had = missing(&layer, &[granted], call("echo")).await;
        assert_eq!(had.as_deref(), Some("read"), "{granted:?}");
    }
    assert_eq!(missing(&layer, &["x", "read"], call("echo")).await, None);
}

#[tokio::test]
async fn what_hides_a_name_is_taken_for_any() {
    let layer = rules();
    let granted = ["mcp", "tools"];
    // The same name in other letters.
    let had = missing(&layer, &granted, call(r"dr\u006fp")).await;
    assert_eq!(had.as_deref(), Some("mcp tools dba"));
    let had = missing(
        &layer,
        &["mcp"],
        post(r#"{"jsonrpc":"2.0","id":7,"method":"tools\/call","params":{"name":"drop"}}"#),
    );
    assert_eq!(had.await.as_deref(), Some("mcp tools dba"));
    // A server may take these for whatever it likes.
    for params in ["{}", r#"{"name":5}"#, r#"{"name":["drop"]}"#, "[]"] {
        let had = missing(&layer, &granted, message("tools/call", params)).await;
        assert_eq!(had.as_deref(), Some("mcp tools admin dba"), "{params}");
    }
}

#[tokio::test]
async fn batch_needs_what_each_message_needs() {
    let layer = rules();
    let batch = r#"[{"jsonrpc":"2.0","id":7,"method":"ping"},
        {"jsonrpc":"2.0","method":"notifications/x"},
        {"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"drop"}},
        {"jsonrpc":"2.0","id":9,"method":"prompts/get","params":{"name":"secret"}}]"#;
    let service = layer.layer(Recorder::default());
    let had = ask(&service, by(&["mcp", "tools", "dba"], post(batch))).await;
    assert_eq!(had.status, 403);
    let expected = r#"scope="mcp tools dba prompts""#;
    assert!(had.challenge().contains(expected), "{}", had.challenge());
    assert!(had.body.starts_with(r#"[{"jsonrpc":"2.0","id":7,"error""#));
    assert_eq!(had.body.matches("-31403").count(), 3);
    let granted = ["mcp", "tools", "dba", "prompts"];
    assert_eq!(ask(&service, by(&granted, post(batch))).await.status, 200);
}

#[tokio::test]
async fn what_has_no_message_needs_the_base() {
    let service = rules().layer(Recorder::default());
    for method in ["GET", "DELETE"] {
        for (granted, status) in [(&["tools"][..], 403), (&["mcp"], 200)] {
            let mut request = by(granted, post(""));
            *request.method_mut() = method.parse().expect("a method");
            assert_eq!(ask(&service, request).await.status, status, "{method}");
        }
    }
    // Responses and notifications too.
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/x"}"#,
    ] {
        for (granted, status) in [(&["tools"][..], 403), (&["mcp"], 200)] {
            assert_eq!(ask(&service, by(granted, post(body))).await.status, status);
        }
    }
}

#[tokio::test]
async fn method_that_has_a_body_hides_no_message() {
    let inner = Recorder::default();
    let layer = rules();
    let read = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(layer.clone())
        .service(inner.clone());
    for method in ["PUT", "PATCH", "QUERY", "POST"] {
        let mut request = by(&["mcp"], call("drop"));
        *request.method_mut() = method.parse().expect("a method");
        for had in [
            ask(&layer.layer(inner.clone()), request.clone()).await,
            ask(&read, request).await,
        ] {
            assert_eq!(required(&had), "mcp tools dba", "{method}");
        }
    }
    assert!(!inner.was_asked());
    for method in ["PUT", "POST"] {
        let mut request = by(&["mcp", "tools"], call("echo"));
        *request.method_mut() = method.parse().expect("a method");
        assert_eq!(ask(&layer.layer(inner.clone()), request).await.status, 200);
    }
}

#[tokio::test]
async fn b54_without_a_principal_it_never_passes() {
    for layer in [ScopeLayer::new(), rules()] {
        let inner = Recorder::default();
        let service = layer.layer(inner.clone());
        let mut get = post("");
        *get.method_mut() = http::Method::GET;
        for request in [call("echo"), get] {
            let had = ask(&service, request).await;
            assert_eq!(had.status, 500);
            assert!(
                had.body
                    .contains(r#""code":-32603,"message":"internal error""#)
            );
        }
        assert!(!inner.was_asked());
    }
}

#[tokio::test]
async fn nobody_is_let_in_to_what_needs_nothing_where_that_is_allowed() {
    let stack = ServiceBuilder::new()
        .layer(AuthLayer::new(tokens()).with_optional(true))
        .layer(
            ScopeLayer::new()
                .allow_anonymous()
                .add_method("tools/call", scopes(&["tools"])),
        )
        .service(Recorder::default());
    assert_eq!(ask(&stack, message("ping", "{}")).await.status, 200);
    let had = ask(&stack, call("echo")).await;
    assert_eq!(had.status, 401);
    assert_eq!(had.challenge(), r#"Bearer scope="tools""#);
    assert_eq!(ask(&stack, with("beta", call("echo"))).await.status, 403);
    assert_eq!(ask(&stack, with("alpha", call("echo"))).await.status, 200);
}

#[tokio::test]
async fn aut_8_hierarchy_is_what_it_is_said_to_be() {
    let layer = ScopeLayer::new()
        .add_method("tools/call", scopes(&["tools:call"]))
        .with_satisfies(|granted, required| {
            granted == required
                || required
                    .strip_prefix(granted)
                    .is_some_and(|r| r.starts_with(':'))
        });
    for (granted, expected) in [
        ("tools", None),
        ("tools:call", None),
        ("tool", Some("tools:call")),
        ("tools:call:x", Some("tools:call")),
    ] {
        let had = missing(&layer, &["x", granted], call("echo")).await;
        assert_eq!(had.as_deref(), expected, "{granted}");
    }
}

#[tokio::test]
async fn b07_fewer_scopes_count_from_the_next_request_on() {
    let service = rules().layer(Recorder::default());
    for (granted, status) in [(&["mcp", "tools"][..], 200), (&["mcp"], 403)] {
        assert_eq!(
            ask(&service, by(granted, call("echo"))).await.status,
            status
        );
    }
}

#[tokio::test]
async fn challenge_says_where_tokens_are() {
    let metadata = MetadataService::builder("https://h/mcp")
        .add_authorization_server("https://login.example.com")
        .build()
        .expect("valid");
    let url = r#"resource_metadata="https://h/.well-known/oauth-protected-resource/mcp""#;
    let elsewhere = rules().with_metadata_url(metadata.url()).expect("valid");
    for layer in [rules().with_metadata(&metadata), elsewhere] {
        let had = ask(&layer.layer(Recorder::default()), by(&[], call("echo"))).await;
        assert!(had.challenge().ends_with(url), "{}", had.challenge());
    }
    assert!(rules().with_metadata_url("/x").is_err());
}

#[tokio::test]
async fn what_is_no_message_does_not_pass_where_nobody_has_judged_it() {
    let inner = Recorder::default();
    let service = ScopeLayer::new().layer(inner.clone());
    for (body, code) in [
        ("", "-32700"),
        ("{", "-32700"),
        ("name=x", "-32700"),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","method":"tools/call"}"#,
            "-32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","result":{}}"#,
            "-32600",
        ),
        (r#"{"id":{},"method":"ping"}"#, "-32600"),
        // A server that takes no notice of case would go by the other name (JRP-10).
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"ping","Method":"logging/setLevel"}"#,
            "-32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","Name":"drop"}}"#,
            "-32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"},"Params":{"name":"drop"}}"#,
            "-32600",
        ),
        (
            r#"[{"jsonrpc":"2.0","id":7,"method":"ping","METHOD":"tools/call"}]"#,
            "-32600",
        ),
        ("[7]", "-32600"),
    ] {
        for kind in ["application/json", "text/plain"] {
            let mut request = by(&[], post(body));
            let kind = http::HeaderValue::from_static(kind);
            request.headers_mut().insert("content-type", kind);
            let had = ask(&service, request).await;
            assert_eq!(had.status, 400, "{body}");
            assert!(had.body.contains(code), "{body}: {}", had.body);
        }
    }
    assert!(!inner.was_asked());
}

#[tokio::test(start_paused = true)]
async fn body_that_nobody_has_read_is_read_within_limits() {
    let service = ScopeLayer::new().layer(Recorder::default());
    let long = " ".repeat(4 * 1024 * 1024 + 1);
    assert_eq!(ask(&service, by(&[], post(&long))).await.status, 413);

    type Stream = StreamBody<tokio_stream::Pending<Result<http_body::Frame<Bytes>, Infallible>>>;
    /// A body that never comes.
    struct Never(Stream);
    impl From<Bytes> for Never {
        fn from(_: Bytes) -> Self {
            Self(StreamBody::new(tokio_stream::pending()))
        }
    }
    impl http_body::Body for Never {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            std::pin::Pin::new(&mut self.0).poll_frame(cx)
        }
    }
    let request = Request::post("/mcp").extension(principal("alice", &[]));
    let request = request.body(Never::from(Bytes::new())).expect("valid");
    let begun = tokio::time::Instant::now();
    assert_eq!(ask(&service, request).await.status, 408);
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
}

#[tokio::test]
async fn passes_through_byte_for_byte_with_the_message() {
    let inner = service_fn(async |request: Inner| {
        assert!(request.extensions().get::<Message>().is_some());
        Ok::<_, &str>(Response::new(request.into_body()))
    });
    let body = r#" { "jsonrpc": "2.0", "id": 7, "method": "ping" } "#;
    let service = ScopeLayer::new().layer(inner);
    let response = service.oneshot(by(&[], post(body))).await.expect("passed");
    let had = response.into_body().collect().await.expect("a body");
    assert_eq!(had.to_bytes(), body);

    let failing = service_fn(async |_: Inner| Err::<Response<Full<Bytes>>, _>("failed"));
    let error = ScopeLayer::new().layer(failing).oneshot(by(&[], call("x")));
    assert_eq!(error.await.expect_err("its own"), "failed");
}

#[tokio::test]
async fn readiness_is_the_inner_services_and_goes_with_the_request() {
    let (mut service, mut handle) =
        tower_test::mock::spawn_layer::<Inner, Response<Empty<Bytes>>, _>(ScopeLayer::new());
    handle.allow(0);
    assert_pending!(service.poll_ready());
    let mut get = post("");
    *get.method_mut() = http::Method::GET;
    for request in [call("x"), get] {
        handle.allow(1);
        assert_ready_ok!(service.poll_ready());
        // The mock panics if it is called by whoever has not polled it ready.
        let mut calling = spawn(service.call(by(&[], request)));
        assert_pending!(calling.poll());
        let (_, respond) = assert_ready!(spawn(handle.next_request()).poll()).expect("called");
        assert_pending!(service.poll_ready(), "the permit went with the request");
        respond.send_response(Response::new(Empty::new()));
        assert_eq!(assert_ready_ok!(calling.poll()).status(), StatusCode::OK);
    }
    handle.allow(1);
    assert_ready_ok!(service.poll_ready());
    let refused = assert_ready_ok!(spawn(service.call(call("x"))).poll());
    assert_eq!(refused.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_pending!(spawn(handle.next_request()).poll(), "not called");
}

#[test]
fn future_dropped_before_it_is_ready_has_called_nobody_or_drops_the_inner_one() {
    let held = Arc::new(());
    let inner = service_fn(|_: Inner| {
        let held = Arc::clone(&held);
        async move {
            std::future::pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut service = ScopeLayer::new().layer(inner);
    let unread = service.call(by(&[], call("x")));
    assert_eq!(Arc::strong_count(&held), 1, "not called yet");
    drop(unread);
    let mut calling = spawn(service.call(by(&[], call("x"))));
    assert_pending!(calling.poll());
    assert_eq!(Arc::strong_count(&held), 2);
    drop(calling);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn inner_service_is_ready_when_called_and_cloned_only_to_read() {
    let gate = Gate::default();
    let clones = Arc::clone(&gate.clones);
    let mut service = rules().layer(gate);
    let mut get = post("");
    *get.method_mut() = http::Method::GET;
    let mut read = call("echo");
    let message = Message::new(read.body_mut().clone().collect().await.unwrap().to_bytes());
    read.extensions_mut().insert(message);
    for (request, expected) in [(get, 0), (read, 0), (call("echo"), 1), (call("drop"), 1)] {
        let ready = ServiceExt::<Inner>::ready(&mut service).await;
        let call = ready
            .expect("infallible")
            .call(by(&["mcp", "tools"], request));
        let Ok(_) = call.await;
        assert_eq!(count(&clones), expected);
    }
}

#[tokio::test]
async fn stacks_in_axum_and_over_what_the_message_layer_makes() {
    let router = Router::<()>::new()
        .route("/mcp", routing::post(async || "hello"))
        .layer(
            ServiceBuilder::new()
                .layer(AuthLayer::new(tokens()))
                .layer(rules()),
        );
    let request = |token| with(token, call("echo")).map(axum::body::Body::new);
    let Ok(response) = router.clone().oneshot(request("alpha")).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);

    fn assert_service<S: Service<Request<RequestBody<hyper::body::Incoming>>>>(_: &S) {}
    fn assert_static<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn assert_send<T: Send + 'static>(_: &T) {}
    let layer = rules();
    assert_static(&layer);
    let mut service: CheckScopes<Recorder> = layer.layer(Recorder::default());
    assert_service(&service);
    assert_static(&service);
    let calling = service.call(call("x"));
    assert_send(&calling);
    assert!(format!("{layer:?} {service:?} {calling:?}").contains("Reading"));
}
