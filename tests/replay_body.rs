//! The replay layer's response body, polled by hand.

mod replay_support;

use std::{
    error::Error as _,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use replay_support::{FINAL, ScriptBody, Server, call, get, progress};
use shadowcat::replay::{BodyError, BodyErrorKind, ReplayLayer, ResponseBody};
use shadowcat::store::MemoryStore;

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

fn poll(body: &mut ResponseBody<ScriptBody>) -> Polled {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn text(polled: Polled) -> String {
    match polled {
        Poll::Ready(Some(Ok(frame))) => {
            let data = frame.into_data().expect("data");
            String::from_utf8(data.to_vec()).expect("UTF-8")
        }
        other => panic!("{other:?}"),
    }
}

fn server() -> Server<MemoryStore> {
    Server::new(ReplayLayer::default())
}

const V: &str = "2025-11-25";

fn json(_: &http::request::Parts) -> Response<()> {
    let response = Response::builder().header("content-type", "application/json");
    response.body(()).expect("a valid head")
}

#[tokio::test]
async fn a_body_that_is_no_stream_is_the_inner_one() {
    let server = server();
    server.answer(json);
    let mut body = server.send(call("s", V)).await.into_body();
    let (_, upstream) = server.upstream();
    assert!(!body.is_end_stream());
    assert!(poll(&mut body).is_pending());
    upstream.say("{\"a\":");
    upstream.say("1}");
    assert_eq!(text(poll(&mut body)), "{\"a\":");
    assert_eq!(text(poll(&mut body)), "1}");
    upstream.break_off();
    let Poll::Ready(Some(Err(error))) = poll(&mut body) else {
        panic!("the inner body's error")
    };
    assert_eq!(error.kind(), BodyErrorKind::Inner);
    assert_eq!(
        error.source().map(ToString::to_string).as_deref(),
        Some("reset")
    );
}

#[tokio::test]
async fn a_stream_has_no_length_and_says_when_it_is_over() {
    let server = server();
    let mut body = server.send(call("s", V)).await.into_body();
    let (_, upstream) = server.upstream();
    let unknown = |body: &ResponseBody<ScriptBody>| {
        (
            body.size_hint().lower(),
            body.size_hint().upper(),
            body.is_end_stream(),
        )
    };
    assert_eq!(unknown(&body), (0, None, false));
    assert!(text(poll(&mut body)).starts_with("id: "), "a cursor");
    assert!(poll(&mut body).is_pending());
    upstream.say(progress(1));
    assert!(text(poll(&mut body)).contains("\"progress\":1"));
    assert_eq!(unknown(&body), (0, None, false));
    upstream.say(FINAL);
    drop(upstream);
    assert!(text(poll(&mut body)).contains("result"));
    for _ in 0..2 {
        assert!(matches!(poll(&mut body), Poll::Ready(None)));
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(body.is_end_stream());
    }
}

#[tokio::test]
async fn an_error_comes_after_a_turn_for_whoever_writes() {
    // hyper drops what it has not written together with a body that fails.
    let server = server();
    let mut body = server.send(get("s", None)).await.into_body();
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    upstream.break_off();
    assert!(text(poll(&mut body)).contains("\"progress\":1"));
    assert!(poll(&mut body).is_pending());
    assert!(matches!(poll(&mut body), Poll::Ready(Some(Err(_)))));
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
    assert!(body.is_end_stream());
}

#[tokio::test]
async fn no_event_waits_for_a_later_one_and_none_leaves_in_part() {
    let server = server();
    let mut body = server.send(get("s", None)).await.into_body();
    let (_, upstream) = server.upstream();
    assert_eq!(text(poll(&mut body)), ":\n\n");
    upstream.say("data: one\n\ndata: tw");
    let one = text(poll(&mut body));
    assert!(one.ends_with("data: one\n\n"), "{one}");
    assert!(poll(&mut body).is_pending());
    upstream.say("o\n");
    assert!(poll(&mut body).is_pending());
    upstream.say("\n: ping\n\n");
    let two = text(poll(&mut body));
    assert!(two.contains("data: two\n\n: ping\n\n"), "{two}");
}

#[tokio::test(start_paused = true)]
async fn s29_a_stream_of_2026_07_28_is_kept_alive_between_its_events_only() {
    let layer = ReplayLayer::default().with_keep_alive(Some(Duration::from_secs(10)));
    let server = Server::new(layer);
    let mut request = get("", None);
    let version = "2026-07-28".parse().expect("legal");
    request
        .headers_mut()
        .insert("mcp-protocol-version", version);
    let mut body = server.send(request).await.into_body();
    let (_, upstream) = server.upstream();
    let pass = |secs| tokio::time::advance(Duration::from_secs(secs));
    assert!(poll(&mut body).is_pending());
    pass(11).await;
    assert_eq!(text(poll(&mut body)), ":\n\n");
    assert!(poll(&mut body).is_pending());

    upstream.say("id: 1\ndata: ha");
    assert_eq!(text(poll(&mut body)), "id: 1\ndata: ha");
    for _ in 0..3 {
        assert!(poll(&mut body).is_pending());
        pass(11).await;
    }
    assert!(poll(&mut body).is_pending(), "never within an event");
    upstream.say("lf\n\n");
    assert_eq!(text(poll(&mut body)), "lf\n\n");
    assert!(poll(&mut body).is_pending());
    pass(9).await;
    assert!(poll(&mut body).is_pending(), "not before it is due");
    pass(2).await;
    assert_eq!(text(poll(&mut body)), ":\n\n");
    assert_eq!(body.size_hint().upper(), None);
    drop(upstream);
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
}

#[tokio::test]
async fn default_is_empty() {
    let mut body = ResponseBody::<ScriptBody>::default();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert!(matches!(poll(&mut body), Poll::Ready(None)));
}

#[tokio::test]
async fn debug_shows_no_data() {
    let server = server();
    let body = server.send(call("secret", V)).await.into_body();
    let (_, upstream) = server.upstream();
    upstream.say("data: secret\n\n");
    let handle = server.layer.handle();
    for shown in [
        format!("{body:?}"),
        format!("{:?}", server.layer),
        format!("{handle:?}"),
    ] {
        assert!(!shown.contains("secret"), "{shown}");
    }
}
