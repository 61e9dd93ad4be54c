//! Events while somebody waits for one of them, and what is known of each.

mod intercept_support;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use intercept_support::{
    CALL, LOG, Live, RESULT, Seen, Server, all, ask, back, data, events, post,
};
use shadowcat::{
    intercept::{self, Direction, InterceptLayer, Interest, Verdict},
    jsonrpc::Kind,
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, ServiceExt, service_fn};

fn delaying(time: Duration) -> InterceptLayer<impl intercept::Links> {
    InterceptLayer::new(back(move |_, _| Verdict::Delay(time)))
}

/// SWF-2: behind a comment it would make the first line one that nobody knows.
#[tokio::test(start_paused = true)]
async fn byte_order_mark_does_not_stand_behind_a_comment() {
    for (seconds, comment) in [(20, ":\n\n"), (5, "\u{feff}")] {
        let (live, say) = Live::new("text/event-stream");
        let layer = delaying(Duration::from_secs(seconds));
        let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
        let stream = events(&[LOG, RESULT]);
        say.send(format!("\u{feff}{stream}").into())
            .expect("it is read");
        // One in the middle is a line of its own, that nobody knows.
        say.send(format!("\u{feff}x\n{stream}").into())
            .expect("it is read");
        drop(say);
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let body = std::str::from_utf8(&body).expect("UTF-8");
        assert!(body.starts_with(&format!("{comment}data: ")), "{body:?}");
        assert_eq!(data(body), [LOG, RESULT, LOG, RESULT]);
        assert!(body.contains("\n\u{feff}x\ndata: "), "{body:?}");
    }
    // Behind what has left there is nothing to take away.
    let (live, say) = Live::new("text/event-stream");
    let Ok(response) = delaying(Duration::from_secs(20))
        .layer(live)
        .oneshot(post(CALL))
        .await;
    say.send(format!("\u{feff}: hi\n\n{}", events(&[LOG])).into())
        .expect("it is read");
    drop(say);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(body, format!("\u{feff}: hi\n\n:\n\n{}", events(&[LOG])));
}

/// SSE-14: each event is waited for anew.
#[tokio::test(start_paused = true)]
async fn no_comment_is_sent_to_whoever_has_just_had_an_event() {
    let (live, say) = Live::new("text/event-stream");
    let layer = delaying(Duration::from_secs(10));
    let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body());
    let mut next = move || body.enter(|cx, body| body.poll_frame(cx));
    say.send(events(&[LOG, LOG, LOG]).into())
        .expect("it is read");
    assert_pending!(next());
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(10)).await;
        let frame = assert_ready!(next()).expect("a frame").expect("no error");
        assert_eq!(frame.into_data().expect("data"), events(&[LOG]));
        assert_pending!(next());
    }
}

/// D14: a stream with comments between its events, and with trailers.
#[tokio::test(start_paused = true)]
async fn d14_stream_with_comments_and_trailers_can_be_given_up_at_any_point() {
    const LAST: usize = 40;
    let layer = delaying(Duration::from_millis(5)).with_keep_alive(Some(Duration::from_millis(2)));
    let mut most = Vec::new();
    for stop in 0..LAST {
        let inner = service_fn(|_: Request<Full<Bytes>>| {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("1"));
            let frames = [
                Frame::data(Bytes::from(events(&[LOG, RESULT]))),
                Frame::trailers(trailers),
            ];
            let body = StreamBody::new(tokio_stream::iter(frames.map(Ok::<_, Infallible>)));
            let response = Response::builder().header("content-type", "text/event-stream");
            std::future::ready(Ok::<_, Infallible>(response.body(body).expect("valid")))
        });
        let Ok(response) = layer.layer(inner).oneshot(post(CALL)).await;
        let mut body = spawn(response.into_body());
        let mut seen = Vec::new();
        for _ in 0..stop {
            if let std::task::Poll::Ready(Some(frame)) = body.enter(|cx, body| body.poll_frame(cx))
            {
                seen.push(match frame.expect("no error").into_data() {
                    Ok(data) => String::from_utf8(data.to_vec()).expect("UTF-8"),
                    Err(_) => "trailers".to_owned(),
                });
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        seen.retain(|frame| frame != ":\n\n");
        let whole = [events(&[LOG]), events(&[RESULT]), "trailers".to_owned()];
        assert_eq!(seen, whole[..seen.len()], "at {stop}");
        assert!(seen.len() >= most.len(), "at {stop}");
        most = seen;
    }
    assert_eq!(most.len(), 3);
}

/// Each response is known by its id, of however many requests, and of two with one id the first counts.
#[tokio::test]
async fn responses_find_their_request_among_many() {
    for count in [1, 3, 8, 9, 500] {
        let request = |nth: usize, method: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","id":"r\u00{:02x}{nth}","method":"{method}"}}"#,
                0x61
            )
        };
        let mut all: Vec<_> = (0..count)
            .map(|nth| request(nth, &format!("m{nth}")))
            .collect();
        all.push(request(0, "second"));
        let answers: Vec<_> = (0..count + 1)
            .rev()
            .map(|nth| format!(r#"{{"jsonrpc":"2.0","id":"ra{nth}","result":0}}"#))
            .collect();
        let answers: Vec<_> = answers.iter().map(|text| &**text).collect();
        let seen = Seen::default();
        let noted = seen.clone();
        let layer = InterceptLayer::new(back(move |cx, _| {
            let method = cx.request().and_then(|request| request.envelope().method());
            noted.note(method.unwrap_or_default());
            Verdict::Continue
        }));
        let batch = format!("[{}]", all.join(","));
        ask(&layer, &Server::stream(&events(&answers)), post(&batch)).await;
        let expected: Vec<_> = std::iter::once(String::new())
            .chain((0..count).rev().map(|nth| format!("m{nth}")))
            .collect();
        assert_eq!(seen.take(), expected, "{count}");
    }
}

/// What is answered on the way comes back as the answer to that request.
#[tokio::test]
async fn own_answer_is_known_by_its_request() {
    let seen = Seen::default();
    let noted = seen.clone();
    let responses = Interest::exchanges("tools/call");
    let watching = intercept::sync_fn(responses, move |cx, message| {
        if cx.direction() == Direction::ToClient {
            let request = cx.request().and_then(|request| request.envelope().method());
            noted.note(format!("{:?} {request:?}", message.kind()));
        }
        Verdict::Continue
    });
    let answering = all(|cx, message| match (cx.direction(), message.kind()) {
        (Direction::ToServer, Kind::Request) => Verdict::Respond("{}".into()),
        _ => Verdict::Continue,
    });
    let layer = InterceptLayer::new((watching, answering));
    let server = Server::json(RESULT);
    ask(&layer, &server, post(CALL)).await;
    assert!(!server.was_asked());
    assert_eq!(seen.take(), [r#"Response Some("tools/call")"#]);
}

/// A60.
#[tokio::test]
async fn a60_result_that_is_too_long_is_a_failure() {
    let long = |len: usize| format!("\"{}\"", "x".repeat(len - 2));
    for (len, passes) in [(200, true), (201, false)] {
        let mock = Bytes::from(long(len));
        let layer = InterceptLayer::new(back(move |_, _| Verdict::Respond(mock.clone())));
        let layer = layer.with_max_message_bytes(200);
        let had = ask(&layer, &Server::json(RESULT), post(CALL)).await;
        assert_eq!(had.body.contains("xxx"), passes, "{}", had.body);
        assert_eq!(layer.handle().stats().failed_total, u64::from(!passes));
    }
}
