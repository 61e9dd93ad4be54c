//! What the headers of a response say of what cannot be read, and of what may change.

mod intercept_support;

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use intercept_support::{
    CALL, Inner, LOG, Server, ask, events,
    odd::{SECRET, redact, response, through},
    post,
};
use shadowcat::intercept::Interest;
use tower::{Layer, ServiceExt, service_fn};

#[tokio::test]
async fn compressed_response_is_refused() {
    for strict in [false, true] {
        let layer = redact(Interest::responses("*")).with_unreadable_refused(strict);
        for kind in ["application/json", "text/event-stream"] {
            for (coding, passes) in [("gzip", false), ("identity, br", false), ("Identity", true)] {
                let headers = [("content-type", kind), ("content-encoding", coding)];
                let body = if kind == "application/json" {
                    SECRET.to_owned()
                } else {
                    events(&[SECRET])
                };
                let got = through(&layer, post(CALL), response(&headers, body.as_bytes(), 9)).await;
                let expected = if passes { 200 } else { 502 };
                assert_eq!(got.status, expected, "{kind} {coding}");
                assert!(!got.body.contains("s3cret"), "{}", got.body);
                let is_told = got
                    .body
                    .starts_with(r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32603"#);
                assert_eq!(is_told, !passes, "{}", got.body);
            }
        }
        assert_eq!(layer.handle().stats().unreadable_total, 4);
    }
    // A client that asks for it does not get it either.
    let mut request = post(CALL);
    request
        .headers_mut()
        .insert("accept-encoding", HeaderValue::from_static("gzip"));
    let layer = redact(Interest::responses("*"));
    let json = [("content-type", "application/json")];
    through(&layer, request, response(&json, SECRET.as_bytes(), 9)).await;
}

/// Strictly: nothing gets there that nobody has read, whatever it says it is.
#[tokio::test]
async fn strictly_no_other_type_and_no_status_passes() {
    let layer = redact(Interest::responses("*"));
    let strict = layer.clone().with_unreadable_refused(true);
    let plain = [("content-type", "text/plain")];
    let got = through(&layer, post(CALL), response(&plain, b"pong", 9)).await;
    assert_eq!((got.status.as_u16(), &*got.body), (200, "pong"));
    for kinds in [
        &["text/plain"][..],
        &["application/x-ndjson"],
        &["application/json", "application/json"],
        &["text/plain", "text/event-stream"],
        &["text/event-stream, application/json"],
    ] {
        let kinds: Vec<_> = kinds.iter().map(|kind| ("content-type", *kind)).collect();
        let got = through(&strict, post(CALL), response(&kinds, SECRET.as_bytes(), 9)).await;
        assert_eq!(got.status, 502, "{kinds:?}");
        assert!(
            got.body.contains(r#""id":7,"error":{"code":-32603"#),
            "{}",
            got.body
        );
        assert_eq!(got.headers["content-type"], "application/json");
    }
    // Some do not say how long nothing is.
    let got = through(&strict, post(CALL), response(&[], b"", 9)).await;
    assert!(got.status == 200 && got.body.is_empty() && got.is_whole);
    let got = through(&strict, post(CALL), response(&[], b"pong", 9)).await;
    assert!(got.body.is_empty() && !got.is_whole);
    for layer in [&layer, &strict] {
        let kind = [("content-type", "text/event-stream")];
        let mut failed = response(&kind, events(&[SECRET]).as_bytes(), 9);
        *failed.status_mut() = StatusCode::BAD_REQUEST;
        let got = through(layer, post(CALL), failed).await;
        assert_eq!(got.body, events(&[SECRET]).replace("s3cret", "[redacted]"));
    }
    // An event without data, or of another type, holds no message (S11, S12).
    let stream = format!(
        "id: 1\ndata:\n\nid: 2\n\nevent: endpoint\ndata: /mcp?x=1\n\n{}",
        events(&[LOG])
    );
    for layer in [&layer, &strict] {
        let had = ask(layer, &Server::stream(&stream), post(CALL)).await;
        assert_eq!(had.body, stream);
    }
}

/// What told of the bytes that were does not tell of those that are.
#[tokio::test]
async fn validators_and_digests_of_what_may_change_are_gone() {
    const GONE: [&str; 5] = [
        "etag",
        "content-digest",
        "repr-digest",
        "digest",
        "content-md5",
    ];
    let inner = service_fn(|_: Inner| {
        let mut trailers = HeaderMap::new();
        let mut response = Response::builder().header(CONTENT_TYPE, "application/json");
        for name in GONE {
            trailers.insert(name, HeaderValue::from_static("x"));
            response = response.header(name, "x");
        }
        trailers.insert("x-kept", HeaderValue::from_static("x"));
        let frames = [Frame::data(Bytes::from(SECRET)), Frame::trailers(trailers)];
        let frames = frames.map(Ok::<_, Infallible>);
        let body = StreamBody::new(tokio_stream::iter(frames));
        std::future::ready(Ok::<_, Infallible>(response.body(body).expect("valid")))
    });
    for (interest, is_kept) in [(Interest::responses("*"), false), (Interest::none(), true)] {
        let Ok(response) = redact(interest).layer(inner).oneshot(post(CALL)).await;
        let headers = response.headers().clone();
        let body = response.into_body().collect().await.expect("a body");
        let trailers = body.trailers().expect("trailers");
        for name in GONE {
            assert_eq!(headers.contains_key(name), is_kept, "{name}");
            assert_eq!(trailers.contains_key(name), is_kept, "{name}");
        }
        assert!(trailers.contains_key("x-kept"));
    }
}

/// HEAD and 204 tell of a body that does not come, and nothing of it changes.
#[tokio::test]
async fn response_without_a_body_keeps_what_it_says_of_it() {
    let inner = service_fn(|_: Inner| {
        let response = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header("content-length", "77")
            .header("etag", "x");
        let body = http_body_util::Empty::<Bytes>::new();
        std::future::ready(Ok::<_, Infallible>(response.body(body).expect("valid")))
    });
    let layer = redact(Interest::responses("*")).with_unreadable_refused(true);
    let Ok(response) = layer.layer(inner).oneshot(post(CALL)).await;
    assert_eq!(response.headers()["content-length"], "77");
    assert_eq!(response.headers()["etag"], "x");
    assert!(response.body().is_end_stream());
}
