//! A client that loses its connection loses nothing else.

mod replay_support;

use replay_support::{FINAL, Heard, Reader, Server, call, get, post, progress};
use shadowcat::replay::{BodyErrorKind, ReplayLayer};
use shadowcat::store::{MemoryStore, Owner};

fn server() -> Server<MemoryStore> {
    Server::new(ReplayLayer::default())
}

fn data(heard: &Heard) -> &str {
    heard.data.as_deref().unwrap_or_default()
}

const V: &str = "2025-11-25";

#[tokio::test]
async fn a_cut_call_is_resumed_to_its_final_response() {
    // SSE-6, SSE-9, SSE-11.
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    let primed = reader
        .next()
        .await
        .expect("a cursor before anything happens");
    assert_eq!(primed.data.as_deref(), Some(""));
    upstream.say(progress(1));
    let one = reader.next().await.expect("progress");
    assert!(data(&one).contains("\"progress\":1"));
    let cursor = reader.cursor.clone().expect("a cursor");

    drop(reader);
    upstream.say(progress(2));
    upstream.say(progress(3));
    upstream.say(FINAL);
    drop(upstream);

    let response = server.send(get("s", Some(&cursor))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-cache");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let data = Reader::new(response.into_body()).data().await;
    assert_eq!(data.len(), 3, "{data:?}");
    assert!(data[0].contains("\"progress\":2"));
    assert!(data[1].contains("\"progress\":3"));
    assert!(data[2].contains("\"result\""));
    assert!(server.layer.handle().streams().is_empty());
}

#[tokio::test]
async fn a_resumed_client_without_news_gets_its_cursor_at_once() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("a cursor");
    let cursor = reader.cursor.clone().expect("a cursor");
    drop(reader);

    let response = server.send(get("s", Some(&cursor))).await;
    let mut reader = Reader::new(response.into_body());
    let again = reader.next().await.expect("the cursor");
    assert_eq!(again.id, Some(cursor));
    assert_eq!(again.data.as_deref(), Some(""));
    upstream.say(FINAL);
    drop(upstream);
    assert_eq!(reader.data().await.len(), 1);
}

#[tokio::test]
async fn a_finished_stream_is_replayed_from_every_cursor_until_it_is_forgotten() {
    // D27, RPL-13.
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(format!("{}{}{FINAL}", progress(1), progress(2)));
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    let live = reader.rest().await;
    assert_eq!(live.len(), 3);
    for after in 0..live.len() {
        let cursor = live[after].id.as_deref();
        for _ in 0..2 {
            let response = server.send(get("s", cursor)).await;
            let mut again = Reader::new(response.into_body());
            let replayed = again.rest().await;
            if after + 1 < live.len() {
                assert_eq!(replayed, live[after + 1..]);
            } else {
                assert_eq!(replayed.len(), 1, "nothing but the cursor");
                assert_eq!(replayed[0].data.as_deref(), Some(""));
            }
        }
    }
}

#[tokio::test]
async fn rpl3_nobody_else_can_resume_and_all_refusals_look_alike() {
    // B20, B22, B24, A33.
    let server = server();
    let response = server.send(call("owner", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("progress");
    let cursor = reader.cursor.clone().expect("a cursor");
    drop(reader);

    let mut answers = Vec::new();
    let mut ahead = cursor.clone();
    ahead.replace_range(
        36..37,
        if ahead.as_bytes()[36] == b'A' {
            "B"
        } else {
            "A"
        },
    );
    for (session, cursor) in [
        ("thief", cursor.as_str()),
        ("", cursor.as_str()),
        ("owner", "1_-1"),
        ("owner", ahead.as_str()),
        ("owner", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
    ] {
        let response = server.send(get(session, Some(cursor))).await;
        assert_eq!(response.status(), 400);
        let (parts, body) = response.into_parts();
        let body = http_body_util::BodyExt::collect(body)
            .await
            .expect("fixed")
            .to_bytes();
        answers.push((format!("{:?}", parts.headers), body));
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    assert!(
        answers[0]
            .1
            .starts_with(br#"{"jsonrpc":"2.0","error":{"code":-31400,"#)
    );
    assert!(!server.was_called(), "no cursor of ours reaches the server");

    let two = {
        let mut request = get("owner", Some(&cursor));
        request
            .headers_mut()
            .append("last-event-id", "x".parse().expect("legal"));
        server.send(request).await
    };
    assert_eq!(two.status(), 400, "two cursors are none");

    upstream.say(FINAL);
    drop(upstream);
    let response = server.send(get("owner", Some(&cursor))).await;
    assert_eq!(
        Reader::new(response.into_body()).data().await.len(),
        1,
        "the owner still can"
    );
    assert_eq!(server.layer.handle().stats().refused_total, 6);
}

#[tokio::test]
async fn an_owner_in_the_extensions_outranks_the_session() {
    let server = server();
    let owned = |mut request: http::Request<_>, name: &[u8]| {
        let owner = Owner::new(Some(name), Some(b"s"));
        request.extensions_mut().insert(owner);
        request
    };
    let response = server.send(owned(call("s", V), b"ann")).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("progress");
    let cursor = reader.cursor.clone();
    drop(reader);
    upstream.say(FINAL);
    drop(upstream);
    for (name, status) in [(&b"bob"[..], 400), (b"ann", 200)] {
        let response = server.send(owned(get("s", cursor.as_deref()), name)).await;
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn the_stream_of_an_initialize_is_owned_by_the_session_that_it_opens() {
    let server = server();
    server.answer(|_| {
        let response = http::Response::builder()
            .header("content-type", "text/event-stream; charset=utf-8")
            .header("mcp-session-id", "new");
        response.body(()).expect("a valid head")
    });
    let initialize = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}"#;
    let response = server.send(post("", "", initialize)).await;
    let (_, upstream) = server.upstream();
    upstream.say("data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n");
    let mut reader = Reader::new(response.into_body());
    let first = reader.next().await.expect("an event");
    assert!(
        !data(&first).is_empty(),
        "SSE-3: an initialize is not primed"
    );
    let cursor = reader.cursor.clone();
    drop(reader);
    upstream.say("data: {\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}\n\n");
    drop(upstream);
    assert_eq!(server.send(get("", cursor.as_deref())).await.status(), 400);
    let response = server.send(get("new", cursor.as_deref())).await;
    assert_eq!(Reader::new(response.into_body()).data().await.len(), 1);
}

#[tokio::test]
async fn d01_a_second_client_takes_over_and_the_first_gets_nothing_more() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    let mut old = Reader::new(response.into_body());
    old.next().await.expect("progress");
    let cursor = old.cursor.clone();
    upstream.say(progress(2));

    let response = server.send(get("s", cursor.as_deref())).await;
    let mut new = Reader::new(response.into_body());
    // Not a clean end: what it was sent must not look like the whole.
    assert_eq!(old.error().await.kind(), BodyErrorKind::Superseded);
    let two = new.next().await.expect("what the old one did not get");
    assert!(data(&two).contains("\"progress\":2"));
    // D04: its clean-up does not touch its successor.
    drop(old);
    upstream.say(FINAL);
    drop(upstream);
    assert_eq!(new.data().await.len(), 1);
}

#[tokio::test]
async fn rpl10_a_deleted_session_is_gone_with_all_it_said() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("progress");
    let cursor = reader.cursor.clone();
    let request = http::Request::delete("/mcp").header("mcp-session-id", "s");
    let request = request
        .body(http_body_util::Full::default())
        .expect("a valid request");
    server.answer(|_| {
        let response = http::Response::builder().status(204);
        response.body(()).expect("a valid head")
    });
    assert_eq!(server.send(request).await.status(), 204);
    assert_eq!(reader.error().await.kind(), BodyErrorKind::Superseded);
    upstream.dropped().await;
    assert_eq!(server.send(get("s", cursor.as_deref())).await.status(), 400);
    assert!(server.layer.handle().streams().is_empty());
}

#[tokio::test]
async fn a32_a_cursor_on_a_post_is_refused() {
    let server = server();
    let mut request = call("s", V);
    let cursor = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    request
        .headers_mut()
        .insert("last-event-id", cursor.parse().expect("legal"));
    assert_eq!(server.send(request).await.status(), 400);
    assert!(!server.was_called());
}

#[tokio::test]
async fn an_empty_cursor_is_none() {
    let server = server();
    let response = server.send(get("s", Some(""))).await;
    assert_eq!(response.status(), 200);
    assert!(server.was_called());
}

#[tokio::test]
async fn e26_passes_untouched_and_a_drop_reaches_the_server() {
    // SSE-15, CAN-3, RPL-15.
    let server = server();
    let mut request = call("s", "2026-07-28");
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    *request.body_mut() = http_body_util::Full::from(body);
    request
        .headers_mut()
        .insert("last-event-id", "theirs".parse().expect("legal"));
    let response = server.send(request).await;
    let (_, upstream) = server.upstream();
    upstream.say(format!("id: 4\n{}", progress(1)));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("progress");
    assert_eq!(reader.raw, format!("id: 4\n{}", progress(1)).as_bytes());
    assert!(server.layer.handle().streams().is_empty());
    drop(reader);
    upstream.dropped().await;
    assert_eq!(server.layer.handle().stats().tracked_total, 0);
}

#[tokio::test]
async fn d06_a_call_that_is_answered_after_its_session_has_ended_leaves_nothing() {
    let server = server();
    // Its response comes after that of the DELETE.
    let (answer, answered) = tokio::sync::oneshot::channel();
    let answered = std::sync::Mutex::new(Some(answered));
    let inner = tower::service_fn(|request: http::Request<_>| {
        let answered = answered.lock().expect("not poisoned").take();
        let is_call = request.method() == http::Method::POST;
        async move {
            if is_call && let Some(answered) = answered {
                let _: Result<(), _> = answered.await;
            }
            let response = http::Response::builder().header("content-type", "text/event-stream");
            let body: http_body_util::Full<bytes::Bytes> = FINAL.into();
            Ok::<_, std::convert::Infallible>(response.body(body).expect("a valid response"))
        }
    });
    let service = tower::Layer::layer(&server.layer, inner);
    let mut call =
        tokio_test::task::spawn(tower::ServiceExt::oneshot(service.clone(), call("s", V)));
    assert!(call.poll().is_pending());
    let delete = http::Request::delete("/mcp").header("mcp-session-id", "s");
    let delete = delete
        .body(http_body_util::Full::default())
        .expect("a valid request");
    let Ok(deleted) = tower::ServiceExt::oneshot(service, delete).await;
    assert_eq!(deleted.status(), 200);
    answer.send(()).expect("the call waits");
    let Ok(response) = call.await;
    assert_eq!(server.layer.handle().stats().tracked_total, 0);
    let raw = http_body_util::BodyExt::collect(response.into_body()).await;
    assert_eq!(raw.expect("no error").to_bytes(), FINAL);
}
