use std::{error::Error, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue};
use tokio_test::{assert_pending, assert_ready, task::spawn};

use super::{
    super::{
        Interest, Links, Verdict,
        context::Exchange,
        framing::Framing,
        inspect::Inspector,
        interest::Sorts,
        layer::{Config, Shared},
        sync_fn,
        values::Values,
    },
    *,
};
use crate::{mock_body::MockBody, sse::Decoder};

const LOG: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n\n";

fn inspected(body: MockBody) -> ResponseBody<MockBody> {
    inspected_as(Framing::Events(Decoder::with_max_event_bytes(1000)), body)
}

fn inspected_as(framing: Framing, body: MockBody) -> ResponseBody<MockBody> {
    fn inspector<L: Links>(links: L, framing: Framing) -> Inspector<L> {
        let shared = Shared {
            links: Arc::new(links),
            config: Config {
                max_message_bytes: 1000,
                keep_alive: None,
                ..Config::DEFAULT
            },
            state: Arc::default(),
        };
        let exchange = Exchange::new(http::Extensions::new(), Box::default());
        let wants = Sorts::CALLS.or(Sorts::RESPONSES);
        Inspector::new(Arc::new(shared), exchange, wants, framing)
    }

    let identity = sync_fn(Interest::all(), |_, _| Verdict::Continue);
    ResponseBody::inspected(body, Box::pin(inspector(identity, framing)))
}

/// Polls `body` by hand until it ends; every frame as text.
macro_rules! frames {
    ($body:expr) => {{
        let mut task = spawn($body);
        let mut seen = Vec::new();
        loop {
            match task.enter(|cx, body| body.poll_frame(cx)) {
                Poll::Ready(Some(Ok(frame))) => seen.push(match frame.into_data() {
                    Ok(data) => String::from_utf8_lossy(&data).into_owned(),
                    Err(_) => "trailers".to_owned(),
                }),
                Poll::Ready(Some(Err(error))) => seen.push(format!("error: {error}")),
                Poll::Ready(None) => {
                    // And stays so.
                    let again = task.enter(|cx, body| body.poll_frame(cx));
                    assert!(matches!(again, Poll::Ready(None)));
                    break seen;
                }
                Poll::Pending => assert!(task.is_woken(), "stalled after {seen:?}"),
            }
        }
    }};
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    trailers
}

/// Both kinds treat what is no message alike.
fn both() -> [fn(MockBody) -> ResponseBody<MockBody>; 2] {
    [ResponseBody::passing, inspected]
}

#[test]
fn data_and_trailers_pass() {
    for make in both() {
        assert_eq!(frames!(make(MockBody::new().data(LOG))), [LOG]);
        let body = MockBody::new().data(LOG).then_yield().data(LOG);
        assert_eq!(
            frames!(make(body.trailers(trailers()))),
            [LOG, LOG, "trailers"]
        );
        let body = MockBody::new().trailers(trailers());
        assert_eq!(frames!(make(body)), ["trailers"]);
    }
}

#[test]
fn an_empty_body_is_over() {
    for make in both() {
        assert!(frames!(make(MockBody::new())).is_empty());
        assert!(frames!(make(MockBody::new().knows_end())).is_empty());
    }
}

#[test]
fn the_end_is_known_by_none_and_by_is_end_stream() {
    for make in both() {
        let body = MockBody::new().data(LOG).knows_end();
        let polls = body.polls();
        assert_eq!(frames!(make(body)), [LOG]);
        // One who says that it is over may not like to be polled.
        assert!(polls.get() <= 2, "{}", polls.get());
    }
    let body = MockBody::new().data(LOG).knows_end();
    let polls = body.polls();
    frames!(inspected(body));
    assert_eq!(polls.get(), 1);
}

#[test]
fn an_error_comes_once_and_lets_go_of_the_body() {
    for make in both() {
        let body = MockBody::new().data(LOG).data(LOG).error("reset");
        let polls = body.polls();
        let mut task = spawn(make(body));
        for _ in 0..2 {
            let frame = assert_ready!(task.enter(|cx, body| body.poll_frame(cx)));
            assert!(frame.expect("a frame").is_ok());
        }
        let error = assert_ready!(task.enter(|cx, body| body.poll_frame(cx)));
        let error = error.expect("an error").expect_err("the body broke");
        assert_eq!(error.to_string(), "the response broke off");
        assert_eq!(error.source().expect("a cause").to_string(), "reset");
        assert_eq!(Rc::strong_count(&polls), 1, "it is gone");
        assert!(assert_ready!(task.enter(|cx, body| body.poll_frame(cx))).is_none());
    }
}

#[test]
fn the_end_lets_go_of_the_body_before_what_is_held_is_read() {
    let body = MockBody::new().data("{\"half");
    let polls = body.polls();
    let mut task = spawn(inspected_as(Framing::Values(Values::new(1000)), body));
    let frame = assert_ready!(task.enter(|cx, body| body.poll_frame(cx)));
    let data = frame.expect("a frame").expect("no error").into_data();
    assert_eq!(data.expect("data"), "{\"half");
    assert_eq!(Rc::strong_count(&polls), 1, "it is gone");
    assert!(assert_ready!(task.enter(|cx, body| body.poll_frame(cx))).is_none());
}

#[test]
fn an_event_that_is_not_finished_never_was() {
    // SWF-9.
    let body = MockBody::new().data(LOG).data("data: half");
    assert_eq!(frames!(inspected(body)), [LOG]);
    let body = MockBody::new()
        .data("data: ha")
        .data("lf\n\nda")
        .data("ta: x\n\n");
    assert_eq!(frames!(inspected(body)), ["data: half\n\n", "data: x\n\n"]);
}

#[test]
fn whoever_waits_is_woken_by_the_body() {
    for make in both() {
        let body = MockBody::new().stall();
        let stalled = body.stalled();
        let mut task = spawn(make(body));
        assert_pending!(task.enter(|cx, body| body.poll_frame(cx)));
        stalled.take().expect("the waker was kept").wake();
        assert!(task.is_woken());
    }
}

#[test]
fn a_dropped_body_drops_the_inner_one() {
    for make in both() {
        let body = MockBody::new().stall();
        let polls = body.polls();
        let mut task = spawn(make(body));
        assert_pending!(task.enter(|cx, body| body.poll_frame(cx)));
        assert_eq!(Rc::strong_count(&polls), 2);
        drop(task);
        assert_eq!(Rc::strong_count(&polls), 1);
    }
}

#[test]
fn one_who_never_completes_a_message_lets_others_run() {
    // C62.
    let mut body = MockBody::new();
    for _ in 0..200 {
        body = body.data(":");
    }
    let mut task = spawn(inspected(body.data("\n")));
    let mut pendings = 0;
    while task.enter(|cx, body| body.poll_frame(cx)).is_pending() {
        assert!(task.is_woken());
        pendings += 1;
    }
    assert_eq!(pendings, 3);
}

#[test]
fn only_what_is_not_inspected_has_a_known_size() {
    let body = ResponseBody::passing(MockBody::new().data("abc").exact());
    assert_eq!(body.size_hint().exact(), Some(3));
    assert!(!body.is_end_stream());
    let mut task = spawn(body);
    assert!(assert_ready!(task.enter(|cx, body| body.poll_frame(cx))).is_some());
    assert_eq!(task.size_hint().exact(), Some(0));
    assert!(task.is_end_stream());

    let mut task = spawn(inspected(MockBody::new().data(LOG).exact()));
    assert_eq!(
        (task.size_hint().lower(), task.size_hint().upper()),
        (0, None)
    );
    assert!(!task.is_end_stream());
    assert!(assert_ready!(task.enter(|cx, body| body.poll_frame(cx))).is_some());
    // Something may still be held.
    assert!(!task.is_end_stream());
    assert!(assert_ready!(task.enter(|cx, body| body.poll_frame(cx))).is_none());
    assert!(task.is_end_stream());
    assert_eq!(task.size_hint().exact(), Some(0));
}

#[test]
fn fixed_and_default_bodies_have_their_bytes() {
    let body = ResponseBody::<MockBody>::fixed(Bytes::from_static(b"refused"));
    assert_eq!(body.size_hint().exact(), Some(7));
    assert_eq!(frames!(body), ["refused"]);
    let body = ResponseBody::<MockBody>::default();
    assert!(body.is_end_stream());
    assert!(frames!(body).is_empty());
}

#[test]
fn a_chunk_that_nobody_changes_is_not_copied() {
    let chunk = Bytes::from(LOG.repeat(3));
    let start = chunk.as_ptr();
    let mut task = spawn(inspected(MockBody::new().data(chunk)));
    let frame = assert_ready!(task.enter(|cx, body| body.poll_frame(cx)));
    let data = frame.expect("a frame").expect("no error").into_data();
    let data = data.expect("data");
    assert_eq!((data.as_ptr(), data.len()), (start, LOG.len() * 3));
}
