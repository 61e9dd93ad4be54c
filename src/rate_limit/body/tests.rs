use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use http::{HeaderMap, HeaderValue};
use tokio_test::{assert_pending, task};

use super::*;
use crate::mock_body::MockBody;

type Polled = Poll<Option<Result<Frame<Bytes>, io::Error>>>;
type Held = ResponseBody<MockBody, Arc<()>>;

/// A body with a slot, and how many of these there are: two until it gives its own back.
fn body(inner: MockBody) -> (Arc<()>, Held) {
    let slot = Arc::new(());
    let body = ResponseBody::held(inner, Some(Arc::clone(&slot)));
    (slot, body)
}

fn poll(body: &mut Held) -> Polled {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

#[track_caller]
fn expect_data(polled: Polled, expected: &'static str) {
    match polled {
        Poll::Ready(Some(Ok(frame))) => assert_eq!(frame.into_data().expect("data"), expected),
        other => panic!("expected {expected:?}, not {other:?}"),
    }
}

#[track_caller]
fn expect_end(body: &mut Held, slot: &Arc<()>) {
    for _ in 0..2 {
        assert!(matches!(poll(body), Poll::Ready(None)));
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
    assert_eq!(Arc::strong_count(slot), 1);
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers
}

#[test]
fn data_then_end() {
    let (slot, mut body) = body(MockBody::new().data("a").data("b"));
    expect_data(poll(&mut body), "a");
    expect_data(poll(&mut body), "b");
    assert_eq!(Arc::strong_count(&slot), 2);
    expect_end(&mut body, &slot);
}

#[test]
fn end_that_the_inner_body_only_says_gives_back_with_the_last_frame() {
    let (slot, mut body) = body(MockBody::new().data("a").knows_end());
    assert!(!body.is_end_stream());
    expect_data(poll(&mut body), "a");
    assert!(body.is_end_stream());
    assert_eq!(Arc::strong_count(&slot), 1);
}

#[test]
fn empty_body_keeps_nothing() {
    let (slot, body) = body(MockBody::new().exact());
    assert!(body.is_end_stream());
    assert_eq!(Arc::strong_count(&slot), 1);
}

#[test]
fn body_that_only_counts_gives_back_with_its_last_byte() {
    let (slot, mut body) = body(MockBody::new().data("a").trailers(trailers()).exact());
    expect_data(poll(&mut body), "a");
    // Whoever has counted to the end may not ask again.
    assert!(!body.is_end_stream());
    assert_eq!(Arc::strong_count(&slot), 1);
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
}

#[test]
fn trailers_pass_with_data_and_alone() {
    for with_data in [true, false] {
        let inner = MockBody::new();
        let inner = if with_data { inner.data("a") } else { inner };
        let (slot, mut body) = body(inner.trailers(trailers()));
        if with_data {
            expect_data(poll(&mut body), "a");
        }
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else {
            panic!("trailers")
        };
        assert_eq!(frame.into_trailers().expect("trailers"), trailers());
        expect_end(&mut body, &slot);
    }
}

#[test]
fn pending_then_woken() {
    let (slot, body) = body(MockBody::new().then_yield().data("a"));
    let mut body = task::spawn(body);
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    assert!(body.is_woken());
    let polled = body.enter(|cx, body| body.poll_frame(cx));
    expect_data(polled, "a");
    assert_eq!(Arc::strong_count(&slot), 2);
}

#[test]
fn error_is_the_end() {
    let (slot, mut body) = body(MockBody::new().data("a").error("reset"));
    expect_data(poll(&mut body), "a");
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    expect_end(&mut body, &slot);
}

#[test]
fn dropped_mid_stream_gives_back() {
    let (slot, mut body) = body(MockBody::new().data("a").stall());
    expect_data(poll(&mut body), "a");
    assert_pending!(poll(&mut body));
    assert_eq!(Arc::strong_count(&slot), 2);
    drop(body);
    assert_eq!(Arc::strong_count(&slot), 1);
}

#[test]
fn size_hint_is_the_inner_one() {
    let (_, mut body) = body(MockBody::new().data("ab").data("c").exact());
    for hint in [3, 1, 0] {
        assert_eq!(body.size_hint().exact(), Some(hint));
        let _ = poll(&mut body);
    }
    let (_, body) = self::body(MockBody::new().data("ab"));
    assert_eq!(body.size_hint().exact(), None);
}

#[test]
fn refusal_is_its_bytes() {
    let mut body = Held::fixed(Bytes::from_static(b"no"));
    assert_eq!(body.size_hint().exact(), Some(2));
    expect_data(poll(&mut body), "no");
    assert!(body.is_end_stream());
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
}

#[test]
fn default_is_empty() {
    let mut body = Held::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert_eq!(format!("{body:?}"), "ResponseBody { is_held: false, .. }");
}
