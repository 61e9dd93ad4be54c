//! What an upstream may do within the body of its response.

mod scripted;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Body;
use scripted::{
    CALL, COMPLETE, Canned, End, FAILED, Relayed, ScriptedPeer, Wire, builder, guarded, outcomes,
    post, proxy, read_exactly, relayed,
};
use shadowcat::{
    body::ResponseBody,
    proxy::{Gauges, ReverseProxyBuilder, UpstreamBody},
};
use tokio::task::JoinHandle;
use tokio_test::assert_pending;
use tower::ServiceExt;

/// Short, since tests wait for it; nothing depends on how long it is.
const SHORT: Duration = Duration::from_millis(50);

const JSON: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";

type Answer = Response<ResponseBody<UpstreamBody>>;

/// A call that has reached the upstream.
async fn start(builder: ReverseProxyBuilder, peer: &mut ScriptedPeer) -> (Wire, Gauges, Call) {
    let service = builder.build();
    let gauges = service.gauges();
    let call = tokio::spawn(async {
        let Ok(response) = service.oneshot(post(CALL)).await;
        response
    });
    let mut upstream = peer.accept().await;
    assert_eq!(upstream.read_message().await.text(), CALL);
    (upstream, gauges, call)
}

type Call = JoinHandle<Answer>;

/// What comes of `response`, with the upstream's end after it if `then_ends`.
async fn relay(response: impl AsRef<[u8]>, then_ends: bool) -> (HeaderMap, Relayed, [u64; 4]) {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (mut upstream, gauges, call) = start(builder(&peer), &mut peer).await;
        upstream.write(response).await;
        if then_ends {
            upstream.finish().await;
        }
        let (parts, body) = call.await.expect("no panic").into_parts();
        assert_eq!(parts.status, StatusCode::OK);
        let relayed = relayed(body).await;
        (parts.headers, relayed, outcomes(&gauges))
    })
    .await
}

#[track_caller]
fn assert_relayed(relayed: &Relayed, data: &'static str, end: End) {
    let data = Bytes::from_static(data.as_bytes());
    assert_eq!(*relayed, Relayed { data, end });
}

#[tokio::test]
async fn body_shorter_than_its_length_is_broken_s28() {
    let (_, relayed, outcomes) = relay(format!("{JSON}Content-Length: 5\r\n\r\n{{}}"), true).await;
    assert_relayed(&relayed, "{}", End::Broken);
    assert_eq!(outcomes, FAILED);
}

#[tokio::test]
async fn what_follows_a_body_is_not_relayed_now_or_later_s28() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (service, gauges) = proxy(&peer);
        let second = service.clone();
        let call = tokio::spawn(service.oneshot(post(CALL)));
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        let smuggled = format!("{JSON}Content-Length: 4\r\n\r\nevil");
        upstream
            .write(format!("{JSON}Content-Length: 2\r\n\r\n{{}}{smuggled}"))
            .await;
        let Ok(response) = call.await.expect("no panic");
        assert_relayed(&relayed(response.into_body()).await, "{}", End::Clean);
        upstream.closed().await;

        let call = tokio::spawn(second.oneshot(post(CALL)));
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        upstream
            .write(format!("{JSON}Content-Length: 4\r\n\r\ngood"))
            .await;
        let Ok(response) = call.await.expect("no panic");
        assert_relayed(&relayed(response.into_body()).await, "good", End::Clean);
        assert_eq!(outcomes(&gauges), [0, 2, 0, 0]);
    })
    .await;
}

#[tokio::test]
async fn length_beside_chunks_is_dropped_a15() {
    // The chunks count (RFC 9112 §6.3). hyper's server cut the response to the length.
    for (fields, length) in [
        ("Content-Length: 2\r\n", 2),
        ("Content-Length: 999\r\n", 999),
    ] {
        let response = Canned::chunked(&format!("{JSON}{fields}"), &["[1,", "2]"], "");
        let (headers, relayed, outcomes) = relay(response.bytes(), false).await;
        assert_relayed(&relayed, "[1,2]", End::Clean);
        assert!(!headers.contains_key("content-length"), "{length}");
        assert_eq!(outcomes, COMPLETE);
    }
}

#[tokio::test]
async fn length_that_is_a_list_does_not_cross_a15() {
    for fields in [
        "Content-Length: 2, 2",
        "Content-Length: 2\r\nContent-Length: 2",
    ] {
        let (headers, relayed, _) = relay(format!("{JSON}{fields}\r\n\r\n{{}}"), false).await;
        assert_relayed(&relayed, "{}", End::Clean);
        assert!(!headers.contains_key("content-length"), "{fields}");
    }
}

#[tokio::test]
async fn wrong_chunks_break_the_body_after_the_data_before_them() {
    let extension = format!("2;{}\r\nxx", "x".repeat(17 * 1024));
    let trailers = format!("0\r\n{}\r\n", "X-Long: 0123456789\r\n".repeat(1024));
    let many_trailers = format!("0\r\n{}\r\n", "X:1\r\n".repeat(200));
    for wrong in [
        "zz\r\nxx",
        "-1\r\nx",
        "+1\r\nx",
        "0x1\r\nx",
        "\r\n",
        "2\nxx\r\n",
        "2 3\r\nxx",
        "11111111111111111\r\nx",
        "2;a\nb\r\nxx\r\n",
        &extension,
        "0\r\nno field\r\n\r\n",
        "0\r\nX Y: 1\r\n\r\n",
        &trailers,
        &many_trailers,
    ] {
        let response = format!("{EVENTS}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n{wrong}");
        let (_, relayed, outcomes) = relay(response, false).await;
        assert_relayed(&relayed, "abc", End::Broken);
        assert_eq!(outcomes, FAILED, "{wrong:.20}");
    }
    // Too much in the chunk: its first bytes are data.
    let response = format!("{EVENTS}Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n");
    let (_, relayed, _) = relay(response, false).await;
    assert_relayed(&relayed, "abc", End::Broken);
}

#[tokio::test]
async fn trailers_cross_without_those_that_mean_something_in_a_head_a19() {
    let response = Canned::chunked(
        EVENTS,
        &["data: 1\n\n"],
        "X-Checksum: 1\r\nAuthorization: Bearer x\r\nMcp-Session-Id: s\r\nContent-Length: 1\r\n\
         Set-Cookie: a=b\r\nTransfer-Encoding: chunked\r\nConnection: close\r\nHost: x\r\n\
         X-Forwarded-For: 1\r\n",
    );
    let (_, relayed, outcomes) = relay(response.bytes(), false).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().expect("a value"));
    assert_relayed(&relayed, "data: 1\n\n", End::Trailers(trailers));
    assert_eq!(outcomes, COMPLETE);
}

#[tokio::test]
async fn body_without_framing_ends_with_the_connection() {
    for head in [
        JSON,
        "HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n",
    ] {
        let (_, relayed, outcomes) = relay(format!("{head}\r\ndata"), true).await;
        assert_relayed(&relayed, "data", End::Clean);
        assert_eq!(outcomes, COMPLETE);
    }
}

#[tokio::test]
async fn body_without_framing_is_broken_by_a_reset() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (mut upstream, gauges, call) = start(builder(&peer), &mut peer).await;
        upstream.write(format!("{JSON}\r\ndata")).await;
        let mut body = Box::pin(call.await.expect("no panic").into_body());
        assert_eq!(read_exactly(&mut body, 4).await, b"data");
        upstream.reset();
        assert_relayed(&relayed(body).await, "", End::Broken);
        assert_eq!(outcomes(&gauges), FAILED);
    })
    .await;
}

#[tokio::test]
async fn silence_ends_a_body_with_an_error_and_the_connection() {
    for (framing, data) in [
        ("Content-Length: 9", ""),
        ("Content-Length: 9", "ab"),
        ("Transfer-Encoding: chunked", "2\r\nab\r\n"),
        ("Transfer-Encoding: chunked", "9\r\nab"),
        ("X: no framing", "ab"),
    ] {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let builder = builder(&peer).with_idle_timeout(Some(SHORT));
            let (mut upstream, gauges, call) = start(builder, &mut peer).await;
            upstream
                .write(format!("{JSON}{framing}\r\n\r\n{data}"))
                .await;
            let relayed = relayed(call.await.expect("no panic").into_body()).await;
            let expected = if data.is_empty() { "" } else { "ab" };
            assert_relayed(&relayed, expected, End::Idle);
            upstream.closed().await;
            assert_eq!(outcomes(&gauges), FAILED);
        })
        .await;
    }
}

#[tokio::test]
async fn event_stream_outlives_the_silence_that_ends_other_bodies_can_4() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let service = builder(&peer).with_idle_timeout(Some(SHORT)).build();
        let gauges = service.gauges();

        let call = tokio::spawn(service.clone().oneshot(post(CALL)));
        let mut stream = peer.accept().await;
        stream.read_message().await;
        let events = Canned::chunked(EVENTS, &["data: 1\n\n", "data: 2\n\n"], "");
        let (before, after) = events.bytes().split_at(events.head_len() + 14);
        stream.write(before).await;
        let Ok(response) = call.await.expect("no panic");
        let mut body = Box::pin(response.into_body());
        assert_eq!(read_exactly(&mut body, 9).await, b"data: 1\n\n");
        let rest = tokio::spawn(relayed(body));

        // Another exchange, which begins to be silent later and is ended for it.
        let call = tokio::spawn(service.oneshot(post(CALL)));
        let mut silent = peer.accept().await;
        silent.read_message().await;
        silent
            .write(format!("{JSON}Content-Length: 2\r\n\r\n"))
            .await;
        let Ok(response) = call.await.expect("no panic");
        assert_relayed(&relayed(response.into_body()).await, "", End::Idle);

        stream.write(after).await;
        let rest = rest.await.expect("no panic");
        assert_relayed(&rest, "data: 2\n\n", End::Clean);
        assert_eq!(outcomes(&gauges), [0, 1, 1, 0]);
    })
    .await;
}

/// What a client does not take is not the upstream's silence.
#[tokio::test]
async fn body_that_is_not_read_is_not_idle() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let service = builder(&peer).with_idle_timeout(Some(SHORT)).build();

        let call = tokio::spawn(service.clone().oneshot(post(CALL)));
        let mut upstream = peer.accept().await;
        upstream.read_message().await;
        upstream
            .write(format!("{JSON}Content-Length: 6\r\n\r\nab"))
            .await;
        let Ok(response) = call.await.expect("no panic");
        let mut body = tokio_test::task::spawn(Box::pin(response.into_body()));
        assert_eq!(read_exactly(&mut *body, 2).await, b"ab");
        assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
        upstream.write("cd").await;

        // Longer than the time that is allowed: another exchange begins and is ended by it.
        let call = tokio::spawn(service.oneshot(post(CALL)));
        let mut silent = peer.accept().await;
        silent.read_message().await;
        silent
            .write(format!("{JSON}Content-Length: 2\r\n\r\n"))
            .await;
        let Ok(response) = call.await.expect("no panic");
        assert_relayed(&relayed(response.into_body()).await, "", End::Idle);

        assert_eq!(read_exactly(&mut *body, 2).await, b"cd");
        upstream.write("ef").await;
        // So that no time is counted from here on.
        scripted::settle().await;
        assert_relayed(&relayed(body.into_inner()).await, "ef", End::Clean);
    })
    .await;
}

#[tokio::test]
async fn silence_ends_an_event_stream_after_its_own_time() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let builder = builder(&peer)
            .with_stream_idle_timeout(Some(SHORT))
            .with_idle_timeout(None);
        let (mut upstream, gauges, call) = start(builder, &mut peer).await;
        upstream
            .write(format!("{EVENTS}Content-Length: 99\r\n\r\n: \n\n"))
            .await;
        let relayed = relayed(call.await.expect("no panic").into_body()).await;
        assert_relayed(&relayed, ": \n\n", End::Idle);
        upstream.closed().await;
        assert_eq!(outcomes(&gauges), FAILED);
    })
    .await;
}

#[tokio::test]
async fn responses_without_a_body_end_at_once_and_keep_their_connection() {
    guarded(async {
        let mut peer = ScriptedPeer::bind().await;
        let (service, gauges) = proxy(&peer);
        let mut upstream = None;
        let cases = [
            (Method::HEAD, "200 OK\r\nContent-Length: 42"),
            (Method::HEAD, "200 OK\r\nTransfer-Encoding: chunked"),
            (Method::POST, "204 No Content"),
            (Method::GET, "304 Not Modified\r\nContent-Length: 42"),
            (Method::POST, "202 Accepted\r\nContent-Length: 0"),
        ];
        for (method, answer) in &cases {
            let mut request = post("");
            *request.method_mut() = method.clone();
            let call = tokio::spawn(service.clone().oneshot(request));
            let upstream = match &mut upstream {
                Some(upstream) => upstream,
                none => none.insert(peer.accept().await),
            };
            upstream.read_message().await;
            upstream.write(format!("HTTP/1.1 {answer}\r\n\r\n")).await;
            let Ok(response) = call.await.expect("no panic");
            assert_eq!(response.status().as_str(), &answer[..3]);
            let kept = answer.ends_with("42").then_some("42");
            let length = response.headers().get("content-length");
            if *method == Method::HEAD {
                assert_eq!(length.map(|len| len.to_str().expect("ASCII")), kept);
            }
            assert!(response.body().is_end_stream(), "{method} {answer}");
            assert_relayed(&relayed(response.into_body()).await, "", End::Clean);
            scripted::settle().await;
        }
        assert_eq!(peer.connections().await, 1);
        assert_eq!(outcomes(&gauges), [0, cases.len() as u64, 0, 0]);
    })
    .await;
}

#[tokio::test]
async fn answer_before_the_request_has_been_read_is_relayed_c15() {
    // More than all buffers on the way hold.
    let large = Bytes::from(vec![b'x'; 32 * 1024 * 1024]);
    for closes in [false, true] {
        guarded(async {
            let mut peer = ScriptedPeer::bind().await;
            let (service, gauges) = proxy(&peer);
            let call = tokio::spawn(service.oneshot(post(large.clone())));
            let mut upstream = peer.accept().await;
            upstream.read_head().await;
            let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
            upstream.write(answer).await;
            let upstream = if closes {
                drop(upstream);
                None
            } else {
                Some(upstream)
            };
            let Ok(response) = call.await.expect("no panic");
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
            assert_relayed(&relayed(response.into_body()).await, "big", End::Clean);
            assert_eq!(outcomes(&gauges), COMPLETE);
            drop(upstream);
        })
        .await;
    }
}
