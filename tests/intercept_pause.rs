//! Messages that are held until somebody decides about them.

mod intercept_support;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use intercept_support::{
    CALL, LIST, LOG, Live, NOTE, RESULT, Seen, Server, all, back, data, events, noting, post,
    requests,
};
use shadowcat::{
    intercept::{
        Direction, HeldMessage, InterceptLayer, Links, Pause, PauseError, PauseHandle, Verdict,
    },
    jsonrpc::{ErrorObject, Kind},
    replay::ReplayLayer,
    sse::{Decoder, EventId, Frame},
};
use tokio_test::{assert_pending, assert_ready, task::spawn};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// The one message that is held.
fn held(pauses: &PauseHandle) -> HeldMessage {
    let mut all = pauses.list();
    assert_eq!(all.len(), 1, "one is held");
    all.remove(0)
}

/// A layer that holds all requests, between two interceptors that note what they see.
fn holding(pause: Pause, seen: &Seen) -> InterceptLayer<impl Links> {
    let hold = requests(move |_, _| Verdict::Pause(pause));
    InterceptLayer::new((noting("before", seen), hold, noting("after", seen)))
}

#[tokio::test(start_paused = true)]
async fn held_request_is_released_changed_or_refused_and_nothing_is_sent_before() {
    let seen = Seen::default();
    let layer = holding(Pause::new(), &seen);
    let (handle, server) = (layer.handle(), Server::json(RESULT));
    let pauses = handle.pauses();
    for what in ["release", "replace", "refuse"] {
        let mut call = spawn(layer.layer(server.clone()).call(post(CALL)));
        assert_pending!(call.poll());
        assert_eq!(seen.take(), ["before ToServer Request"]);
        tokio::time::advance(Duration::from_secs(3)).await;
        let held = held(&pauses);
        assert_eq!(held.direction(), Direction::ToServer);
        assert_eq!(held.kind(), Kind::Request);
        assert_eq!(held.method().as_deref(), Some("tools/call"));
        assert_eq!((held.preview(), held.message().as_str()), (CALL, CALL));
        assert_eq!(held.age(), Duration::from_secs(3));
        assert_eq!(held.left(), Duration::from_secs(297));
        assert!(!server.was_asked() && !call.is_woken());
        let changed = CALL.replace("echo", "other");
        let decided = match what {
            "release" => pauses.release(held.id()),
            "replace" => {
                let other = CALL.replace(":7,", ":8,");
                let error = pauses.replace(held.id(), other).expect_err("another id");
                assert_eq!(error, PauseError::InvalidMessage);
                assert!(!call.is_woken(), "it is still held");
                pauses.replace(held.id(), changed.clone())
            }
            _ => pauses.refuse(held.id(), ErrorObject::new(-1, "no")),
        };
        decided.expect("it was held");
        // Once.
        assert_eq!(pauses.release(held.id()), Err(PauseError::NotHeld));
        assert!(pauses.list().is_empty());
        assert!(call.is_woken());
        let Ok(response) = call.await;
        let body = response.into_body().collect().await.expect("a body");
        let body = String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8");
        match what {
            "refuse" => {
                assert!(
                    body.contains(r#""id":7,"error":{"code":-1,"message":"no""#),
                    "{body}"
                );
                assert!(!server.was_asked());
                assert_eq!(seen.take(), ["before ToClient Response"]);
            }
            what => {
                assert_eq!(body, RESULT);
                let sent = if what == "replace" { &changed } else { CALL };
                assert_eq!(server.one().1, sent);
                assert_eq!(seen.take().len(), 3);
            }
        }
    }
    let stats = handle.stats();
    assert_eq!(
        (stats.paused_total, stats.expired_total, stats.held),
        (3, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn deadline_decides_if_nobody_does() {
    let deadline = Duration::from_secs(60);
    for (pause, is_released) in [
        (Pause::new().with_deadline(deadline), false),
        (Pause::new().with_deadline(deadline).or_release(), true),
    ] {
        let layer = holding(pause, &Seen::default());
        let server = Server::json(RESULT);
        let start = tokio::time::Instant::now();
        let call = layer.layer(server.clone()).oneshot(post(CALL));
        let Ok(response) = tokio::time::timeout(2 * deadline, call)
            .await
            .expect("in time");
        assert_eq!(start.elapsed(), deadline);
        assert_eq!(response.status(), 200);
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        assert_eq!(server.was_asked(), is_released);
        assert_eq!(
            body.starts_with(br#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403"#),
            !is_released
        );
        assert_eq!(layer.handle().stats().expired_total, 1);
    }
}

/// Bounded: one more is as if its deadline had passed.
#[tokio::test(start_paused = true)]
async fn no_more_are_held_than_may_be() {
    let layer = holding(Pause::new(), &Seen::default())
        .with_max_held(2)
        .with_max_held_per_owner(2);
    let server = Server::json(RESULT);
    let pauses = layer.handle().pauses();
    let mut calls: Vec<_> = (0..2)
        .map(|_| spawn(layer.layer(server.clone()).call(post(CALL))))
        .collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    let start = tokio::time::Instant::now();
    let Ok(refused) = layer.layer(server.clone()).oneshot(post(LIST)).await;
    let body = refused
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":"a","error":{"code":-31403"#));
    assert!(start.elapsed().is_zero(), "at once");
    let ids: Vec<_> = pauses.list().iter().map(HeldMessage::id).collect();
    assert!(ids.is_sorted(), "oldest first");
    // A held request ends with its client.
    drop(calls.remove(0));
    assert_eq!(held(&pauses).id(), ids[1]);
    assert_eq!(pauses.release(ids[0]), Err(PauseError::NotHeld));
    let mut next = spawn(layer.layer(server.clone()).call(post(LIST)));
    assert_pending!(next.poll());
    assert_eq!(pauses.list().len(), 2);
    assert!(!server.was_asked());
    assert_eq!(layer.handle().stats().held, 2);
    // A number is what others know it by.
    let text = ids[1].to_string();
    assert_eq!(text.parse(), Ok(ids[1]));
}

#[tokio::test(start_paused = true)]
async fn held_event_keeps_its_place_and_others_their_order() {
    let layer = InterceptLayer::new(back(|_, message| match message.kind() {
        Kind::Response => Verdict::Pause(Pause::new()),
        _ => Verdict::Continue,
    }));
    let pauses = layer.handle().pauses();
    let (live, say) = Live::new("text/event-stream");
    let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body());
    let mut next = move || body.enter(|cx, body| body.poll_frame(cx));
    say.send(events(&[LOG, RESULT, LOG]).into())
        .expect("it is read");
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), events(&[LOG]));
    assert_pending!(next());
    let held = held(&pauses);
    assert_eq!(
        (held.direction(), held.preview()),
        (Direction::ToClient, RESULT)
    );
    let changed = RESULT.replace("1.0", "2");
    pauses
        .replace(held.id(), changed.clone())
        .expect("it is held");
    let frame = assert_ready!(next()).expect("a frame").expect("no error");
    assert_eq!(frame.into_data().expect("data"), events(&[&changed, LOG]));
    assert_pending!(next());
}

#[tokio::test(start_paused = true)]
async fn json_reply_and_notification_can_be_held_too() {
    let layer = InterceptLayer::new(all(|_, message| match message.kind() {
        Kind::Request => Verdict::Continue,
        _ => Verdict::Pause(Pause::new()),
    }));
    let (pauses, server) = (layer.handle().pauses(), Server::json(RESULT));
    let Ok(response) = layer.layer(server.clone()).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body().collect());
    assert_pending!(body.poll());
    pauses
        .refuse(held(&pauses).id(), ErrorObject::new(-1, "no"))
        .expect("held");
    let body = assert_ready!(body.poll()).expect("a body").to_bytes();
    assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":7,"error":{"code":-1"#));
    server.one();
    let mut call = spawn(layer.layer(server.clone()).call(post(NOTE)));
    assert_pending!(call.poll());
    pauses
        .refuse(held(&pauses).id(), ErrorObject::new(-1, "no"))
        .expect("held");
    let Ok(response) = assert_ready!(call.poll());
    assert_eq!(response.status(), 403);
    assert!(!server.was_asked());
}

#[test]
fn preview_of_a_long_message_ends_between_two_characters() {
    let layer = holding(Pause::new(), &Seen::default());
    let long = CALL.replace("echo", &"ä€".repeat(500));
    let mut call = spawn(layer.layer(Server::json(RESULT)).call(post(&long)));
    assert_pending!(call.poll());
    let held = held(&layer.handle().pauses());
    let preview = held.preview();
    assert!(preview.len() > 508 && preview.len() <= HeldMessage::MAX_PREVIEW_BYTES);
    assert!(long.starts_with(preview));
    assert!(
        !format!("{held:?}").contains("arguments"),
        "data is not shown"
    );
}

fn of_a_session(method: &str, body: &str) -> Request<Full<Bytes>> {
    let request = Request::builder()
        .method(method)
        .uri("/mcp")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2025-11-25");
    request.body(Full::from(body.to_owned())).expect("valid")
}

/// The id of the first event in `chunk`.
fn cursor(chunk: &Bytes) -> EventId {
    let mut decoder = Decoder::new();
    let mut chunk = chunk.clone();
    while let Some(frame) = decoder.decode(&mut chunk).expect("small") {
        if let Frame::Event(event) = frame {
            return EventId::decode(event.id().expect("an id")).expect("ours");
        }
    }
    panic!("no event in {chunk:?}");
}

/// With replay outside, a held event outlives its client's connection, and is there when that is back.
#[tokio::test(start_paused = true)]
async fn held_event_survives_its_client_if_replay_is_outside() {
    let intercept = InterceptLayer::new(back(|_, message| match message.kind() {
        Kind::Response => Verdict::Pause(Pause::new()),
        _ => Verdict::Continue,
    }));
    let pauses = intercept.handle().pauses();
    let (live, say) = Live::new("text/event-stream");
    let service = ServiceBuilder::new()
        .layer(ReplayLayer::default())
        .layer(intercept)
        .service(live);
    let Ok(response) = service.clone().oneshot(of_a_session("POST", CALL)).await;
    let response: Response<_> = response;
    let mut body = response.into_body();
    say.send(events(&[LOG, RESULT]).into()).expect("it is read");
    let mut first = Bytes::new();
    while !first.starts_with(b"id:") {
        let frame = body.frame().await.expect("a frame").expect("no error");
        first = frame.into_data().expect("data");
    }
    let cursor = cursor(&first);
    while pauses.list().is_empty() {
        let frame = tokio::time::timeout(Duration::from_millis(1), body.frame()).await;
        assert!(frame.is_err() || pauses.list().is_empty());
    }
    drop(body);
    // Somebody takes a minute to decide.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!say.is_closed(), "the stream goes on");
    pauses.release(held(&pauses).id()).expect("it is held");
    let mut resume = of_a_session("GET", "");
    let value = http::HeaderValue::from_bytes(&cursor.encode()).expect("ASCII");
    resume.headers_mut().insert("last-event-id", value);
    let Ok(response) = service.oneshot(resume).await;
    assert_eq!(response.status(), 200);
    let rest = response
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    let rest = String::from_utf8(rest.to_vec()).expect("UTF-8");
    assert_eq!(data(&rest).last().map(String::as_str), Some(RESULT));
}

/// Without it, it ends with its client.
#[tokio::test(start_paused = true)]
async fn held_event_ends_with_its_client_if_nothing_outside_goes_on() {
    let layer = InterceptLayer::new(back(|_, _| Verdict::Pause(Pause::new())));
    let (live, say) = Live::new("text/event-stream");
    let Ok(response) = layer.layer(live).oneshot(post(CALL)).await;
    let mut body = spawn(response.into_body());
    say.send(events(&[LOG]).into()).expect("it is read");
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    let id = held(&layer.handle().pauses()).id();
    drop(body);
    assert!(say.is_closed(), "the server is told");
    assert_eq!(
        layer.handle().pauses().release(id),
        Err(PauseError::NotHeld)
    );
    assert_eq!(layer.handle().stats().held, 0);
}
