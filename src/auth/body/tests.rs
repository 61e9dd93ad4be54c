use std::{
    io,
    task::{Poll, Waker},
};

use http::{HeaderMap, HeaderValue};
use tokio::time::{self, advance};
use tokio_test::{assert_pending, assert_ready, task};

use super::*;
use crate::mock_body::MockBody;

type Polled = Poll<Option<Result<Frame<Bytes>, io::Error>>>;

const LIFE: Duration = Duration::from_secs(100);
const RETRY: &str = "retry: 1000\n\n";

fn expiry() -> Expiry {
    Expiry {
        at: time::Instant::now() + LIFE,
        retry: Some(Duration::from_secs(1)),
    }
}

fn stream(inner: MockBody) -> ResponseBody<MockBody> {
    ResponseBody::expiring(inner, expiry(), true)
}

fn both(inner: impl Fn() -> MockBody) -> [ResponseBody<MockBody>; 2] {
    [ResponseBody::passing(inner()), stream(inner())]
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
fn expect_end(body: &mut ResponseBody<MockBody>) {
    for _ in 0..2 {
        assert!(matches!(poll(body), Poll::Ready(None)));
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("1"));
    trailers
}

#[tokio::test(start_paused = true)]
async fn data_then_end() {
    let mut stream = stream(MockBody::new().data("data: a\n\n").data("b"));
    expect_data(poll(&mut stream), "data: a\n\n");
    expect_data(poll(&mut stream), "b");
    expect_end(&mut stream);
    // What does not expire is the inner body, and nothing else.
    let mut passing = ResponseBody::passing(MockBody::new().data("a"));
    expect_data(poll(&mut passing), "a");
    assert!(matches!(poll(&mut passing), Poll::Ready(None)));
}

#[tokio::test(start_paused = true)]
async fn end_that_the_inner_body_only_says() {
    for mut body in both(|| MockBody::new().data("a").knows_end()) {
        assert!(!body.is_end_stream());
        expect_data(poll(&mut body), "a");
        assert!(body.is_end_stream());
    }
    for body in both(|| MockBody::new().exact()) {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_with_data_and_alone() {
    for has_data in [false, true] {
        let inner = || {
            let body = MockBody::new();
            let body = if has_data { body.data("a") } else { body };
            body.trailers(trailers())
        };
        for mut body in both(inner) {
            if has_data {
                expect_data(poll(&mut body), "a");
            }
            let Poll::Ready(Some(Ok(frame))) = poll(&mut body) else {
                panic!("trailers")
            };
            assert_eq!(frame.into_trailers().expect("trailers"), trailers());
            assert!(matches!(poll(&mut body), Poll::Ready(None)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pending_then_woken() {
    for body in both(|| MockBody::new().then_yield().data("a")) {
        let mut body = task::spawn(body);
        assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
        assert!(body.is_woken());
        expect_data(body.enter(|cx, body| body.poll_frame(cx)), "a");
    }
}

#[tokio::test(start_paused = true)]
async fn error_is_the_end() {
    let mut body = stream(MockBody::new().data("a").error("reset"));
    expect_data(poll(&mut body), "a");
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn size_is_the_inner_ones_unless_the_body_may_be_cut() {
    let [mut passing, mut expiring] = both(|| MockBody::new().data("ab").data("c").exact());
    assert_eq!(passing.size_hint().exact(), Some(3));
    assert_eq!(expiring.size_hint().exact(), None);
    expect_data(poll(&mut passing), "ab");
    expect_data(poll(&mut expiring), "ab");
    assert_eq!(passing.size_hint().exact(), Some(1));
    assert_eq!(expiring.size_hint().exact(), None);
    expect_data(poll(&mut passing), "c");
    expect_data(poll(&mut expiring), "c");
    for body in [passing, expiring] {
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
    }
}

#[test]
fn default_is_empty_whatever_the_inner_body_is() {
    struct NoDefault;
    fn assert_default<B: Default>() {}
    assert_default::<ResponseBody<NoDefault>>();
    expect_end(&mut ResponseBody::default());
}

#[tokio::test(start_paused = true)]
async fn dropped_mid_stream_drops_the_inner_body() {
    let inner = MockBody::new().data("a").stall();
    let polls = inner.polls();
    let mut body = stream(inner);
    expect_data(poll(&mut body), "a");
    assert_pending!(poll(&mut body));
    drop(body);
    assert_eq!(std::rc::Rc::strong_count(&polls), 1);
}

#[tokio::test(start_paused = true)]
async fn t25_quiet_stream_ends_with_its_token_and_lets_go_of_the_inner_body() {
    let inner = MockBody::new().data("data: a\n\n").stall();
    let polls = inner.polls();
    let mut body = task::spawn(stream(inner));
    expect_data(body.enter(|cx, body| body.poll_frame(cx)), "data: a\n\n");
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    advance(LIFE - Duration::from_millis(1)).await;
    assert!(!body.is_woken());
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    advance(Duration::from_millis(1)).await;
    assert!(body.is_woken());
    expect_data(body.enter(|cx, body| body.poll_frame(cx)), RETRY);
    assert_eq!(std::rc::Rc::strong_count(&polls), 1, "it is dropped");
    let mut body = body.into_inner();
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn t25_stream_that_is_never_quiet_ends_too() {
    let inner = MockBody::new()
        .data("data: a\n\n")
        .data("data: b\n\n")
        .data("data: never\n\n");
    let mut body = stream(inner);
    expect_data(poll(&mut body), "data: a\n\n");
    advance(LIFE).await;
    // What is there at the same time as the end is not lost.
    expect_data(poll(&mut body), "data: b\n\n");
    expect_data(poll(&mut body), RETRY);
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn t25_event_that_is_half_sent_is_sent_whole_and_nothing_of_the_next() {
    let inner = MockBody::new()
        .data("data: a\n\ndata: b")
        .then_yield()
        .data("bb")
        .data("b\n\ndata: never\n\n");
    let mut body = stream(inner);
    expect_data(poll(&mut body), "data: a\n\ndata: b");
    advance(LIFE).await;
    assert_pending!(poll(&mut body));
    expect_data(poll(&mut body), "bb");
    expect_data(poll(&mut body), "b\n\n");
    expect_data(poll(&mut body), RETRY);
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn t25_event_that_does_not_end_is_cut() {
    let inner = MockBody::new().data("data: a").stall();
    let mut body = task::spawn(stream(inner));
    expect_data(body.enter(|cx, body| body.poll_frame(cx)), "data: a");
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    advance(LIFE).await;
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    advance(EVENT_GRACE).await;
    assert!(body.is_woken());
    // Nothing is said in the middle of an event.
    let ended = assert_ready!(body.enter(|cx, body| body.poll_frame(cx)));
    assert!(ended.is_none());

    let inner = MockBody::new()
        .data("data: a")
        .data("b")
        .data("c")
        .data("d");
    let mut body = stream(inner);
    expect_data(poll(&mut body), "data: a");
    advance(LIFE).await;
    expect_data(poll(&mut body), "b");
    advance(EVENT_GRACE).await;
    expect_data(poll(&mut body), "c");
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn t25_stateless_client_is_not_asked_to_come_back() {
    let expiry = Expiry {
        retry: None,
        ..expiry()
    };
    let mut body = ResponseBody::expiring(MockBody::new().stall(), expiry, true);
    assert_pending!(poll(&mut body));
    advance(LIFE).await;
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn t25_encoded_stream_ends_where_it_is() {
    let inner = MockBody::new().data("\u{1f}\u{8b}\n\n").stall();
    let mut body = ResponseBody::expiring(inner, expiry(), false);
    expect_data(poll(&mut body), "\u{1f}\u{8b}\n\n");
    assert_pending!(poll(&mut body));
    advance(LIFE).await;
    expect_end(&mut body);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_expire_goes_on() {
    let mut body = ResponseBody::passing(MockBody::new().then_yield().data("data: a\n\n"));
    assert_pending!(poll(&mut body));
    advance(LIFE * 1_000).await;
    expect_data(poll(&mut body), "data: a\n\n");
}
