//! What the rate limit answers, and whom it does not charge.

mod auth_support;
mod rate_limit_support;

use std::time::Duration;

use auth_support::{Recorder, ask, post, principal};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use rate_limit_support::{LIST, T, layer, limiter, message, quota, streams};
use shadowcat::{
    message::MessageLayer,
    protocol::{Era, ProtocolVersion},
    rate_limit::{ByPrincipal, Quota, RateLimitLayer},
    refusal::Refused,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

#[tokio::test]
async fn rl_2_r10_refusal_says_when_to_come_back() {
    let alice = principal("alice", &[]);
    let (limiter, clock) = limiter(quota(2, T));
    let inner = Recorder::default();
    let layer = RateLimitLayer::with_limiter(ByPrincipal, limiter);
    let layer = layer.with_name("calls").expect("a name");
    let handle = layer.handle();
    let service = layer.layer(inner.clone());
    for _ in 0..2 {
        assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
        inner.one();
    }
    let had = ask(&service, message(&alice, LIST)).await;
    assert_eq!(had.status, 429);
    assert_eq!(had.headers["retry-after"], "2", "1.5 s, rounded up");
    assert_eq!(had.headers["ratelimit-policy"], r#""calls";q=2;w=3"#);
    assert_eq!(had.headers["ratelimit"], r#""calls";r=0;t=2"#);
    assert_eq!(had.headers["content-type"], "application/json");
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31429,"message":"too many requests","data":{"source":"shadowcat","retryAfterMs":1500}}}"#
    );
    // RL-10: nobody inside has heard of it.
    assert!(!inner.was_asked());
    clock.advance(T);
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    clock.advance(T - Duration::from_nanos(1));
    let had = ask(&service, message(&alice, LIST)).await;
    assert_eq!(
        had.headers["retry-after"], "1",
        "one nanosecond, and never zero"
    );
    assert!(had.body.contains(r#""retryAfterMs":1}"#), "{}", had.body);
    // Nobody else has anything to do with it.
    let bob = principal("bob", &[]);
    assert_eq!(ask(&service, message(&bob, LIST)).await.status, 200);

    let stats = handle.stats();
    assert_eq!((handle.name(), stats.limiter.allowed_total), ("calls", 4));
    assert_eq!((stats.limiter.over_quota_total, stats.limiter.keys), (2, 2));
}

#[tokio::test]
async fn rl_2_notification_is_refused_without_a_body_and_a_batch_with_all_ids() {
    const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;
    let alice = principal("alice", &[]);
    let service = layer(1).0.layer(Recorder::default());
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    let had = ask(&service, message(&alice, PROGRESS)).await;
    assert_eq!((had.status.as_u16(), had.body.as_str()), (429, ""));
    assert_eq!(had.headers["retry-after"], "2");

    // RL-3, RL-7: a batch costs its messages, together or not at all.
    let (layer, _) = layer(3);
    let service = layer.layer(Recorder::default());
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    let other = r#"{"jsonrpc":"2.0","id":"b","method":"ping"}"#;
    let batch = format!("[{LIST},{PROGRESS},{other}]");
    let had = ask(&service, message(&alice, &batch)).await;
    assert_eq!(had.status, 429);
    assert_eq!(had.headers["ratelimit"], r#""default";r=2;t=2"#);
    let ids = [
        r#"[{"jsonrpc":"2.0","id":7,"#,
        r#"{"jsonrpc":"2.0","id":"b","#,
    ];
    assert!(ids.iter().all(|id| had.body.contains(id)), "{}", had.body);
    let batch = format!("[{LIST},{other}]");
    assert_eq!(ask(&service, message(&alice, &batch)).await.status, 200);
}

#[tokio::test]
async fn rl_4_what_somebody_waits_for_passes_at_no_cost() {
    let alice = principal("alice", &[]);
    let (layer, _) = layer(1);
    let handle = layer.handle();
    let service = layer.layer(Recorder::default());
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
    ] {
        assert_eq!(ask(&service, message(&alice, body)).await.status, 200);
    }
    let mut delete = message(&alice, "");
    *delete.method_mut() = Method::DELETE;
    let session = HeaderValue::from_static("s");
    delete.headers_mut().insert("mcp-session-id", session);
    delete
        .extensions_mut()
        .insert(Era::from(ProtocolVersion::V2025_11_25));
    let mut preflight = post("");
    *preflight.method_mut() = Method::OPTIONS;
    let asked = HeaderValue::from_static("POST");
    preflight
        .headers_mut()
        .insert("access-control-request-method", asked);
    for request in [delete, preflight] {
        assert_eq!(ask(&service, request).await.status, 200);
    }
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 429);
    assert_eq!(handle.stats().exempt_total, 5);
}

#[tokio::test]
async fn r07_what_never_fits_is_refused_for_good() {
    let alice = principal("alice", &[]);
    let (layer, _) = layer(5);
    let service = layer.add_tool_cost("huge", 6).layer(Recorder::default());
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"huge"}}"#;
    let had = ask(&service, message(&alice, call)).await;
    assert_eq!(had.status, 403);
    assert!(!had.headers.contains_key("retry-after"));
    // Nobody has looked what is left; there is never enough.
    assert!(!had.headers.contains_key("ratelimit"));
    assert_eq!(had.headers["ratelimit-policy"], r#""default";q=5;w=8"#);
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31803,"message":"the request costs more than its quota","data":{"source":"shadowcat","cost":6,"quota":5}}}"#
    );
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
}

#[tokio::test]
async fn rl_7_costs_of_tools_without_a_message_get_500() {
    let service = layer(5)
        .0
        .add_tool_cost("huge", 5)
        .layer(Recorder::default());
    assert_eq!(ask(&service, post(LIST)).await.status, 500);
    let stack = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .service(service);
    assert_eq!(ask(&stack, post(LIST)).await.status, 200);
}

#[tokio::test]
async fn clients_are_told_of_their_quota_if_the_server_likes() {
    let (layer, clock) = layer(3);
    // Whatever is set after it.
    let layer = layer.with_fields_in_all(true).with_name("default");
    let service = layer.expect("a name").layer(Recorder::default());
    let had = ask(&service, post("")).await;
    assert_eq!(had.status, 200);
    // 4.5 s until three are back, 1.5 s until the one is.
    assert_eq!(had.headers["ratelimit-policy"], r#""default";q=3;w=5"#);
    assert_eq!(had.headers["ratelimit"], r#""default";r=2;t=2"#);
    // The time is that until the next unit, whether it is the first or the last one that is missing.
    clock.advance(T / 2);
    for limit in [r#""default";r=1;t=1"#, r#""default";r=0;t=1"#] {
        let had = ask(&service, post("")).await;
        assert_eq!(
            (had.status.as_u16(), &had.headers["ratelimit"]),
            (200, &limit.parse().expect("ASCII"))
        );
    }
    let refused = ask(&service, post("")).await;
    assert_eq!(refused.status, 429);
    assert_eq!(refused.headers["ratelimit"], r#""default";r=0;t=1"#);
    assert_eq!(refused.headers["retry-after"], "1");

    for wrong in ["", "a\"b", "\u{e4}"] {
        assert!(self::layer(1).0.with_name(wrong).is_err(), "{wrong:?}");
    }
}

/// Coming back has another quota, which nobody is told of, neither when it is let in nor when it is
/// refused.
#[tokio::test]
async fn clients_are_told_nothing_of_the_quota_of_coming_back() {
    let (limiter, _) = limiter(quota(3, T));
    let limiter = limiter.with_resumes(quota(1, T));
    let layer = RateLimitLayer::with_limiter((), limiter).with_fields_in_all(true);
    let service = layer.layer(Recorder::default());
    for status in [200, 429] {
        let had = ask(&service, resume()).await;
        assert_eq!(had.status, status);
        for field in ["ratelimit", "ratelimit-policy"] {
            assert!(!had.headers.contains_key(field), "{status} {field}");
        }
        assert_eq!(had.headers.contains_key("retry-after"), status == 429);
    }
    assert_eq!(ask(&service, post("")).await.status, 200);
}

fn resume() -> Request<Full<Bytes>> {
    let mut request = post("");
    *request.method_mut() = Method::GET;
    let cursor = HeaderValue::from_static("x");
    request.headers_mut().insert("last-event-id", cursor);
    request
}

/// On a plain service a cursor is a field that any client may write.
#[tokio::test]
async fn cursor_is_no_way_around_the_quota_of_a_service_that_is_not_mcp() {
    let service = layer(1).0.layer(Recorder::default());
    assert_eq!(ask(&service, resume()).await.status, 200);
    for _ in 0..10 {
        assert_eq!(ask(&service, resume()).await.status, 429);
    }
}

/// Whoever has too much open has as many units as before, and is told so.
#[tokio::test]
async fn refusal_for_what_is_open_says_what_is_left() {
    let (limiter, _) = limiter(quota(3, T));
    let layer = RateLimitLayer::with_limiter((), limiter.with_max_streams(streams(1)));
    let service = layer.layer(Recorder::default());
    let open = service.clone().oneshot(post("")).await;
    let had = ask(&service, post("")).await;
    assert_eq!(had.status, 429);
    assert!(
        had.body.contains("too many streams and calls"),
        "{}",
        had.body
    );
    assert_eq!(had.headers["ratelimit"], r#""default";r=2;t=2"#);
    drop(open);
}

/// The quota of a layer without one is not told.
#[tokio::test]
async fn nothing_is_told_of_no_quota() {
    let (limiter, _) = limiter(Quota::UNLIMITED);
    let layer = RateLimitLayer::with_limiter((), limiter).with_fields_in_all(true);
    let had = ask(&layer.layer(Recorder::default()), post("")).await;
    assert!(!had.headers.contains_key("ratelimit-policy"));
}

#[tokio::test]
async fn hook_has_the_last_word_on_a_refusal() {
    let (layer, _) = layer(1);
    let service = layer
        .with_on_refuse(|rejection, response| {
            assert_eq!(response.status(), 429);
            let text = format!("come back in {:?}", rejection.retry_after());
            response.map(|_| Bytes::from(text))
        })
        .layer(Recorder::default());
    assert_eq!(ask(&service, post("")).await.status, 200);
    let Ok(response) = service.oneshot(post("")).await;
    let refused = response.extensions().get::<Refused>();
    assert_eq!(refused.map(Refused::code), Some(-31429));
    assert_eq!(response.headers()["retry-after"], "2");
    let body = response.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "come back in 1.5s");
}
