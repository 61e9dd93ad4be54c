use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use http::HeaderMap;
use tokio_test::{assert_pending, task};

use super::*;
use crate::{
    jsonrpc::Handshake,
    mock_body::MockBody,
    session::flight::Ids,
    store::{MemorySessionStore, Owner, SessionKey, SessionName, SessionRecord, SessionStore},
};

type Polled = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

/// A session, and a body that holds it.
fn body(inner: MockBody, is_stream: bool) -> (SessionRecord, ResponseBody<MockBody>) {
    let store = MemorySessionStore::new();
    let lease = store.open(Owner::ANONYMOUS, Owner::ANONYMOUS);
    let lease = lease.into_inner().expect("room");
    let upstream = http::HeaderValue::from_static("up");
    let key = SessionKey::new(1, [1; 16]);
    let named = store
        .establish(&lease, SessionName::new(key, [2; 16], upstream))
        .into_inner();
    named.expect("it is new");
    let session = lease.record().clone();
    let body = ResponseBody::held(inner, Flight::first(lease, Ids::None), is_stream, None);
    (session, body)
}

fn poll(body: &mut ResponseBody<MockBody>) -> Polled {
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
fn expect_end(body: &mut ResponseBody<MockBody>, session: &SessionRecord) {
    for _ in 0..2 {
        assert!(matches!(poll(body), Poll::Ready(None)));
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
    assert_eq!(session.leases(), 0);
}

#[test]
fn data_then_end() {
    for is_stream in [false, true] {
        let (session, mut body) = body(MockBody::new().data("a").data("b"), is_stream);
        expect_data(poll(&mut body), "a");
        expect_data(poll(&mut body), "b");
        assert_eq!(session.leases(), 1);
        expect_end(&mut body, &session);
    }
}

#[test]
fn end_that_the_inner_body_only_says_lets_go_with_the_last_frame() {
    for is_stream in [false, true] {
        let (session, mut body) = body(MockBody::new().data("a").knows_end(), is_stream);
        assert!(!body.is_end_stream());
        expect_data(poll(&mut body), "a");
        assert!(body.is_end_stream());
        assert_eq!(session.leases(), 0);
    }
}

#[test]
fn empty_body_holds_nothing() {
    let (session, body) = body(MockBody::new().exact(), false);
    assert!(body.is_end_stream());
    assert_eq!(session.leases(), 0);
}

#[test]
fn body_that_only_counts_lets_go_with_its_last_byte() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("1"));
    let inner = MockBody::new().data("a").trailers(trailers).exact();
    let (session, mut body) = body(inner, false);
    assert_eq!(session.leases(), 1);
    expect_data(poll(&mut body), "a");
    // Whoever has counted to the end may not ask again.
    assert!(!body.is_end_stream());
    assert_eq!(session.leases(), 0);
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Ok(frame))) if frame.is_trailers()));
}

#[test]
fn trailers_pass_with_data_and_alone() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("1"));
    let with_data = MockBody::new().data("a").trailers(trailers.clone());
    let alone = MockBody::new().trailers(trailers.clone());
    for (inner, has_data) in [(with_data, true), (alone, false)] {
        let (session, mut body) = body(inner, false);
        if has_data {
            expect_data(poll(&mut body), "a");
        }
        let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else {
            panic!("trailers")
        };
        assert_eq!(frame.into_trailers().expect("trailers"), trailers);
        expect_end(&mut body, &session);
    }
}

#[test]
fn pending_then_woken() {
    let (session, body) = body(MockBody::new().then_yield().data("a"), true);
    let mut body = task::spawn(body);
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    assert!(body.is_woken());
    let polled = body.enter(|cx, body| body.poll_frame(cx));
    expect_data(polled, "a");
    assert_eq!(session.leases(), 1);
}

#[test]
fn error_is_the_end() {
    let (session, mut body) = body(MockBody::new().data("a").error("reset"), true);
    expect_data(poll(&mut body), "a");
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    expect_end(&mut body, &session);
}

#[test]
fn dropped_mid_stream_lets_go() {
    let (session, mut body) = body(MockBody::new().data("a").stall(), true);
    expect_data(poll(&mut body), "a");
    assert_pending!(poll(&mut body));
    assert_eq!(session.leases(), 1);
    drop(body);
    assert_eq!(session.leases(), 0);
}

#[test]
fn stream_that_waits_is_woken_by_the_end_of_its_session_and_ends() {
    let inner = MockBody::new().data("a").stall();
    let polls = inner.polls();
    let (session, body) = body(inner, true);
    let mut body = task::spawn(body);
    let polled = body.enter(|cx, body| body.poll_frame(cx));
    expect_data(polled, "a");
    // By whatever task polled it last.
    let mut other = task::spawn(());
    let pinned = |cx: &mut Context<'_>, body: Pin<&mut ResponseBody<MockBody>>| body.poll_frame(cx);
    other.enter(|cx, _| body.enter(|_, body| assert_pending!(pinned(cx, body))));
    assert_pending!(body.enter(pinned));
    assert!(!body.is_woken());
    session.end();
    assert!(body.is_woken());
    assert!(!other.is_woken());
    let before = polls.get();
    assert!(matches!(body.enter(pinned), Poll::Ready(None)));
    assert!(body.enter(|_, body| body.is_end_stream()));
    assert_eq!(polls.get(), before, "the inner body is not asked any more");
    assert_eq!(session.leases(), 0);
}

#[test]
fn stream_ends_with_its_session_also_when_it_is_ready() {
    let (session, mut body) = body(MockBody::new().data("a").data("b"), true);
    expect_data(poll(&mut body), "a");
    session.end();
    expect_end(&mut body, &session);
}

#[test]
fn what_is_no_stream_goes_on_to_its_end() {
    let (session, mut body) = body(MockBody::new().data("a").data("b"), false);
    expect_data(poll(&mut body), "a");
    session.end();
    expect_data(poll(&mut body), "b");
    expect_end(&mut body, &session);
}

#[test]
fn size_hint_is_the_inner_one_but_of_a_stream_none() {
    let inner = || MockBody::new().data("ab").data("c").exact();
    for (is_stream, hints) in [
        (false, [Some(3), Some(1), Some(0)]),
        (true, [None, None, Some(0)]),
    ] {
        let (_, mut body) = body(inner(), is_stream);
        for hint in hints {
            assert_eq!(body.size_hint().exact(), hint);
            let _ = poll(&mut body);
        }
    }
}

#[test]
fn many_that_wait_and_go_leave_no_wakers_behind() {
    let (session, first) = body(MockBody::new().stall(), true);
    let mut bodies = vec![first];
    for _ in 0..10 {
        let lease = session.lease().expect("it is there");
        bodies.push(ResponseBody::held(
            MockBody::new().stall(),
            Flight::first(lease, Ids::None),
            true,
            None,
        ));
    }
    for body in &mut bodies {
        assert_pending!(poll(body));
    }
    drop(bodies.drain(3..));
    for body in &mut bodies {
        assert_pending!(poll(body));
    }
    assert_eq!(session.leases(), 3);
    drop(bodies);
    assert_eq!(session.leases(), 0);
    session.end();
}

#[test]
fn learner_reads_what_passes_and_its_end() {
    let agreed = r#"{"id":1,"result":{"protocolVersion":"2025-06-18"}}"#;
    let (one, two) = agreed.split_at(20);
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let learner = Learner::new(false, move |said: Handshake| {
        *tell.lock().expect("not poisoned") = Some(said);
    });
    let (session, _) = body(MockBody::new(), false);
    let lease = session.lease().expect("it is there");
    let inner = MockBody::new().data(one).data(two);
    let mut body = ResponseBody::held(
        inner,
        Flight::first(lease, Ids::None),
        false,
        Some(Box::new(learner)),
    );
    expect_data(poll(&mut body), &agreed[..20]);
    assert!(told.lock().expect("not poisoned").is_none());
    // Before the frame is handed on.
    expect_data(poll(&mut body), &agreed[20..]);
    assert!(told.lock().expect("not poisoned").is_some());
    expect_end(&mut body, &session);
}

#[test]
fn default_is_empty() {
    let mut body = ResponseBody::<MockBody>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert_eq!(
        format!("{body:?}"),
        "ResponseBody { is_held: false, is_over: true, .. }"
    );
}
