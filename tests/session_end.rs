//! D06 to D11: how sessions end, whatever happens at the same time.

mod session_support;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use session_support::{
    CALL, INITIALIZE, SESSION, Server, V, agreed, delete, get, had, held, opened, post, settle,
    text,
};
use shadowcat::{
    session::{Session, SessionLayer},
    store::{
        HookKey, MemorySessionStore,
        faulty::{FaultyStore, Moment, Operation},
    },
};
use tokio::sync::Semaphore;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, service_fn};

#[tokio::test]
async fn ses5_delete_that_the_server_accepts_ends_the_session_for_everybody() {
    for status in [200, 202, 204, 404] {
        let server = Server::anonymous();
        let session = server.initialize(None).await;
        let fact = server.asked().pop().expect("it was asked").fact().clone();
        let told = Arc::<AtomicUsize>::default();
        let key = HookKey::new();
        for _ in 0..3 {
            let told = Arc::clone(&told);
            fact.on_end(key, move || {
                told.fetch_add(1, Relaxed);
            });
        }
        let streams = [
            server.open(get(&session)).await,
            server.open(get(&session)).await,
        ];
        server.script(move |asked| {
            let response = Response::builder().status(status).header(SESSION, "up-1");
            let is_delete = asked.parts.method == "DELETE";
            is_delete.then(|| response.body(text("theirs")).expect("valid"))
        });
        let answer = server.send(delete(&session)).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (status, &b"theirs"[..])
        );
        assert!(answer.headers.get(SESSION).is_none());
        assert!(fact.is_ended());
        assert_eq!(told.load(Relaxed), 1);
        for stream in streams {
            assert_eq!(had(stream).await.body, "");
        }
        for open in &server.world().sessions["up-1"] {
            assert!(!open.is_read(), "nobody reads on");
        }
        server.asked();
        for request in [post(&session, CALL), get(&session), delete(&session)] {
            assert_eq!(server.send(request).await.status, 404);
        }
        assert!(!server.was_asked());
        // It is not too late to be told.
        let late = Arc::clone(&told);
        fact.on_end(HookKey::new(), move || {
            late.fetch_add(1, Relaxed);
        });
        assert_eq!(told.load(Relaxed), 2);
        assert_eq!(server.layer.handle().stats().ended_total, 1);
    }
}

#[tokio::test]
async fn sse13_stream_that_may_end_early_has_no_length() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    for (kind, length) in [("text/event-stream", None), ("application/json", Some("9"))] {
        server.script(move |_| {
            let response = Response::builder()
                .header("content-type", kind)
                .header("content-length", "9");
            Some(response.body(text("data: x\n\n")).expect("valid"))
        });
        let response = server.open(post(&session, CALL)).await;
        let said = response.headers().get("content-length");
        assert_eq!(
            said.map(|value| value.as_bytes()),
            length.map(str::as_bytes)
        );
        assert_eq!(had(response).await.body, "data: x\n\n");
    }
}

#[tokio::test]
async fn ses5_delete_that_the_server_refuses_changes_nothing() {
    for status in [405, 403, 500, 503] {
        let server = Server::anonymous();
        let session = server.initialize(None).await;
        let stream = server.open(get(&session)).await;
        server.script(move |asked| {
            let response = Response::builder().status(status);
            let is_delete = asked.parts.method == "DELETE";
            is_delete.then(|| response.body(text("")).expect("valid"))
        });
        for _ in 0..2 {
            assert_eq!(server.send(delete(&session)).await.status, status);
        }
        assert_eq!(server.send(post(&session, CALL)).await.status, 200);
        drop(server.world().sessions.remove("up-1"));
        had(stream).await;
    }
}

#[tokio::test]
async fn a_404_of_the_server_ends_the_session() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    let stream = server.open(get(&session)).await;
    // It forgets; the stream stays open.
    let kept = server.world().sessions.remove("up-1");
    let answer = server.send(post(&session, CALL)).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.body),
        (404, &b"{}"[..]),
        "the server's own"
    );
    assert_eq!(had(stream).await.body, "");
    drop(kept);
    server.asked();
    assert_eq!(server.send(post(&session, CALL)).await.status, 404);
    settle().await;
    assert!(!server.was_asked(), "it knows");
}

#[tokio::test]
async fn handle_lists_hashed_ids_and_terminates() {
    let server = Server::anonymous();
    let sessions = [server.initialize(None).await, server.initialize(None).await];
    let handle = server.layer.handle();
    let stream = server.open(get(&sessions[0])).await;
    assert_eq!(handle.count().await.unwrap(), 2);
    let mut all = Vec::new();
    let mut from = None;
    loop {
        let part = handle.list(from, 1).await.unwrap();
        all.extend(part.sessions);
        from = part.next;
        if from.is_none() {
            break;
        }
    }
    assert_eq!(all.len(), 2);
    let open = all
        .iter()
        .find(|one| one.active == 1)
        .expect("the one with a stream");
    assert_eq!(
        open.version.map(|version| version.as_str()),
        Some("2025-11-25")
    );
    let tag = open.tag.to_string();
    assert_eq!(tag.parse(), Ok(open.tag));
    assert!(tag[1..].parse::<shadowcat::session::SessionTag>().is_err());

    server.asked();
    assert!(handle.terminate(open.tag).await.unwrap());
    assert!(!handle.terminate(open.tag).await.unwrap());
    assert_eq!(had(stream).await.body, "");
    assert_eq!(server.send(post(&sessions[0], CALL)).await.status, 404);
    assert_eq!(server.send(post(&sessions[1], CALL)).await.status, 200);
    settle().await;
    let asked = server.asked();
    let told: Vec<_> = asked
        .iter()
        .filter(|asked| asked.parts.method == "DELETE")
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].session(), Some("up-1"));
    assert_eq!(handle.count().await.unwrap(), 1);
}

#[tokio::test]
async fn d06_answer_that_comes_after_the_end_is_no_stream_any_more() {
    let (mut service, gate, _) = held();
    let session = opened(&mut service, &gate).await;
    let mut listening = task::spawn(service.call(get(&session)));
    assert_pending!(listening.poll());
    let mut deleting = task::spawn(service.call(delete(&session)));
    assert_pending!(deleting.poll());
    // The GET waits first, so it is let go first; it is polled last.
    gate.add_permits(2);
    let mut delayed = task::spawn(service.call(get(&session)));
    assert_pending!(delayed.poll());
    let Ok(response) = listening.await;
    let mut stream = response.into_body();
    let Ok(deleted) = deleting.await;
    assert_eq!(deleted.status(), 200);
    assert!(stream.frame().await.is_none(), "not even what is there");
    assert!(stream.is_end_stream());
    gate.add_permits(1);
    let Ok(response) = delayed.await;
    assert_eq!(had(response).await.body, "");
}

#[tokio::test]
async fn d09_of_two_deletes_one_reaches_the_server() {
    let (mut service, gate, calls) = held();
    let session = opened(&mut service, &gate).await;
    let before = calls.load(Relaxed);
    let mut first = task::spawn(service.call(delete(&session)));
    assert_pending!(first.poll());
    let Ok(second) = assert_ready!(task::spawn(service.call(delete(&session))).poll());
    assert_eq!(second.status(), 404);
    gate.add_permits(1);
    let Ok(first) = first.await;
    assert_eq!(first.status(), 200);
    assert_eq!(calls.load(Relaxed), before + 1);
}

#[tokio::test]
async fn d09_delete_that_is_given_up_leaves_the_next_one_its_turn() {
    let (mut service, gate, _) = held();
    let session = opened(&mut service, &gate).await;
    let mut first = task::spawn(service.call(delete(&session)));
    assert_pending!(first.poll());
    drop(first);
    gate.add_permits(1);
    let Ok(second) = service.call(delete(&session)).await;
    assert_eq!(second.status(), 200);
}

/// Whatever becomes of the client's DELETE, the server is asked once more only if it has not ended the
/// session.
#[tokio::test(start_paused = true)]
async fn d09_of_terminate_and_a_delete_under_way_one_reaches_the_server() {
    for (status, is_dropped, deletes) in [
        (Some(200), false, 1),
        (Some(204), false, 1),
        (Some(404), false, 1),
        (Some(405), false, 2),
        (Some(503), false, 2),
        (None, true, 2),
    ] {
        let gate = Arc::new(Semaphore::new(0));
        let told = Arc::<AtomicUsize>::default();
        let (open, count) = (Arc::clone(&gate), Arc::clone(&told));
        let layer = SessionLayer::default().allow_anonymous();
        let mut service = layer.layer(service_fn(move |request: Request<Full<Bytes>>| {
            let (open, count) = (Arc::clone(&open), Arc::clone(&count));
            async move {
                let mut response = Response::builder();
                if request.method() == "DELETE" {
                    let is_first = count.fetch_add(1, Relaxed) == 0;
                    if is_first {
                        open.acquire().await.expect("not closed").forget();
                        response = response.status(status.unwrap_or(200));
                    }
                } else {
                    response = response.header(SESSION, "up");
                }
                Ok::<_, Infallible>(response.body(text(agreed(V))).expect("valid"))
            }
        }));
        let Ok(opened) = service.call(post("", INITIALIZE)).await;
        let session = had(opened).await.session();
        let mut deleting = task::spawn(service.call(delete(&session)));
        assert_pending!(deleting.poll());
        let handle = layer.handle();
        let tag = handle.list(None, 10).await.expect("a list").sessions[0].tag;
        assert!(handle.terminate(tag).await.expect("it works"));
        settle().await;
        assert_eq!(told.load(Relaxed), 1, "{status:?}");
        if is_dropped {
            drop(deleting);
        } else {
            gate.add_permits(1);
            let Ok(response) = deleting.await;
            assert_eq!(Some(response.status().as_u16()), status);
        }
        settle().await;
        assert_eq!(told.load(Relaxed), deletes, "{status:?}");
        let stats = handle.stats();
        assert_eq!((stats.opened_total, stats.ended_total), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn d10_request_that_is_under_way_when_the_time_is_up_is_served_whole() {
    let (mut service, gate, _) = held();
    let session = opened(&mut service, &gate).await;
    let mut call = task::spawn(service.call(post(&session, CALL)));
    assert_pending!(call.poll());
    tokio::time::sleep(MemorySessionStore::DEFAULT_IDLE_TIMEOUT * 2).await;
    gate.add_permits(1);
    let Ok(response) = call.await;
    assert_eq!(response.status(), 200);
    assert_eq!(had(response).await.body, "data: x\n\n");
    gate.add_permits(1);
    let Ok(response) = service.call(post(&session, CALL)).await;
    assert_eq!(response.status(), 200, "and it was used just now");
}

#[tokio::test(start_paused = true)]
async fn c60_many_sessions_expire_a_few_at_a_time() {
    const COUNT: usize = 3_000;
    let idle = Duration::from_secs(60);
    let store = MemorySessionStore::new()
        .with_idle_timeout(Some(idle))
        .with_max_tombstones(100);
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    for _ in 0..COUNT {
        server.initialize(None).await;
    }
    server.asked();
    tokio::time::advance(idle).await;
    // Others have their turns meanwhile.
    let mut turns = 0;
    while !server.world().sessions.is_empty() {
        tokio::task::yield_now().await;
        turns += 1;
        assert!(turns < 60_000, "{} are left", server.world().sessions.len());
    }
    assert!(turns > COUNT / 100, "in {turns} turns");
    assert_eq!(store.stats().sessions, 0);
    assert!(store.stats().tombstones <= 128);
    assert_eq!(server.layer.handle().stats().expired_total, COUNT as u64);
}

#[tokio::test]
async fn lease_ends_with_the_body_however_that_ends() {
    let server = Server::anonymous();
    let session = server.initialize(None).await;
    let handle = server.layer.handle();
    let active = async || handle.list(None, 1000).await.expect("a list").sessions[0].active;
    for how in 0..4 {
        let response = server.open(get(&session)).await;
        let open = server
            .world()
            .sessions
            .get_mut("up-1")
            .expect("there")
            .pop()
            .expect("open");
        open.say("data: x\n\n");
        assert_eq!(active().await, 1);
        let mut body = response.into_body();
        body.frame().await.expect("a frame").expect("no error");
        match how {
            0 => drop(body),
            1 => {
                open.break_off();
                assert!(body.frame().await.expect("an error").is_err());
                assert_eq!(active().await, 0);
                assert!(body.frame().await.is_none());
            }
            2 => {
                drop(open);
                assert!(body.frame().await.is_none());
                assert_eq!(active().await, 0);
                assert!(body.frame().await.is_none());
            }
            _ => {
                // In the middle of the other requests.
                assert_eq!(server.send(post(&session, CALL)).await.status, 200);
                assert_eq!(active().await, 1);
                drop(body);
            }
        }
        assert_eq!(active().await, 0, "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_hangs_when_sessions_expire_is_asked_again_and_not_twice_at_once() {
    let idle = MemorySessionStore::DEFAULT_IDLE_TIMEOUT;
    let memory = MemorySessionStore::new();
    let store = FaultyStore::new(memory.clone());
    let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
    server.initialize(None).await;
    tokio::time::sleep(idle - Duration::from_secs(1)).await;
    for _ in 0..2 {
        let faults = store.faults();
        faults.hang_next(Operation::ExpireSessions, Moment::Before);
    }
    // The next one is at the end of that time, and each takes 10 s and a pause.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..4 {
        // The task has something else to do.
        let session = server.initialize(None).await;
        let fact = server.asked().pop().expect("it was asked").fact().clone();
        let list = server.layer.handle().list(None, 10).await.expect("a list");
        let [info] = list.sessions[..] else {
            panic!("what is idle is not listed: {list:?}");
        };
        assert_eq!(info.owner, fact.owner());
        assert!(
            server
                .layer
                .handle()
                .terminate(info.tag)
                .await
                .expect("it works")
        );
        settle().await;
        assert_eq!(server.send(post(&session, CALL)).await.status, 404);
        assert!(server.world().sessions.contains_key("up-1"));
    }
    tokio::time::sleep(Duration::from_secs(22)).await;
    assert!(server.world().sessions.is_empty());
    assert_eq!(memory.stats().sessions, 0);
}

#[tokio::test]
async fn fact_is_found_in_the_request_of_an_initialize_before_there_is_a_session() {
    let server = Server::anonymous();
    server.script(|asked| {
        let fact = asked.parts.extensions.get::<Session>()?;
        assert_eq!(fact.is_established(), asked.session().is_some());
        assert!(!fact.is_ended());
        None
    });
    let session = server.initialize(None).await;
    server.send(post(&session, CALL)).await;
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

#[test]
fn c53_sessions_expire_on_another_runtime_when_the_first_is_gone() {
    let memory = MemorySessionStore::new();
    let server = Server::new(SessionLayer::new(memory.clone()).allow_anonymous());
    let first = runtime();
    first.block_on(server.initialize(None));
    drop(first);
    runtime().block_on(async {
        server.initialize(None).await;
        tokio::time::sleep(MemorySessionStore::DEFAULT_IDLE_TIMEOUT * 2).await;
        settle().await;
        assert_eq!(memory.stats().sessions, 0);
        assert!(server.world().sessions.is_empty());
    });
}

/// What waits to be tried again, and what is under way when the runtime goes.
#[test]
fn c53_b14_store_is_told_of_an_end_on_another_runtime_when_the_first_is_gone() {
    for hangs in [false, true] {
        let memory = MemorySessionStore::new().with_idle_timeout(None);
        let store = FaultyStore::new(memory.clone());
        let server = Server::new(SessionLayer::new(store.clone()).allow_anonymous());
        let first = runtime();
        first.block_on(async {
            let session = server.initialize(None).await;
            let faults = store.faults();
            faults.fail_next(Operation::EndSession, Moment::Before);
            if hangs {
                faults.hang_next(Operation::EndSession, Moment::Before);
            } else {
                faults.fail_next(Operation::EndSession, Moment::Before);
            }
            assert_eq!(server.send(delete(&session)).await.status, 200);
            settle().await;
        });
        drop(first);
        assert_eq!(memory.stats().sessions, 1);
        runtime().block_on(async {
            server.initialize(None).await;
            settle().await;
            assert_eq!(memory.stats().sessions, 1, "hangs: {hangs}");
        });
    }
}
