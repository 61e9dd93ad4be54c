//! What is kept has limits, and whoever runs into one is told.

mod replay_support;

use std::num::NonZeroUsize;
use std::time::Duration;

use replay_support::{FINAL, Reader, Server, call, get, post, progress};
use shadowcat::replay::{ReplayLayer, StreamState};
use shadowcat::store::MemoryStore;

const V: &str = "2025-11-25";

fn small(events: usize) -> MemoryStore {
    MemoryStore::new().with_max_events(NonZeroUsize::new(events).expect("not zero"))
}

fn code(body: &[u8]) -> i64 {
    let json: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    json["error"]["code"].as_i64().expect("an error")
}

#[tokio::test]
async fn rpl2_a_forgotten_call_is_refused_before_any_byte() {
    // AMB-5, C21: the response may be among what is missing.
    let server = Server::new(ReplayLayer::new(small(3)));
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    for step in 1..=6 {
        upstream.say(progress(step));
    }
    upstream.say(FINAL);
    drop(upstream);
    let live = Reader::new(response.into_body()).rest().await;
    assert_eq!(live.len(), 7);
    for (after, live_event) in live.iter().enumerate() {
        let response = server.send(get("s", live_event.id.as_deref())).await;
        // Kept are the events 5 to 7.
        if after + 1 < 4 {
            assert_eq!(response.status(), 400, "after {}", after + 1);
            let body = http_body_util::BodyExt::collect(response.into_body()).await;
            assert_eq!(code(&body.expect("fixed").to_bytes()), -31400);
        } else {
            assert_eq!(response.status(), 200, "after {}", after + 1);
            let rest = Reader::new(response.into_body()).data().await;
            assert_eq!(rest.len(), 6 - after);
        }
    }
}

#[tokio::test]
async fn rpl2_a_gap_in_a_standalone_stream_is_said_in_the_stream() {
    let server = Server::new(ReplayLayer::new(small(2)));
    let response = server.send(get("s", None)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("an event");
    let cursor = reader.cursor.clone();
    drop(reader);
    for step in 2..=6 {
        upstream.say(progress(step));
    }
    while server.layer.handle().stats().detached == 0 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let response = server.send(get("s", cursor.as_deref())).await;
    assert_eq!(response.status(), 200);
    let mut reader = Reader::new(response.into_body());
    let gap = reader.next().await.expect("the gap");
    assert_eq!(
        (gap.id.as_deref(), gap.event.as_deref()),
        (None, Some("gap"))
    );
    assert_eq!(
        gap.data.as_deref(),
        Some(r#"{"from":2,"first_available":5,"reason":"evicted"}"#)
    );
    for step in [5, 6] {
        let event = reader.next().await.expect("what is kept");
        assert!(
            event
                .data
                .is_some_and(|data| data.contains(&format!("\"progress\":{step}")))
        );
    }
    upstream.say(progress(7));
    assert!(reader.next().await.is_some(), "and what comes");
    assert_eq!(server.layer.handle().stats().gaps_total, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_comes_back_for_is_given_up_and_says_so() {
    let layer = ReplayLayer::default().with_max_detached_for(Duration::from_secs(60));
    let server = Server::new(layer);
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("a cursor");
    let cursor = reader.cursor.clone();
    drop(reader);
    tokio::time::advance(Duration::from_secs(30)).await;
    tokio::task::yield_now().await;
    assert!(upstream.is_read(), "CAN-1: not a cancel");
    upstream.dropped().await;
    assert_eq!(server.layer.handle().stats().lost_total, 1);

    let response = server.send(get("s", cursor.as_deref())).await;
    assert_eq!(response.status(), 200);
    let rest = Reader::new(response.into_body()).data().await;
    assert_eq!(rest.len(), 1);
    assert_eq!(code(rest[0].as_bytes()), -31502);
}

#[tokio::test]
async fn streams_over_the_limit_of_detached_ones_end_with_their_clients() {
    let server = Server::new(ReplayLayer::default().with_max_detached(1));
    let mut ends = Vec::new();
    for session in ["a", "b"] {
        let response = server.send(call(session, V)).await;
        let (_, upstream) = server.upstream();
        let mut reader = Reader::new(response.into_body());
        reader.next().await.expect("a cursor");
        ends.push((upstream, reader.cursor.clone()));
    }
    assert!(ends[0].0.is_read());
    ends[1].0.dropped().await;
    let response = server.send(get("b", ends[1].1.as_deref())).await;
    let rest = Reader::new(response.into_body()).data().await;
    assert_eq!(
        code(rest[0].as_bytes()),
        -31502,
        "told, not lost in silence"
    );

    let none = Server::new(ReplayLayer::default().with_max_detached_for(Duration::ZERO));
    let response = none.send(call("s", V)).await;
    let (_, upstream) = none.upstream();
    drop(response);
    upstream.dropped().await;
}

#[tokio::test]
async fn a_detached_stream_is_read_up_to_a_limit() {
    let server = Server::new(ReplayLayer::default().with_max_detached_bytes(1000));
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    drop(response);
    for step in 0..100 {
        upstream.say(progress(step));
    }
    upstream.dropped().await;
    assert!(server.layer.handle().streams().is_empty());
}

#[tokio::test]
async fn another_instance_with_the_same_store_tails_the_stream() {
    // "If it is live on another node, it tails the shared store."
    let store = MemoryStore::new();
    let one = Server::new(ReplayLayer::new(store.clone()));
    let two = Server::new(ReplayLayer::new(store));
    let response = one.send(call("s", V)).await;
    let (_, upstream) = one.upstream();
    upstream.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("an event");
    let cursor = reader.cursor.clone();
    drop(reader);

    assert_eq!(two.send(get("t", cursor.as_deref())).await.status(), 400);
    let response = two.send(get("s", cursor.as_deref())).await;
    let mut reader = Reader::new(response.into_body());
    let at_once = reader.next().await.expect("the cursor");
    assert_eq!(at_once.id, cursor);
    upstream.say(progress(2));
    let next = reader.next().await.expect("what comes there");
    assert!(
        next.data
            .is_some_and(|data| data.contains("\"progress\":2"))
    );
    upstream.say(FINAL);
    drop(upstream);
    assert_eq!(reader.data().await.len(), 1);
    assert!(!two.was_called());
    assert!(two.layer.handle().streams().is_empty());
}

#[tokio::test]
async fn amb7_a_new_standalone_stream_replaces_one_that_waits_for_its_client() {
    let server = Server::new(ReplayLayer::default());
    let response = server.send(get("s", None)).await;
    let (_, old) = server.upstream();
    old.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("an event");
    drop(reader);
    assert!(old.is_read());
    let other = server.send(get("t", None)).await;
    assert!(old.is_read(), "of another session");
    let response = server.send(get("s", None)).await;
    assert!(!old.is_read(), "closed before the server is asked");
    drop((other, response));
}

#[tokio::test]
async fn what_came_before_a_client_had_a_cursor_is_not_lost() {
    let server = Server::new(ReplayLayer::default());
    let response = server.send(get("s", None)).await;
    let (_, upstream) = server.upstream();
    drop(response);
    upstream.say(progress(1));
    let response = server.send(get("s", None)).await;
    assert!(!server.was_called(), "the old stream goes on");
    let mut reader = Reader::new(response.into_body());
    let heard = reader.next().await.expect("what nobody has heard");
    assert!(
        heard
            .data
            .is_some_and(|data| data.contains("\"progress\":1"))
    );
}

#[tokio::test]
async fn c07_a_client_that_comes_back_for_nothing_is_slowed_down() {
    let server = Server::new(ReplayLayer::default());
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("a cursor");
    let cursor = reader.cursor.clone();
    drop(reader);
    let mut retries = Vec::new();
    for _ in 0..12 {
        let response = server.send(get("s", cursor.as_deref())).await;
        let mut reader = Reader::new(response.into_body());
        retries.push(reader.next().await.expect("an event at once").retry);
    }
    assert_eq!(retries[..3], [None; 3]);
    let grown: Vec<_> = retries[3..]
        .iter()
        .map(|retry| retry.expect("a delay"))
        .collect();
    assert!(grown.is_sorted() && grown[0] >= 1000 && grown[8] >= 30_000 && grown[8] <= 60_000);
    drop(upstream);
}

#[tokio::test(start_paused = true)]
async fn sse4_polling_sends_quiet_clients_away_if_their_revision_knows_it() {
    for (version, is_sent_away) in [(V, true), ("2025-06-18", false)] {
        let polling = (Duration::from_secs(4), Duration::from_secs(2));
        let layer = ReplayLayer::default().with_polling(polling.0, polling.1);
        let server = Server::new(layer);
        let response = server.send(call("s", version)).await;
        let (_, upstream) = server.upstream();
        upstream.say(progress(1));
        let mut reader = Reader::new(response.into_body());
        reader.next().await.expect("an event");
        let next = tokio::time::timeout(Duration::from_secs(10), reader.next()).await;
        assert_eq!(next.is_ok(), is_sent_away);
        if is_sent_away {
            let retry = next.expect("in time").expect("a delay").retry;
            assert!(retry.is_some_and(|retry| (2000..=4000).contains(&retry)));
            assert_eq!(reader.next().await, None);
            let cursor = reader.cursor.clone();
            drop(reader);
            upstream.say(FINAL);
            drop(upstream);
            let response = server.send(get("s", cursor.as_deref())).await;
            assert_eq!(Reader::new(response.into_body()).data().await.len(), 1);
        }
    }
}

#[tokio::test]
async fn the_handle_lists_streams_and_sends_a_client_away() {
    let server = Server::new(ReplayLayer::default());
    let handle = server.layer.handle();
    let response = server.send(call("s", V)).await;
    let (_, upstream) = server.upstream();
    let other = server.send(get("s", None)).await;
    let streams = handle.streams();
    assert_eq!(streams.len(), 2);
    assert!(
        streams
            .iter()
            .all(|info| info.state == StreamState::Attached)
    );
    assert_eq!((streams[0].is_get, streams[1].is_get), (false, true));

    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("a cursor");
    assert!(handle.end(streams[0].serial, Duration::from_secs(5)));
    let retry = reader.next().await.expect("a delay").retry;
    assert!(retry.is_some_and(|retry| (5000..=10_000).contains(&retry)));
    assert_eq!(reader.next().await, None);
    let cursor = reader.cursor.clone();
    drop(reader);
    assert_eq!(handle.stats().detached, 1, "the stream goes on");
    upstream.say(FINAL);
    drop(upstream);
    let response = server.send(get("s", cursor.as_deref())).await;
    assert_eq!(Reader::new(response.into_body()).data().await.len(), 1);
    assert!(!handle.end(999, Duration::ZERO));
    drop(other);
}

#[tokio::test]
async fn notifications_and_other_messages_wait_for_no_response() {
    let server = Server::new(ReplayLayer::default());
    let note = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let response = server.send(post("s", V, note)).await;
    let (_, upstream) = server.upstream();
    upstream.say(progress(1));
    drop(upstream);
    assert_eq!(
        Reader::new(response.into_body()).data().await.len(),
        1,
        "no error is made up"
    );
}
