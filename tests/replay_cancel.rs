//! D12 to D16: whatever is dropped, at whichever poll, nothing is lost, and nothing is left behind.

#[path = "replay_cancel/polls.rs"]
mod polls;
#[path = "replay_model/slow.rs"]
mod slow;

mod replay_support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use polls::{Late, drop_after, pend, read};
use replay_support::{FINAL, Reader, Server, Upstream, body, call, get, progress};
use shadowcat::replay::{BodyError, ReplayLayer, StreamState};
use shadowcat::sse::EventId;
use shadowcat::store::{EventStore, MemoryStore, Owner};
use slow::{Slow, settle};
use tower::{Layer, Service, service_fn};

/// More polls than anything here takes.
const MANY: usize = 200;

/// How many polls something is given, until it is done.
fn counted() -> impl Iterator<Item = usize> {
    (0..MANY).chain(std::iter::once_with(|| panic!("it is never done")))
}

/// Stores that take so many polls for everything, and do it first or last.
fn stores() -> impl Iterator<Item = Slow> {
    let slow = [(0, false), (1, false), (1, true), (3, false), (3, true)];
    slow.into_iter()
        .map(|(polls, is_late)| Slow::new(MemoryStore::new(), polls, is_late))
}

fn server(store: &Slow) -> Server<Slow> {
    Server::new(ReplayLayer::new(store.clone()))
}

/// The cursor that a client is given before anything happens.
async fn primed<B: Body<Data = Bytes, Error = BodyError>>(reader: &mut Reader<B>) -> EventId {
    let event = reader.next().await.expect("a cursor");
    EventId::decode(event.id.expect("an id")).expect("an id of ours")
}

fn text(id: EventId) -> String {
    String::from_utf8(id.encode().to_vec()).expect("ASCII")
}

/// Resumes, and expects exactly the events up to number `last`, the answer being the last of them.
async fn expect_suffix(server: &Server<Slow>, cursor: EventId, last: u64, why: &str) {
    let response = server.send(get("s", Some(&text(cursor)))).await;
    assert_eq!(response.status(), 200, "{why}");
    let had = read(MANY, response.into_body()).await;
    let expected: Vec<_> = (cursor.sequence() + 1..=last).collect();
    assert_eq!(had.numbers(), expected, "{why}");
    if let Some((_, answer)) = had.events.last().filter(|(_, data)| !data.is_empty()) {
        assert!(answer.contains("result"), "{why}: {answer}");
    }
}

/// All of it is in the log, without a hole.
async fn expect_log(store: &Slow, key: EventId, last: u64, why: &str) {
    let owner = Owner::new(None, Some(b"s"));
    let page = store.memory.read(key.stream(), owner, 0, usize::MAX).await;
    let page = page.unwrap_or_else(|error| panic!("{why}: {error}"));
    assert_eq!((page.floor(), page.tail()), (1, last), "{why}");
    assert_eq!(page.last(), Some(last), "{why}");
}

/// The server goes, and nothing is left.
async fn expect_nothing_left(server: &Server<Slow>, upstream: Upstream, why: &str) {
    drop(upstream);
    settle().await;
    let left = server.layer.handle().streams();
    assert!(left.is_empty(), "{why}: {left:?}");
    assert_eq!(server.layer.handle().stats().detached, 0, "{why}");
}

#[tokio::test(start_paused = true)]
async fn d12_a_call_dropped_at_any_poll_leaves_nothing() {
    for store in stores() {
        for polls in counted() {
            let layer = ReplayLayer::new(store.clone());
            let (upstream, script) = body();
            let script = Arc::new(Mutex::new(Some(script)));
            let mut service = layer.layer(service_fn(move |_: Request<Late>| {
                let script = script.lock().expect("not poisoned").take();
                let script = script.expect("one call");
                async move {
                    pend(3).await;
                    let response = Response::builder().header("content-type", "text/event-stream");
                    Ok::<_, Infallible>(response.body(script).expect("a response"))
                }
            }));
            let request = call("s", "2025-11-25").map(|_| {
                let message = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#;
                Late(3, Some(Bytes::from_static(message.as_bytes())))
            });
            let response = drop_after(polls, service.call(request)).await;
            let is_done = response.is_some();
            drop((response, service));
            settle().await;
            let listed = layer.handle().streams();
            if is_done {
                // The response was there: its client is gone, and the call goes on (SSE-9).
                assert_eq!(listed[0].state, StreamState::Detached);
                assert!(upstream.is_read());
                break;
            }
            assert!(listed.is_empty(), "after {polls}");
            assert!(!upstream.is_read(), "after {polls}");
            assert_eq!(store.memory.stats().streams, 0, "after {polls}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d13_a_body_dropped_at_any_poll_is_resumed() {
    // By a client that comes back at once, and by one that takes its time.
    for (store, is_slow, is_quiet) in stores().flat_map(|store| {
        let slow = [(false, false), (false, true), (true, false), (true, true)];
        slow.map(|(is_slow, is_quiet)| (store.clone(), is_slow, is_quiet))
    }) {
        for polls in counted() {
            let why = format!("{store:?} after {polls}");
            let server = server(&store);
            let response = server.send(call("s", "2025-11-25")).await;
            let (_, upstream) = server.upstream();
            let says = || {
                upstream.say(format!("{}{}", progress(1), progress(2)));
                upstream.say(progress(3));
                upstream.say(FINAL);
            };
            if !is_quiet {
                says();
            }
            let had = read(polls, response.into_body()).await;
            if is_quiet {
                says();
            }
            if let Some(cursor) = had.cursor() {
                let numbers: Vec<_> = (1..=cursor.sequence()).collect();
                assert_eq!(had.numbers(), numbers, "{why}");
                if is_slow {
                    settle().await;
                }
                expect_suffix(&server, cursor, 4, &why).await;
                expect_log(&store, cursor, 4, &why).await;
                expect_suffix(&server, EventId::new(cursor.stream(), 0), 4, &why).await;
            }
            expect_nothing_left(&server, upstream, &why).await;
            let last = if is_quiet { 0 } else { 4 };
            if had.cursor().is_some_and(|cursor| cursor.sequence() == last) {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d12_a_resume_dropped_at_any_poll_changes_nothing() {
    for store in stores() {
        for is_attached in [true, false] {
            for polls in counted() {
                let why = format!("{store:?} attached {is_attached} after {polls}");
                let server = server(&store);
                let response = server.send(call("s", "2025-11-25")).await;
                let (_, upstream) = server.upstream();
                let mut reader = Reader::new(response.into_body());
                let cursor = primed(&mut reader).await;
                let reader = is_attached.then_some(reader);
                upstream.say(progress(1));
                upstream.say(progress(2));
                settle().await;
                let before = server.layer.handle().streams();
                let cursor_text = text(cursor);
                let resuming = server.send(get("s", Some(&cursor_text)));
                let response = drop_after(polls, resuming).await;
                if response.is_none() {
                    assert_eq!(before, server.layer.handle().streams(), "{why}");
                }
                let is_done = response.is_some();
                drop(response);
                upstream.say(FINAL);
                expect_suffix(&server, cursor, 3, &why).await;
                drop(reader);
                expect_log(&store, cursor, 3, &why).await;
                expect_nothing_left(&server, upstream, &why).await;
                if is_done {
                    break;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d13_a_resumed_body_dropped_at_any_poll_is_resumed_again() {
    for store in stores() {
        for polls in counted() {
            let why = format!("{store:?} after {polls}");
            let server = server(&store);
            let response = server.send(call("s", "2025-11-25")).await;
            let (_, upstream) = server.upstream();
            let mut reader = Reader::new(response.into_body());
            let cursor = primed(&mut reader).await;
            drop(reader);
            // More than one page of the log.
            for step in 1..=4 {
                upstream.say(progress(step).replace("progress\":", &long("progress\":")));
            }
            settle().await;
            let response = server.send(get("s", Some(&text(cursor)))).await;
            upstream.say(progress(5));
            let had = read(polls, response.into_body()).await;
            upstream.say(FINAL);
            let cursor = had.cursor().unwrap_or(cursor);
            expect_suffix(&server, cursor, 6, &why).await;
            expect_log(&store, cursor, 6, &why).await;
            expect_nothing_left(&server, upstream, &why).await;
            if cursor.sequence() == 5 {
                break;
            }
        }
    }
}

/// The same key, behind many bytes.
fn long(key: &str) -> String {
    format!("pad\":\"{}\",\"{key}", "x".repeat(30_000))
}

#[tokio::test(start_paused = true)]
async fn a_suspended_stream_that_is_opened_again_is_resumed_wherever_it_is_dropped() {
    for store in stores() {
        for polls in counted() {
            let why = format!("{store:?} after {polls}");
            let server = server(&store);
            let response = server.send(call("s", "2025-11-25")).await;
            let (_, first) = server.upstream();
            first.say("id: theirs\ndata: {}\n\n");
            drop(first);
            let had = read(MANY, response.into_body()).await;
            assert!(had.is_over, "{why}");
            let cursor = had.cursor().expect("a cursor");
            let listed = server.layer.handle().streams();
            assert_eq!(listed[0].state, StreamState::Suspended, "{why}");

            // First the request is dropped, then the body.
            let cursor_text = text(cursor);
            let resuming = server.send(get("s", Some(&cursor_text)));
            let Some(response) = drop_after(polls.min(20), resuming).await else {
                assert!(!server.was_called(), "{why}");
                assert_eq!(listed, server.layer.handle().streams(), "{why}");
                continue;
            };
            let (parts, second) = server.upstream();
            assert_eq!(parts.headers["last-event-id"], "theirs", "{why}");
            second.say(progress(2));
            let had = read(polls, response.into_body()).await;
            assert!(second.is_read(), "{why}");
            second.say(FINAL);
            let cursor = had.cursor().unwrap_or(cursor);
            expect_suffix(&server, cursor, 3, &why).await;
            expect_log(&store, cursor, 3, &why).await;
            expect_nothing_left(&server, second, &why).await;
            if cursor.sequence() == 2 {
                break;
            }
        }
    }
}

/// The runtime that drains a stream is shut down, and another one serves the client that comes back.
#[test]
fn c53_a_drain_dropped_at_any_poll_is_taken_over() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build();
        runtime.expect("a runtime")
    };
    for store in stores() {
        for polls in 0..30 {
            let why = format!("{store:?} after {polls}");
            let server = server(&store);
            let first = runtime();
            let (cursor, upstream) = first.block_on(async {
                let response = server.send(call("s", "2025-11-25")).await;
                let (_, upstream) = server.upstream();
                let mut reader = Reader::new(response.into_body());
                let cursor = primed(&mut reader).await;
                drop(reader);
                for step in 1..=3 {
                    upstream.say(progress(step));
                }
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
                (cursor, upstream)
            });
            drop(first);
            runtime().block_on(async {
                upstream.say(FINAL);
                expect_suffix(&server, cursor, 4, &why).await;
                expect_log(&store, cursor, 4, &why).await;
                expect_nothing_left(&server, upstream, &why).await;
            });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rpl15_a_stateless_body_dropped_at_any_poll_is_cancelled_at_once() {
    let store = Slow::new(MemoryStore::new(), 1, true);
    for polls in 0..6 {
        let server = server(&store);
        let response = server.send(call("", "2026-07-28")).await;
        let (_, upstream) = server.upstream();
        upstream.say(format!("{}{}", progress(1), progress(2)));
        let had = read(polls, response.into_body()).await;
        assert!(had.events.is_empty(), "ids, after {polls}");
        assert!(!upstream.is_read(), "after {polls}");
        assert!(server.layer.handle().streams().is_empty());
        assert_eq!(store.memory.stats().streams, 0);
    }
}
