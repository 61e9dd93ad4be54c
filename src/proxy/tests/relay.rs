//! The body checklist, over a scripted body; the outcome is read from the gauges.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tokio::{
    task::{coop::consume_budget, yield_now},
    time::advance,
};
use tokio_test::{
    assert_pending, assert_ready,
    task::{Spawn, spawn},
};

use crate::{
    mock_body::MockBody,
    proxy::{
        BodyError, BodyErrorKind, Gauges,
        body::{Options, Relay},
        merge::Merge,
    },
};

const STREAM: Options = Options {
    is_event_stream: true,
    merge: true,
    idle: None,
};

const PLAIN: Options = Options {
    is_event_stream: false,
    ..STREAM
};

fn relay(body: MockBody, options: Options) -> (Spawn<Pin<Box<Relay<MockBody>>>>, Gauges) {
    let gauges = Gauges::default();
    (
        spawn(Box::pin(Relay::new(body, options, gauges.start()))),
        gauges,
    )
}

fn poll(
    task: &mut Spawn<Pin<Box<Relay<MockBody>>>>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    task.enter(|cx, body| body.poll_frame(cx))
}

/// Polls for as long as the body itself asks for it.
fn next(
    task: &mut Spawn<Pin<Box<Relay<MockBody>>>>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    loop {
        let polled = poll(task);
        if polled.is_ready() || !task.is_woken() {
            return polled;
        }
    }
}

fn data(task: &mut Spawn<Pin<Box<Relay<MockBody>>>>) -> Bytes {
    let frame = assert_ready!(next(task))
        .expect("a frame")
        .expect("no error");
    frame.into_data().expect("data")
}

fn ended(task: &mut Spawn<Pin<Box<Relay<MockBody>>>>) {
    for _ in 0..3 {
        assert!(assert_ready!(poll(task)).is_none(), "`None` stays `None`");
        assert!(task.is_end_stream());
    }
}

fn outcomes(gauges: &Gauges) -> [u64; 4] {
    [
        gauges.in_flight(),
        gauges.completed(),
        gauges.failed(),
        gauges.cancelled(),
    ]
}

const COMPLETE: [u64; 4] = [0, 1, 0, 0];
const FAILED: [u64; 4] = [0, 0, 1, 0];
const CANCELLED: [u64; 4] = [0, 0, 0, 1];

#[test]
fn data_then_end() {
    let (mut task, gauges) = relay(MockBody::new().data("a"), STREAM);
    assert_eq!(outcomes(&gauges), [1, 0, 0, 0]);
    assert_eq!(data(&mut task), "a");
    ended(&mut task);
    drop(task);
    assert_eq!(outcomes(&gauges), COMPLETE);
}

#[test]
fn data_then_trailers_without_those_that_may_not_cross() {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    trailers.insert("authorization", HeaderValue::from_static("Bearer x"));
    let (mut task, gauges) = relay(MockBody::new().data("a").trailers(trailers), STREAM);
    assert_eq!(data(&mut task), "a");
    assert!(!task.is_end_stream(), "trailers are still held");
    let frame = assert_ready!(next(&mut task))
        .expect("trailers")
        .expect("no error");
    let trailers = frame.into_trailers().expect("trailers");
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-checksum"], "1");
    ended(&mut task);
    drop(task);
    assert_eq!(outcomes(&gauges), COMPLETE);
}

#[test]
fn trailers_only() {
    let (mut task, gauges) = relay(MockBody::new().trailers(HeaderMap::new()), STREAM);
    let frame = assert_ready!(next(&mut task))
        .expect("trailers")
        .expect("no error");
    assert!(frame.is_trailers());
    ended(&mut task);
    assert_eq!(outcomes(&gauges), COMPLETE);
}

#[test]
fn body_that_is_over_from_the_start_is_never_polled() {
    let body = MockBody::new().knows_end();
    let polls = body.polls();
    let (task, gauges) = relay(body, PLAIN);
    assert!(task.is_end_stream());
    assert_eq!(outcomes(&gauges), COMPLETE);
    drop(task);
    assert_eq!(polls.get(), 0);
    assert_eq!(outcomes(&gauges), COMPLETE);
}

#[test]
fn end_known_by_the_flag_is_told_with_the_last_frame() {
    let (mut task, gauges) = relay(MockBody::new().data("a").data("b").exact(), PLAIN);
    assert_eq!(data(&mut task), "ab");
    assert!(task.is_end_stream());
    assert_eq!(outcomes(&gauges), COMPLETE);
    ended(&mut task);
}

#[test]
fn error_comes_after_the_data_before_it() {
    let body = MockBody::new().data("a").data("b").error("reset");
    let (mut task, gauges) = relay(body, STREAM);
    assert_eq!(data(&mut task), "ab");
    assert!(!task.is_end_stream(), "hyper must still see the error");
    let error = assert_ready!(next(&mut task))
        .expect("an error")
        .expect_err("not a clean end");
    assert_eq!(error.kind(), BodyErrorKind::Broken);
    let source = std::error::Error::source(&error).expect("the cause is kept");
    assert_eq!(source.to_string(), "reset");
    ended(&mut task);
    drop(task);
    assert_eq!(outcomes(&gauges), FAILED);
}

#[test]
fn server_can_write_what_came_before_an_error() {
    // hyper's server dropped the head and all data with the connection, if the error was there
    // when it took them.
    let options = Options {
        merge: false,
        ..STREAM
    };
    let (mut task, _gauges) = relay(MockBody::new().data("a").error("reset"), options);
    assert!(assert_ready!(poll(&mut task)).is_some_and(|frame| frame.is_ok()));
    assert_pending!(poll(&mut task));
    assert!(task.is_woken());
    assert!(assert_ready!(poll(&mut task)).is_some_and(|frame| frame.is_err()));
    ended(&mut task);
}

#[test]
fn drop_before_the_end_is_a_cancellation() {
    let (mut task, gauges) = relay(MockBody::new().data("a").stall(), STREAM);
    assert_eq!(data(&mut task), "a");
    assert_pending!(next(&mut task));
    drop(task);
    assert_eq!(outcomes(&gauges), CANCELLED);

    let (task, gauges) = relay(MockBody::new().data("a"), STREAM);
    drop(task);
    assert_eq!(outcomes(&gauges), CANCELLED);
}

#[test]
fn frames_that_are_there_leave_together() {
    let body = MockBody::new().data("a").data("b").data("c").stall();
    let (mut task, _gauges) = relay(body, STREAM);
    assert_eq!(data(&mut task), "abc");
    assert_pending!(poll(&mut task));
}

#[test]
fn no_byte_is_held_past_a_pending() {
    let body = MockBody::new().data("a").stall();
    let stalled = body.stalled();
    let (mut task, _gauges) = relay(body, STREAM);
    let frame = assert_ready!(poll(&mut task))
        .expect("a frame")
        .expect("no error");
    assert_eq!(frame.into_data().expect("data"), "a");
    assert_pending!(poll(&mut task));
    stalled.take().expect("inner kept the waker").wake();
    assert!(task.is_woken());
}

#[test]
fn without_merging_each_frame_leaves_at_once() {
    let options = Options {
        merge: false,
        ..STREAM
    };
    let (mut task, gauges) = relay(MockBody::new().data("a").data("b"), options);
    for expected in ["a", "b"] {
        let frame = assert_ready!(poll(&mut task))
            .expect("a frame")
            .expect("no error");
        assert_eq!(frame.into_data().expect("data"), expected);
    }
    ended(&mut task);
    assert_eq!(outcomes(&gauges), COMPLETE);
}

#[test]
fn size_hint_counts_what_is_held() {
    let large = "x".repeat(Merge::MAX_BYTES);
    let body = MockBody::new().data("abc").data(large).data("de").stall();
    let (mut task, _gauges) = relay(body.exact(), PLAIN);
    let len = Merge::MAX_BYTES as u64;
    assert_eq!(task.size_hint().exact(), Some(5 + len));
    assert_eq!(data(&mut task), "abc");
    assert_eq!(task.size_hint().exact(), Some(2 + len), "one is held");
    assert_eq!(data(&mut task).len() as u64, len);
    assert_eq!(data(&mut task), "de");
    assert_eq!(task.size_hint().exact(), Some(0));
}

#[test]
fn size_of_an_event_stream_is_unknown_sse_13() {
    let (task, _gauges) = relay(MockBody::new().data("abc").exact(), STREAM);
    assert_eq!(task.size_hint().exact(), None);
    assert_eq!(task.size_hint().lower(), 0);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_body_with_an_error() {
    let idle = Duration::from_secs(60);
    let options = Options {
        idle: Some(idle),
        ..PLAIN
    };
    let (mut task, gauges) = relay(MockBody::new().data("a").stall(), options);
    assert_eq!(data(&mut task), "a");
    assert_pending!(next(&mut task));
    advance(idle - Duration::from_millis(1)).await;
    assert_pending!(next(&mut task));
    advance(Duration::from_millis(2)).await;
    assert!(task.is_woken(), "the timer wakes");
    let error = assert_ready!(next(&mut task))
        .expect("an error")
        .expect_err("not a clean end");
    assert_eq!(error.kind(), BodyErrorKind::Idle(idle));
    assert_eq!(error.to_string(), "the upstream was silent for 60000 ms");
    ended(&mut task);
    drop(task);
    assert_eq!(outcomes(&gauges), FAILED);
}

#[tokio::test(start_paused = true)]
async fn limit_that_timers_do_not_count_to_is_the_nearest_that_they_do() {
    let longest = Duration::from_millis(u32::MAX.into());
    for (idle, counted) in [
        (Duration::ZERO, Duration::from_millis(1)),
        (Duration::from_nanos(1_000_001), Duration::from_millis(2)),
        (longest + Duration::from_millis(1), longest),
        (Duration::MAX, longest),
    ] {
        let options = Options {
            idle: Some(idle),
            ..PLAIN
        };
        let (mut task, _gauges) = relay(MockBody::new().stall(), options);
        assert_pending!(next(&mut task));
        advance(counted + Duration::from_millis(1)).await;
        let error = assert_ready!(next(&mut task))
            .expect("an error")
            .expect_err("not a clean end");
        assert_eq!(error.kind(), BodyErrorKind::Idle(counted));
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_frame() {
    let idle = Duration::from_secs(60);
    let options = Options {
        idle: Some(idle),
        merge: false,
        ..PLAIN
    };
    let body = MockBody::new()
        .then_yield()
        .data("a")
        .then_yield()
        .data("b")
        .stall();
    let (mut task, _gauges) = relay(body, options);
    assert_pending!(poll(&mut task));
    for expected in ["a", "b"] {
        advance(Duration::from_secs(50)).await;
        assert_eq!(data(&mut task), expected);
        assert_pending!(poll(&mut task));
    }
    // 150 s after the start, 50 s after the last frame.
    advance(Duration::from_secs(50)).await;
    assert_pending!(next(&mut task));
    advance(Duration::from_secs(11)).await;
    assert!(assert_ready!(next(&mut task)).is_some_and(|frame| frame.is_err()));
}

#[test]
fn upstream_is_looked_at_again_only_when_it_has_rung() {
    let body = MockBody::new().then_yield().stall();
    let (polls, stalled) = (body.polls(), body.stalled());
    let (mut task, _gauges) = relay(body, STREAM);
    for _ in 0..5 {
        assert_pending!(poll(&mut task));
    }
    assert_eq!(polls.get(), 2);
    stalled.take().expect("the upstream has a waker").wake();
    assert!(task.is_woken());
    assert_pending!(poll(&mut task));
    assert_eq!(polls.get(), 3);
}

#[test]
fn another_reader_looks_for_itself_and_is_the_one_that_is_woken() {
    let body = MockBody::new().then_yield().stall();
    let (polls, stalled) = (body.polls(), body.stalled());
    let (mut task, _gauges) = relay(body, STREAM);
    for _ in 0..3 {
        assert_pending!(poll(&mut task));
    }
    // As when a stream is taken over: another task goes on with the body.
    let mut body = spawn(task.into_inner());
    let mut poll = || body.enter(|cx, mut body| body.as_mut().poll_frame(cx));
    assert_pending!(poll());
    assert_pending!(poll());
    assert_eq!(polls.get(), 3);
    stalled.take().expect("the upstream has a waker").wake();
    assert!(body.is_woken());
}

#[test]
fn what_rings_during_the_look_is_not_missed() {
    let body = MockBody::new().then_yield().then_yield().data("a").stall();
    let (mut task, _gauges) = relay(body, STREAM);
    for _ in 0..2 {
        assert_pending!(poll(&mut task));
        assert!(task.is_woken());
    }
    assert_eq!(data(&mut task), "a");
}

#[tokio::test(start_paused = true)]
async fn timer_that_fires_together_with_data_goes_on() {
    let idle = Duration::from_secs(60);
    let options = Options {
        idle: Some(idle),
        ..PLAIN
    };
    let body = MockBody::new().then_yield().then_yield().data("a").stall();
    let (mut task, _gauges) = relay(body, options);
    assert_pending!(poll(&mut task));
    assert_pending!(poll(&mut task));
    advance(Duration::from_secs(61)).await;
    assert_eq!(data(&mut task), "a");
    assert_pending!(next(&mut task));
    advance(Duration::from_secs(61)).await;
    assert!(assert_ready!(next(&mut task)).expect("an end").is_err());
}

/// Uses up what tokio lets a task do in one turn.
async fn spend_the_turn() {
    poll_fn(|cx| {
        while pin!(consume_budget()).poll(cx).is_ready() {}
        Poll::Ready(())
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn silence_that_began_at_the_end_of_a_turn_is_ended_too() {
    let idle = Duration::from_secs(60);
    let options = Options {
        idle: Some(idle),
        ..PLAIN
    };
    let body = MockBody::new().then_yield().data("a").stall();
    let (mut task, _gauges) = relay(body, options);
    spend_the_turn().await;
    assert_pending!(poll(&mut task));
    yield_now().await;
    assert_eq!(data(&mut task), "a");
    assert_pending!(next(&mut task));
    advance(idle + Duration::from_millis(1)).await;
    assert!(task.is_woken(), "the timer wakes");
    assert!(assert_ready!(next(&mut task)).expect("an end").is_err());
}
