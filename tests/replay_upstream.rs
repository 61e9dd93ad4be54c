//! What becomes of a stream when its server closes early, breaks off, or says too much.

mod replay_support;

use http::{Response, StatusCode};
use replay_support::{FINAL, Heard, Reader, Server, body, call, get, post, progress};
use shadowcat::replay::{BodyErrorKind, ReplayLayer};
use shadowcat::store::MemoryStore;

fn server() -> Server<MemoryStore> {
    Server::new(ReplayLayer::default())
}

const V: &str = "2025-11-25";

/// The JSON-RPC id and error code of an event.
fn error_of(heard: &Heard) -> (serde_json::Value, i64) {
    let data = heard.data.as_deref().expect("data");
    let json: serde_json::Value = serde_json::from_str(data).expect("JSON");
    (
        json["id"].clone(),
        json["error"]["code"].as_i64().expect("an error"),
    )
}

#[tokio::test]
async fn a_call_whose_stream_breaks_is_answered_with_an_error_live_and_on_replay() {
    // SSE-4, RPL-10: with ids of ours alone, nobody can ask the server for the rest.
    for breaks in [false, true] {
        let server = server();
        let response = server.send(call("s", V)).await;
        let (_, upstream) = server.upstream();
        upstream.say(format!("{}data: half an ev", progress(1)));
        if breaks {
            upstream.break_off();
        } else {
            drop(upstream);
        }
        let mut reader = Reader::new(response.into_body());
        let live = reader.rest().await;
        assert_eq!(live.len(), 2, "SWF-9: the half event is none");
        assert_eq!(error_of(&live[1]), (7.into(), -31502));
        let again = server.send(get("s", live[0].id.as_deref())).await;
        assert_eq!(Reader::new(again.into_body()).rest().await, live[1..]);
    }
}

#[tokio::test]
async fn each_request_of_a_batch_that_has_no_response_is_answered_with_an_error() {
    let server = server();
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":"two","method":"b"},
        {"jsonrpc":"2.0","id":3,"method":"c"}]"#;
    let response = server.send(post("s", "2025-03-26", batch)).await;
    let (_, upstream) = server.upstream();
    upstream.say("data: {\"jsonrpc\":\"2.0\",\"id\":\"two\",\"result\":{}}\n\n");
    drop(upstream);
    let live = Reader::new(response.into_body()).rest().await;
    let ids: Vec<_> = live[1..].iter().map(error_of).collect();
    assert_eq!(ids, [(1.into(), -31502), (3.into(), -31502)]);
}

#[tokio::test]
async fn sse8_a_server_that_closes_early_is_asked_for_the_rest_with_its_own_id() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say("id: theirs/0\nretry: 10\ndata:\n\n");
    upstream.say(format!("id: theirs/1\n{}", progress(1)));
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    let live = reader.rest().await;
    assert_eq!(live.len(), 2, "suspended: nothing is added");
    assert_eq!(live[0].retry, Some(10), "S07: not ours to change");
    assert_ne!(live[1].id.as_deref(), Some("theirs/1"));

    // With an old cursor: what the log has comes first, then what the server sends.
    let response = server.send(get("s", live[0].id.as_deref())).await;
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.next().await.as_ref(), Some(&live[1]));
    let (asked, upstream) = server.upstream();
    assert_eq!(asked.method, http::Method::GET);
    assert_eq!(asked.headers["last-event-id"], "theirs/1");
    assert_eq!(asked.headers["mcp-session-id"], "s");
    // Some servers begin with the very event that the cursor names.
    upstream.say(format!("id: theirs/1\n{}", progress(1)));
    upstream.say(format!("id: theirs/2\n{}", progress(2)));
    upstream.say(format!("id: theirs/3\n{FINAL}"));
    drop(upstream);
    let rest = reader.rest().await;
    assert_eq!(rest.len(), 2, "{rest:?}");
    assert!(
        rest[0]
            .data
            .as_deref()
            .is_some_and(|data| data.contains("\"progress\":2"))
    );
    assert!(
        rest[1]
            .data
            .as_deref()
            .is_some_and(|data| data.contains("result"))
    );
}

#[tokio::test]
async fn sse8_a_stream_may_be_suspended_many_times_and_cut_in_between() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say("id: 0\ndata:\n\n");
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    reader.rest().await;
    let mut cursor = reader.cursor.clone();
    for step in 1..=5 {
        let response = server.send(get("s", cursor.as_deref())).await;
        let mut reader = Reader::new(response.into_body());
        reader.next().await.expect("the cursor at once");
        let (asked, upstream) = server.upstream();
        assert_eq!(asked.headers["last-event-id"], (step - 1).to_string());
        upstream.say(format!("id: {step}\n{}", progress(step)));
        if step % 2 == 0 {
            // The client is gone before it comes, and the server closes meanwhile.
            drop(reader);
            drop(upstream);
            while server.layer.handle().stats().suspended == 0 {
                tokio::task::yield_now().await;
            }
            let response = server.send(get("s", cursor.as_deref())).await;
            let mut reader = Reader::new(response.into_body());
            let missed = reader.next().await.expect("what it missed");
            assert!(
                missed
                    .data
                    .is_some_and(|data| data.contains(&format!("\"progress\":{step}")))
            );
            cursor = reader.cursor.clone();
            let (_, upstream) = server.upstream();
            drop(upstream);
            assert!(reader.rest().await.is_empty());
        } else {
            drop(upstream);
            assert_eq!(reader.data().await.len(), 1);
            cursor = reader.cursor.clone();
        }
    }
}

#[tokio::test]
async fn a_server_that_has_forgotten_its_stream_leaves_an_error() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say("id: 0\ndata:\n\n");
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    reader.rest().await;
    server.answer(|_| {
        let response = Response::builder().status(StatusCode::NOT_FOUND);
        response.body(()).expect("a valid head")
    });
    let response = server.send(get("s", reader.cursor.as_deref())).await;
    assert_eq!(response.status(), 200);
    let rest = Reader::new(response.into_body()).rest().await;
    assert_eq!(error_of(rest.last().expect("an error")), (7.into(), -31502));
}

#[tokio::test]
async fn s24_only_the_first_final_response_counts_and_ends_the_stream() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(format!("{FINAL}{FINAL}{}", progress(9)));
    upstream.say(FINAL);
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    let live = reader.rest().await;
    assert_eq!(live.len(), 1);
    let again = server.send(get("s", live[0].id.as_deref())).await;
    assert!(Reader::new(again.into_body()).data().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_end_after_its_response_does_not_keep_the_client() {
    let server = server();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(FINAL);
    let mut reader = Reader::new(response.into_body());
    assert_eq!(reader.data().await.len(), 1);
    drop(reader);
    assert!(!upstream.is_read());
}

#[tokio::test]
async fn a_stream_without_requests_fails_as_its_server_does() {
    let server = server();
    let response = server.send(get("s", None)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    upstream.break_off();
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("what came before");
    assert_eq!(reader.error().await.kind(), BodyErrorKind::Inner);
}

#[tokio::test]
async fn sse16_an_event_over_the_limit_ends_the_call_with_an_error() {
    let layer = ReplayLayer::default().with_max_event_bytes(1000);
    let server = Server::new(layer);
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    upstream.say(format!("data: {}", "x".repeat(2000)));
    let live = Reader::new(response.into_body()).rest().await;
    assert_eq!(error_of(&live[1]), (7.into(), -31502));
    upstream.dropped().await;
}

#[tokio::test]
async fn trailers_pass() {
    let server = server();
    let response = server.send(get("s", None)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().expect("legal"));
    upstream.trailers(trailers.clone());
    drop(upstream);
    let collected = http_body_util::BodyExt::collect(response.into_body()).await;
    assert_eq!(collected.expect("no error").trailers(), Some(&trailers));
}

#[tokio::test]
async fn bytes_but_for_the_ids_are_as_the_server_sent_them() {
    // SSE-12, and the rewriter's invariants.
    let server = server();
    let response = server.send(get("s", None)).await;
    let (_, upstream) = server.upstream();
    let stream = "\u{FEFF}: hello\r\nevent: a\r\ndata: x\r\ndata:  y\r\nfoo: bar\r\nretry: 5\r\n\r\n\
        :ping\n\nid: 1\ndata\n\nretry: 7\n\ndata: z\r\r";
    for byte in stream.as_bytes() {
        upstream.say(vec![*byte]);
    }
    drop(upstream);
    let mut reader = Reader::new(response.into_body());
    let heard = reader.rest().await;
    assert_eq!(heard.len(), 4);
    let raw = String::from_utf8(reader.raw).expect("UTF-8");
    // Without the lines that are ours, and the comment that opens every stream.
    let ids: Vec<_> = heard
        .iter()
        .filter_map(|heard| heard.id.as_deref())
        .collect();
    let mut theirs = raw.trim_start_matches(":\n\n").to_owned();
    for id in ids {
        assert!(theirs.contains(&format!("id: {id}")));
        theirs = ["\r\n", "\n", "\r"].iter().fold(theirs, |text, end| {
            text.replacen(&format!("id: {id}{end}"), "", 1)
        });
    }
    let expected = stream.trim_start_matches('\u{FEFF}').replace("id: 1\n", "");
    assert_eq!(theirs, expected);
}

#[tokio::test]
async fn trn7_the_channel_of_2024_11_05_passes_as_it_is() {
    let server = server();
    let response = server.send(get("", None)).await;
    let (_, upstream) = server.upstream();
    let endpoint = "event: endpoint\ndata: /messages?sessionId=1\n\n";
    upstream.say(endpoint);
    upstream.say(FINAL);
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("the endpoint");
    reader.next().await.expect("a message");
    assert_eq!(reader.raw, format!("{endpoint}{FINAL}").as_bytes());
    drop(reader);
    upstream.dropped().await;
}

#[tokio::test]
async fn what_is_no_event_stream_passes_as_it_is() {
    let server = server();
    for (status, kind, coding) in [
        (200, "application/json", ""),
        (200, "text/event-streams", ""),
        (404, "text/event-stream", ""),
        (200, "text/event-stream", "gzip"),
    ] {
        let head: fn(&http::request::Parts) -> Response<()> = match (status, kind, coding) {
            (404, ..) => |_| {
                let response = Response::builder().status(404);
                response
                    .header("content-type", "text/event-stream")
                    .body(())
                    .expect("valid")
            },
            (_, _, "gzip") => |_| {
                let response = Response::builder().header("content-encoding", "gzip");
                response
                    .header("content-type", "text/event-stream")
                    .body(())
                    .expect("valid")
            },
            (_, "application/json", _) => |_| {
                let response = Response::builder().header("content-length", "2");
                response
                    .header("content-type", "application/json")
                    .body(())
                    .expect("valid")
            },
            _ => |_| {
                let response = Response::builder().header("content-type", "text/event-streams");
                response.body(()).expect("valid")
            },
        };
        server.answer(head);
        let response = server.send(call("s", V)).await;
        let headers = response.headers();
        assert_eq!(
            headers.get("content-length").is_some(),
            kind == "application/json"
        );
        assert!(!headers.contains_key("x-accel-buffering"));
        let (_, upstream) = server.upstream();
        upstream.say("{}");
        drop(upstream);
        let collected = http_body_util::BodyExt::collect(response.into_body()).await;
        assert_eq!(collected.expect("no error").to_bytes(), "{}");
    }
    assert_eq!(server.layer.handle().stats().tracked_total, 0);
    drop(body());
}
