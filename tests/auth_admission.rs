//! Who is let in, as whom, and what everybody else is told.

mod auth_support;

use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};

use auth_support::{CALL, Inner, Recorder, ask, post, principal, scopes, tokens, with};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use shadowcat::{
    auth::{
        Auth, AuthLayer, ConfigErrorKind, MetadataService, Principal, Rejection, ScopeLayer,
        StaticTokens,
    },
    session::SessionLayer,
};
use tokio::time::advance;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

type Guarded = Auth<Recorder, StaticTokens>;

fn guarded() -> (Guarded, Recorder) {
    let inner = Recorder::default();
    (AuthLayer::new(tokens()).layer(inner.clone()), inner)
}

fn optional() -> (Guarded, Recorder) {
    let inner = Recorder::default();
    let layer = AuthLayer::new(tokens()).with_optional(true);
    (layer.layer(inner.clone()), inner)
}

fn showing(fields: &[&str]) -> Inner {
    let mut request = post(CALL);
    for field in fields {
        let field = HeaderValue::from_bytes(field.as_bytes()).expect("legal");
        request.headers_mut().append(AUTHORIZATION, field);
    }
    request
}

#[tokio::test]
async fn t01_no_header_is_401_without_an_error() {
    let (service, inner) = guarded();
    for method in ["POST", "GET", "DELETE", "HEAD", "OPTIONS", "PUT"] {
        let mut request = post("");
        *request.method_mut() = method.parse().expect("a method");
        let had = ask(&service, request).await;
        assert_eq!((had.status.as_u16(), had.challenge()), (401, "Bearer"));
    }
    assert!(!inner.was_asked());
}

#[tokio::test]
async fn t02_malformed_credentials_are_401_and_two_are_400() {
    for (service, inner) in [guarded(), optional()] {
        for field in ["", "Basic YTpi", "Bearer", "Bearer ", "alpha", "DPoP alpha"] {
            let had = ask(&service, showing(&[field])).await;
            assert_eq!((had.status.as_u16(), had.challenge()), (401, "Bearer"));
        }
        for field in [
            "Bearer  alpha",
            "Bearer alpha,",
            "Bearer alpha x",
            "Bearer \"alpha\"",
        ] {
            let had = ask(&service, showing(&[field])).await;
            assert_eq!(had.status, 401, "{field:?}");
            assert!(
                had.challenge()
                    .starts_with(r#"Bearer error="invalid_token", "#)
            );
        }
        for fields in [
            ["Bearer alpha", "Bearer alpha"],
            ["Bearer alpha", "Basic YTpi"],
        ] {
            let had = ask(&service, showing(&fields)).await;
            assert_eq!(had.status, 400);
            assert!(
                had.challenge()
                    .starts_with(r#"Bearer error="invalid_request", "#)
            );
            assert!(had.body.contains("-32600"));
        }
        assert!(!inner.was_asked());
        for field in ["bearer alpha", "BEARER alpha", "Bearer alpha"] {
            assert_eq!(
                ask(&service, showing(&[field])).await.status,
                200,
                "{field:?}"
            );
            inner.one();
        }
    }
}

#[tokio::test]
async fn t03_aut_2_token_elsewhere_is_not_used_and_not_seen_further_in() {
    let (service, inner) = guarded();
    let mut request = post("access_token=alpha");
    *request.uri_mut() = "/mcp?access_token=alpha".parse().expect("valid");
    assert_eq!(ask(&service, request.clone()).await.status, 401);
    assert!(!inner.was_asked());

    for (service, inner) in [guarded(), optional()] {
        *request.uri_mut() = "/mcp?a=1&access_token=beta&b".parse().expect("valid");
        assert_eq!(
            ask(&service, with("alpha", request.clone())).await.status,
            200
        );
        let parts = inner.one();
        assert_eq!(parts.uri, "/mcp?a=1&b");
        let who = parts.extensions.get::<Principal>();
        assert_eq!(who.map(Principal::subject), Some("alice"));
    }
    let (service, inner) = optional();
    assert_eq!(ask(&service, request).await.status, 200);
    let parts = inner.one();
    assert_eq!(parts.uri, "/mcp?a=1&b");
    assert!(parts.extensions.get::<Principal>().is_none());
}

#[tokio::test]
async fn optional_lets_nobody_in_as_nobody_and_never_a_wrong_token() {
    let (service, inner) = optional();
    assert_eq!(ask(&service, post("")).await.status, 200);
    assert!(inner.one().extensions.get::<Principal>().is_none());
    for token in ["unknown", "alph", "alphaa", "ALPHA"] {
        let had = ask(&service, with(token, post(""))).await;
        assert_eq!(had.status, 401, "{token}");
        assert!(had.challenge().contains(r#"error="invalid_token""#));
    }
    assert!(!inner.was_asked());
}

#[tokio::test]
async fn b55_stale_principal_is_replaced_or_removed() {
    for (token, expected) in [(None, None), (Some("beta"), Some("bob"))] {
        let (service, inner) = optional();
        let mut request = post("");
        request
            .extensions_mut()
            .insert(principal("root", &["admin"]));
        if let Some(token) = token {
            request = with(token, request);
        }
        assert_eq!(ask(&service, request).await.status, 200);
        let parts = inner.one();
        let who = parts.extensions.get::<Principal>();
        assert_eq!(who.map(Principal::subject), expected);
    }
}

#[tokio::test]
async fn aut_12_b50_clients_token_ends_here() {
    let (service, inner) = guarded();
    ask(&service, with("alpha", post(""))).await;
    assert!(!inner.one().headers.contains_key(AUTHORIZATION));

    let inner = Recorder::default();
    let layer = AuthLayer::new(tokens())
        .with_optional(true)
        .with_upstream_credential(HeaderValue::from_static("Bearer upstream"));
    assert!(!format!("{layer:?}").contains("Bearer upstream"));
    let service = layer.layer(inner.clone());
    for request in [with("alpha", post("")), post("")] {
        ask(&service, request).await;
        let parts = inner.one();
        let sent: Vec<_> = parts.headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(sent, ["Bearer upstream"]);
        assert!(sent[0].is_sensitive());
    }
}

#[tokio::test]
async fn b50_upstreams_401_is_not_relayed_as_ours_where_that_is_hidden() {
    let upstream = service_fn(async |request: Inner| {
        let status = request.headers()["x-answer"].to_str().expect("ASCII");
        let response = Response::builder().status(status).header(
            "www-authenticate",
            r#"Bearer resource_metadata="https://evil""#,
        );
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from("theirs")).expect("valid"))
    });
    let scoped = ScopeLayer::new()
        .allow_anonymous()
        .add_method("tools/call", scopes(&["tools"]))
        .layer(upstream);
    let asked = |token: Option<&str>, status: &'static str| {
        let mut request = post(CALL);
        let status = HeaderValue::from_static(status);
        request.headers_mut().insert("x-answer", status);
        match token {
            Some(token) => with(token, request),
            None => request,
        }
    };
    let layer = AuthLayer::new(tokens()).with_optional(true);
    let hiding = layer
        .clone()
        .with_hidden_unauthorized(true)
        .layer(scoped.clone());
    let had = ask(&hiding, asked(Some("alpha"), "401")).await;
    assert_eq!((had.status.as_u16(), had.challenge()), (502, ""));
    assert!(had.body.contains("-31502") && !had.body.contains("theirs"));
    // Other answers stay what they are, but lead no client to somebody else for a token.
    for status in ["403", "200", "500"] {
        let had = ask(&hiding, asked(Some("alpha"), status)).await;
        assert_eq!((had.status.as_str(), &*had.body), (status, "theirs"));
        assert!(!had.headers.contains_key("www-authenticate"), "{status}");
    }
    // Those of layers that know of this one are ours.
    let had = ask(&hiding, asked(None, "401")).await;
    assert_eq!(
        (had.status.as_u16(), had.challenge()),
        (401, r#"Bearer scope="tools""#)
    );

    for status in ["401", "403"] {
        let had = ask(&layer.layer(scoped.clone()), asked(Some("alpha"), status)).await;
        assert_eq!((had.status.as_str(), &*had.body), (status, "theirs"));
        assert!(had.challenge().contains("evil"), "{status}");
    }
}

#[tokio::test]
async fn aut_6_challenge_says_where_tokens_are_and_what_to_ask_for() {
    let metadata = MetadataService::builder("https://h/mcp")
        .add_authorization_server("https://login.example.com")
        .build()
        .expect("valid");
    let layer = AuthLayer::new(tokens()).with_scopes(scopes(&["tools", "read"]));
    let rest = r#"scope="tools read", resource_metadata="https://h/.well-known/oauth-protected-resource/mcp""#;
    let elsewhere = layer
        .clone()
        .with_metadata_url("https://h/.well-known/oauth-protected-resource/mcp")
        .expect("valid");
    for layer in [layer.clone().with_metadata(&metadata), elsewhere] {
        let service = layer.layer(Recorder::default());
        let had = ask(&service, post("")).await;
        assert_eq!(had.challenge(), format!("Bearer {rest}"));
        let had = ask(&service, with("unknown", post(""))).await;
        assert_eq!(
            had.challenge(),
            format!(
                r#"Bearer error="invalid_token", error_description="the token is unknown", {rest}"#
            )
        );
    }
    for url in ["http://h/x", "/x", "https://h/x\" y=\"", "https://h/x#y"] {
        assert!(layer.clone().with_metadata_url(url).is_err(), "{url:?}");
    }
}

#[tokio::test]
async fn c69_whoever_cannot_tell_says_when_to_come_back() {
    let judge = |_: shadowcat::auth::Credentials<'_>| {
        shadowcat::auth::Decision::<std::future::Ready<_>>::Now(Err(Rejection::unavailable(
            Duration::from_millis(2_500),
        )))
    };
    let service = AuthLayer::new(judge).layer(Recorder::default());
    let had = ask(&service, with("alpha", post(""))).await;
    assert_eq!(had.status, 503);
    assert_eq!(had.headers["retry-after"], "3");
    assert_eq!(had.challenge(), "");
    assert!(had.body.contains("-31503"));
}

#[tokio::test]
async fn aut_15_no_token_is_told_or_shown() {
    let (service, _) = guarded();
    for fields in [
        &["Bearer s3cret"][..],
        &["Bearer s3cret x"],
        &["Basic s3cret"],
    ] {
        let had = ask(&service, showing(fields)).await;
        assert!(!format!("{had:?}").contains("s3cret"));
    }
    let request = with("s3cret", post(""));
    let credentials = shadowcat::auth::Credentials::new("s3cret", &request);
    assert!(!format!("{credentials:?}").contains("s3cret"));
}

/// Lets in alice until `left` from now.
fn expiring(left: Duration, is_over: bool) -> AuthLayer<StaticTokens> {
    let now = SystemTime::now();
    let at = if is_over { now - left } else { now + left };
    let alice = Principal::builder("alice").with_expiry(at).build();
    let tokens = StaticTokens::new().add_token("alpha", alice.expect("it has a name"));
    AuthLayer::new(tokens.expect("valid"))
}

#[tokio::test]
async fn expired_token_is_refused_after_the_leeway_whoever_believes_it() {
    for (ago, leeway, status) in [(30, 60, 200), (61, 60, 401), (30, 0, 401), (0, 0, 401)] {
        let layer = expiring(Duration::from_secs(ago), true);
        let layer = layer.with_leeway(Duration::from_secs(leeway));
        let layer = layer.expect("no more than a minute");
        let service = layer.layer(Recorder::default());
        let had = ask(&service, with("alpha", post(""))).await;
        assert_eq!(had.status, status, "{ago} s ago, {leeway} s leeway");
        assert_eq!(
            had.challenge().contains("the token has expired"),
            status == 401
        );
    }
    let layer = expiring(Duration::from_secs(1), false);
    let error = layer.with_leeway(Duration::from_millis(60_001)).map(drop);
    assert_eq!(error.expect_err("AUT-10").kind(), ConfigErrorKind::Leeway);
}

/// The timer of a stream has a limit, and a token need not have one.
#[tokio::test(start_paused = true)]
async fn t25_stream_of_a_token_that_expires_in_ages_ends_after_a_year() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    let layer = expiring(10_000 * DAY, false);
    let inner = service_fn(async |_: Inner| {
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Quiet).expect("valid"))
    });
    let Ok(response) = layer.layer(inner).oneshot(with("alpha", post(""))).await;
    let mut had = tokio_test::task::spawn(response.into_body().collect());
    tokio_test::assert_pending!(had.poll());
    advance(365 * DAY - Duration::from_secs(1)).await;
    tokio_test::assert_pending!(had.poll());
    advance(Duration::from_secs(2)).await;
    let Ok(had) = tokio_test::assert_ready!(had.poll());
    assert_eq!(had.to_bytes(), "retry: 1000\n\n");
}

/// In the middle of what is compressed, nothing can be said.
#[tokio::test(start_paused = true)]
async fn t25_stream_that_cannot_be_read_is_cut_without_a_word() {
    for (coding, said) in [("gzip", ""), ("identity", "retry: 1000\n\n")] {
        let inner = service_fn(async |_: Inner| {
            let response = Response::builder()
                .header("content-type", "text/event-stream")
                .header("content-encoding", coding);
            Ok::<_, Infallible>(response.body(Quiet).expect("valid"))
        });
        let service = expiring(Duration::from_secs(100), false).layer(inner);
        let Ok(response) = service.oneshot(with("alpha", post(""))).await;
        let mut had = tokio_test::task::spawn(response.into_body().collect());
        tokio_test::assert_pending!(had.poll());
        advance(Duration::from_secs(161)).await;
        let Ok(had) = tokio_test::assert_ready!(had.poll());
        assert_eq!(had.to_bytes(), said, "{coding}");
    }
}

/// A body that never says anything.
struct Quiet;

impl http_body::Body for Quiet {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Pending
    }
}

/// An event stream that has one event, and no end.
async fn stream(request: Inner) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request;
    let response = Response::builder()
        .header("content-type", "text/event-stream")
        .header("content-length", "9");
    Ok(response.body(Full::from("data: x\n\n")).expect("valid"))
}

#[tokio::test(start_paused = true)]
async fn t25_only_an_event_stream_of_a_token_that_expires_ends_early() {
    let service = expiring(Duration::from_secs(100), false).layer(service_fn(stream));
    let Ok(response) = service.oneshot(with("alpha", post(""))).await;
    // It may be cut, whatever was said.
    assert!(!response.headers().contains_key("content-length"));
    assert_eq!(response.body().size_hint().exact(), None);

    let service = AuthLayer::new(tokens()).layer(service_fn(stream));
    let Ok(response) = service.oneshot(with("alpha", post(""))).await;
    assert_eq!(response.headers()["content-length"], "9");
    assert_eq!(response.body().size_hint().exact(), Some(9));

    let service = expiring(Duration::from_secs(100), false).layer(Recorder::default());
    let Ok(response) = service.oneshot(with("alpha", post(""))).await;
    assert_eq!(response.body().size_hint().exact(), Some(5));
}

#[tokio::test(start_paused = true)]
async fn t25_open_stream_ends_with_leeway_and_asks_to_come_back_unless_stateless() {
    for (version, said) in [
        (None, "retry: 250\n\n"),
        (Some("2025-11-25"), "retry: 250\n\n"),
        (Some("2026-07-28"), ""),
    ] {
        let inner = service_fn(async |_: Inner| {
            let response = Response::builder().header("content-type", "text/event-stream");
            Ok::<_, Infallible>(response.body(Quiet).expect("valid"))
        });
        let layer = expiring(Duration::from_secs(100), false)
            .with_leeway(Duration::from_secs(20))
            .expect("no more than a minute")
            .with_retry(Duration::from_millis(250));
        let mut request = with("alpha", post(""));
        if let Some(version) = version {
            let version = HeaderValue::from_static(version);
            request
                .headers_mut()
                .insert("mcp-protocol-version", version);
        }
        let Ok(response) = layer.layer(inner).oneshot(request).await;
        let mut had = tokio_test::task::spawn(response.into_body().collect());
        tokio_test::assert_pending!(had.poll());
        advance(Duration::from_secs(119)).await;
        tokio_test::assert_pending!(had.poll());
        advance(Duration::from_secs(2)).await;
        assert!(had.is_woken());
        let Ok(had) = tokio_test::assert_ready!(had.poll());
        assert_eq!(had.to_bytes(), said, "{version:?}");
    }
}

#[tokio::test]
async fn b01_b02_b06_session_is_its_principals_and_each_request_is_judged() {
    let inner = service_fn(async |_: Inner| {
        let response = Response::builder().header("mcp-session-id", "upstream");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from("{}")).expect("valid"))
    });
    let stack = ServiceBuilder::new()
        .layer(AuthLayer::new(tokens()))
        .layer(SessionLayer::default())
        .service(inner);
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    let had = ask(&stack, with("alpha", post(INITIALIZE))).await;
    let session = had.headers["mcp-session-id"].clone();
    let call = |token: Option<&str>| -> Request<Full<Bytes>> {
        let mut request = post(CALL);
        request
            .headers_mut()
            .insert("mcp-session-id", session.clone());
        match token {
            Some(token) => with(token, request),
            None => request,
        }
    };
    for (token, status) in [
        (Some("alpha"), 200),
        (Some("beta"), 404),
        (None, 401),
        (Some("gamma"), 401),
        (Some("alpha"), 200),
    ] {
        assert_eq!(ask(&stack, call(token)).await.status, status, "{token:?}");
    }
}
