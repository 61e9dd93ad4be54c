//! C33, SES-4: a store of sessions that fails or does not answer.

mod session_support;

use std::{sync::Arc, task::Poll, time::Duration};

use http::{Response, StatusCode};
use session_support::{
    CALL, INITIALIZE, SESSION, Server, V, agreed, delete, get, had, post, settle, text,
};
use shadowcat::{
    session::SessionLayer,
    store::{
        MemorySessionStore,
        faulty::{Faults, FaultyStore, Moment, Operation},
    },
};
use tokio::time::Instant;
use tokio_test::{assert_pending, task};
use tower::Service;

const LIMIT: Duration = SessionLayer::<MemorySessionStore>::DEFAULT_STORE_TIMEOUT;
const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];

/// What is stored, how it fails, and the server behind it.
fn server() -> (
    MemorySessionStore,
    Faults,
    Server<FaultyStore<MemorySessionStore>>,
) {
    let memory = MemorySessionStore::new();
    let store = FaultyStore::new(memory.clone());
    let layer = SessionLayer::new(store.clone()).allow_anonymous();
    (memory, store.faults().clone(), Server::new(layer))
}

/// What must not take for ever.
async fn soon<T>(output: impl Future<Output = T>) -> T {
    let limit = LIMIT * 100;
    let output = tokio::time::timeout(limit, output).await;
    output.expect("it should be over long since")
}

#[tokio::test(start_paused = true)]
async fn c33_request_waits_for_a_store_that_hangs_so_long_and_is_answered_with_503() {
    for moment in MOMENTS {
        let (_, faults, server) = server();
        let session = server.initialize(None).await;
        server.asked();
        for request in [post(&session, CALL), get(&session), delete(&session)] {
            faults.hang_next(Operation::LoadSession, moment);
            let start = Instant::now();
            let had = soon(server.send(request)).await;
            assert_eq!(had.status, StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(start.elapsed().as_secs(), LIMIT.as_secs());
            assert!(!server.was_asked());
        }
        // Not 404: the session is there.
        assert_eq!(server.send(post(&session, CALL)).await.status, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn c33_another_limit_can_be_set() {
    let store = FaultyStore::new(MemorySessionStore::new());
    let layer = SessionLayer::new(store.clone()).allow_anonymous();
    let limit = Duration::from_millis(300);
    let server = Server::new(layer.with_store_timeout(limit));
    store
        .faults()
        .hang_next(Operation::OpenSession, Moment::Before);
    let start = Instant::now();
    let had = soon(server.send(post("", INITIALIZE))).await;
    assert_eq!(had.status, 503);
    assert!((limit..limit * 2).contains(&start.elapsed()));
    assert_eq!(server.initialize(None).await.len(), 43);
}

#[tokio::test(start_paused = true)]
async fn session_that_is_opened_or_named_too_late_is_taken_back_and_its_server_told() {
    for operation in [Operation::OpenSession, Operation::EstablishSession] {
        for moment in MOMENTS {
            let (memory, faults, server) = server();
            faults.hang_next(operation, moment);
            let had = soon(server.send(post("", INITIALIZE))).await;
            assert_eq!(had.status, 503, "{operation:?}");
            let start = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-31503,"#;
            assert!(had.body.starts_with(start), "{had:?}");
            // The chore waits for the store as well, but not for ever.
            tokio::time::sleep(Duration::from_secs(15)).await;
            settle().await;
            let is_named = operation == Operation::EstablishSession;
            if is_named {
                assert_eq!(memory.stats().sessions, 0, "{operation:?} {moment:?}");
                assert!(server.world().sessions.is_empty(), "SES-11");
            }
            assert_eq!(server.layer.handle().stats().opened_total, 0);
        }
    }
}

/// How the answer to `establish` is lost.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// The client goes while the store is slow, after so many polls.
    GivenUp(u32),
    Fails(Moment),
    Hangs(Moment),
}

#[tokio::test(start_paused = true)]
async fn b11_se2_session_of_somebody_else_is_not_ended_when_the_answer_of_the_store_is_lost() {
    let given_up = (1..79).map(Lost::GivenUp);
    let others = MOMENTS.map(|moment| [Lost::Fails(moment), Lost::Hangs(moment)]);
    for lost in given_up.chain(others.into_iter().flatten()) {
        let (memory, faults, server) = server();
        // A server that gives the same session to everybody.
        server.script(|asked| {
            let response = Response::builder()
                .header(SESSION, "up-1")
                .header("content-type", "application/json");
            (asked.body == INITIALIZE).then(|| response.body(text(agreed(V))).expect("valid"))
        });
        server
            .world()
            .sessions
            .insert("up-1".to_owned(), Vec::new());
        let first = server.initialize(None).await;
        let stream = server.open(get(&first)).await;
        match lost {
            Lost::GivenUp(polls) => {
                faults.slow_down(20);
                let mut service = server.service();
                let mut opening = task::spawn(service.call(post("", INITIALIZE)));
                for _ in 0..polls {
                    assert_pending!(opening.poll());
                }
                faults.slow_down(0);
                drop(opening);
            }
            Lost::Fails(moment) => faults.fail_next(Operation::EstablishSession, moment),
            Lost::Hangs(moment) => faults.hang_next(Operation::EstablishSession, moment),
        }
        if !matches!(lost, Lost::GivenUp(_)) {
            assert_eq!(soon(server.send(post("", INITIALIZE))).await.status, 503);
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        let asked = server.asked();
        let is_told = asked.iter().any(|one| one.parts.method == "DELETE");
        assert!(!is_told, "{lost:?}");
        assert_eq!(server.send(post(&first, CALL)).await.status, 200);
        assert_eq!(memory.stats().sessions, 1, "the second is taken back");
        drop(server.stream("up-1"));
        assert_eq!(had(stream).await.body, "");
    }
}

#[tokio::test(start_paused = true)]
async fn b11_server_is_told_once_the_store_says_that_the_session_is_nobody_elses() {
    for moment in MOMENTS {
        let (memory, faults, server) = server();
        faults.fail_next(Operation::EstablishSession, moment);
        for _ in 0..3 {
            faults.fail_next(Operation::EstablishSession, Moment::Before);
        }
        faults.fail_next(Operation::EndSession, moment);
        assert_eq!(server.send(post("", INITIALIZE)).await.status, 503);
        let fact = server.asked().pop().expect("it was asked").fact().clone();
        settle().await;
        assert!(!server.was_asked(), "it is not known yet");
        tokio::time::sleep(Duration::from_secs(20)).await;
        let asked = server.asked();
        assert_eq!(asked.len(), 1, "{moment:?}");
        assert_eq!(asked[0].session(), Some("up-1"));
        assert_eq!(memory.stats().sessions, 0);
        assert!(fact.is_ended());
        assert_eq!(server.layer.handle().stats().opened_total, 0);
    }
}

/// Each took the next with it, until the stack was full.
#[tokio::test(start_paused = true)]
async fn c33_very_many_initializes_that_are_given_up_while_the_store_hangs_are_taken_back() {
    for operation in [Operation::EstablishSession, Operation::OpenSession] {
        let (memory, faults, server) = server();
        let mut service = server.service();
        for _ in 0..9_000 {
            faults.hang_next(operation, Moment::Before);
            let mut opening = task::spawn(service.call(post("", INITIALIZE)));
            assert_pending!(opening.poll());
            drop(opening);
        }
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(memory.stats().sessions, 0, "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_is_slow_but_not_too_slow_gives_the_session_back() {
    let (memory, faults, server) = server();
    let mut service = server.service();
    faults.slow_down(40);
    let mut opening = task::spawn(service.call(post("", INITIALIZE)));
    assert_pending!(opening.poll());
    drop(opening);
    settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(memory.stats().sessions, 0);
    let had = server.send(post("", INITIALIZE)).await;
    assert_eq!(had.status, 200);
}

/// Two nodes that share what is stored: what one has ended, the other one must not find.
#[tokio::test(start_paused = true)]
async fn se5_b14_delete_that_was_accepted_is_told_to_the_store_until_it_listens() {
    for hangs in [false, true] {
        let (memory, faults, server) = server();
        let session = server.initialize(None).await;
        let stream = server.open(get(&session)).await;
        for _ in 0..20 {
            if hangs {
                faults.hang_next(Operation::EndSession, Moment::Before);
            } else {
                faults.fail_next(Operation::EndSession, Moment::Before);
            }
        }
        let deleted = soon(server.send(delete(&session))).await;
        assert_eq!(deleted.status, 200, "its server has said so");
        // On this node it is over at once.
        assert_eq!(had(stream).await.body, "");
        assert_eq!(server.send(post(&session, CALL)).await.status, 404);
        let handle = server.layer.handle();
        assert_eq!(handle.count().await.expect("a count"), 0);
        let list = handle.list(None, 1000).await.expect("a list");
        assert_eq!(list.sessions, []);
        assert_eq!(memory.stats().sessions, 1);
        tokio::time::sleep(Duration::from_secs(10 * 60)).await;
        assert_eq!(memory.stats().sessions, 1, "the store does not listen yet");
        tokio::time::sleep(Duration::from_secs(20 * 60)).await;
        assert_eq!(memory.stats().sessions, 0, "hangs: {hangs}");
        assert_eq!(memory.stats().expired_total, 0);
        let stats = handle.stats();
        assert_eq!((stats.opened_total, stats.ended_total), (1, 1));
    }
}

/// Another node, or time, was quicker.
#[tokio::test(start_paused = true)]
async fn terminate_says_that_it_has_ended_a_session_that_the_store_has_just_lost() {
    let (memory, faults, server) = server();
    let session = server.initialize(None).await;
    let handle = server.layer.handle();
    let tag = handle.list(None, 1000).await.expect("a list").sessions[0].tag;
    let fact = server.asked().pop().expect("it was asked").fact().clone();
    faults.slow_down(1);
    let mut terminating = task::spawn(handle.terminate(tag));
    // The session is found, and the store about to end it.
    while !fact.is_ended() {
        assert_pending!(terminating.poll());
    }
    assert_eq!(memory.stats().sessions, 1);
    tokio::time::advance(MemorySessionStore::DEFAULT_IDLE_TIMEOUT * 2).await;
    assert!(terminating.await.expect("the store works"));
    assert_eq!(server.send(post(&session, CALL)).await.status, 404);
    assert!(!handle.terminate(tag).await.expect("the store works"));
    settle().await;
    let told = server.asked();
    assert_eq!(told.len(), 1, "its server is told once");
    assert_eq!(handle.stats().ended_total, 1);
}

#[tokio::test(start_paused = true)]
async fn delete_whose_client_goes_while_the_store_forgets_is_done_nevertheless() {
    let (memory, faults, server) = server();
    let session = server.initialize(None).await;
    let mut service = server.service();
    faults.hang_next(Operation::EndSession, Moment::Before);
    let mut deleting = task::spawn(service.call(delete(&session)));
    while server.world().sessions.contains_key("up-1") {
        assert_pending!(deleting.poll());
    }
    assert_pending!(deleting.poll());
    drop(deleting);
    settle().await;
    assert_eq!(memory.stats().sessions, 0);
    assert_eq!(server.send(post(&session, CALL)).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn terminate_is_done_to_its_end_also_if_nobody_waits_or_the_store_fails() {
    for is_dropped in [false, true] {
        let (memory, faults, server) = server();
        let session = server.initialize(None).await;
        let stream = server.open(get(&session)).await;
        let handle = server.layer.handle();
        let tag = handle.list(None, 1000).await.expect("a list").sessions[0].tag;
        server.asked();
        if is_dropped {
            faults.hang_next(Operation::EndSession, Moment::Before);
            let mut terminating = task::spawn(handle.terminate(tag));
            for _ in 0..3 {
                assert_pending!(terminating.poll());
                settle().await;
            }
            drop(terminating);
        } else {
            faults.fail_next(Operation::EndSession, Moment::Before);
            assert!(handle.terminate(tag).await.is_err());
        }
        assert_eq!(had(stream).await.body, "");
        settle().await;
        let told: Vec<_> = server.asked();
        assert_eq!(told.len(), 1, "its server is told once");
        assert_eq!(told[0].parts.method, "DELETE");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(memory.stats().sessions, 0);
        let stats = handle.stats();
        assert_eq!((stats.opened_total, stats.ended_total), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn stores_that_hang_do_not_keep_servers_from_being_told() {
    let (memory, faults, server) = server();
    let mut tags = Vec::new();
    for _ in 0..40 {
        server.initialize(None).await;
    }
    let handle = server.layer.handle();
    for info in handle.list(None, 1000).await.expect("a list").sessions {
        tags.push(info.tag);
    }
    for _ in 0..80 {
        faults.hang_next(Operation::EndSession, Moment::Before);
    }
    for tag in tags {
        let mut terminating = task::spawn(handle.terminate(tag));
        assert!(terminating.poll().is_pending());
    }
    for _ in 0..10 {
        settle().await;
    }
    assert!(server.world().sessions.is_empty(), "SES-11");
    tokio::time::sleep(Duration::from_secs(20 * 60)).await;
    assert_eq!(memory.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn ses11_server_is_told_of_an_idle_session_also_if_the_answer_of_the_store_is_lost() {
    for moment in MOMENTS {
        for hangs in [false, true] {
            let (memory, faults, server) = server();
            server.initialize(None).await;
            settle().await;
            server.asked();
            let almost = MemorySessionStore::DEFAULT_IDLE_TIMEOUT - Duration::from_secs(1);
            tokio::time::sleep(almost).await;
            for _ in 0..3 {
                if hangs {
                    faults.hang_next(Operation::ExpireSessions, moment);
                } else {
                    faults.fail_next(Operation::ExpireSessions, moment);
                }
            }
            tokio::time::sleep(MemorySessionStore::DEFAULT_IDLE_TIMEOUT * 2).await;
            settle().await;
            assert_eq!(memory.stats().sessions, 0);
            let told = server.asked();
            assert_eq!(told.len(), 1, "{moment:?}, hangs: {hangs}");
            let stats = server.layer.handle().stats();
            assert_eq!((stats.ended_total, stats.expired_total), (1, 1));
        }
    }
}

/// Whatever else hangs: a sweep, or what is left of requests whose clients are gone.
#[tokio::test(start_paused = true)]
async fn ses11_server_is_told_at_once_whatever_else_the_store_hangs_at() {
    for operation in [
        Operation::ExpireSessions,
        Operation::OpenSession,
        Operation::EstablishSession,
        Operation::LearnSession,
        Operation::AbandonSession,
    ] {
        let (_, faults, server) = server();
        server.initialize(None).await;
        settle().await;
        for _ in 0..400 {
            faults.hang_next(operation, Moment::Before);
        }
        if operation == Operation::ExpireSessions {
            // Until the next sweep is under way.
            let next = MemorySessionStore::DEFAULT_IDLE_TIMEOUT / 8;
            tokio::time::sleep(next + Duration::from_millis(10)).await;
        }
        let mut service = server.service();
        for _ in 0..160 {
            let mut opening = task::spawn(service.call(post("", INITIALIZE)));
            // One that is answered learns its version from the body, and then there is nobody.
            if let Poll::Ready(Ok(response)) = opening.poll() {
                had(response).await;
            }
        }
        settle().await;
        let handle = server.layer.handle();
        server.asked();
        let sessions = handle.list(None, 1000).await.expect("a list").sessions;
        assert!(handle.terminate(sessions[0].tag).await.expect("it works"));
        settle().await;
        let asked = server.asked();
        let told = asked.iter().filter(|one| one.parts.method == "DELETE");
        assert_eq!(told.count(), 1, "{operation:?}");
    }
}

/// Who else uses the store finds it as it should be, and no server is left without a word.
#[tokio::test(start_paused = true)]
async fn what_a_layer_leaves_behind_is_seen_through_when_it_is_gone() {
    for polls in 1..79 {
        let (memory, faults, server) = server();
        let world = Arc::clone(&server.world);
        faults.slow_down(20);
        let mut service = server.service();
        let mut opening = task::spawn(service.call(post("", INITIALIZE)));
        for _ in 0..polls {
            assert_pending!(opening.poll());
        }
        faults.slow_down(0);
        drop((opening, service, server));
        for _ in 0..20 {
            settle().await;
        }
        assert_eq!(memory.stats().sessions, 0, "after {polls}");
        let world = world.lock().expect("not poisoned");
        assert!(world.sessions.is_empty(), "after {polls}");
    }
    // What was to be tried later is tried now, and only once more.
    for fails in [1, 2] {
        let (memory, faults, server) = server();
        let session = server.initialize(None).await;
        for _ in 0..=fails {
            faults.fail_next(Operation::EndSession, Moment::Before);
        }
        assert_eq!(server.send(delete(&session)).await.status, 200);
        settle().await;
        drop(server);
        settle().await;
        assert_eq!(memory.stats().sessions, fails - 1);
    }
}

#[tokio::test(start_paused = true)]
async fn d06_d09_request_whose_session_ends_while_a_slow_store_finds_it_is_refused() {
    let (_, faults, server) = server();
    let handle = server.layer.handle();
    // However far the store has come: eight polls before it looks, and eight after.
    for polls in 0..16 {
        let session = server.initialize(None).await;
        let tag = handle.list(None, 1000).await.expect("a list").sessions[0].tag;
        server.asked();
        faults.slow_down(8);
        let mut service = server.service();
        let mut call = task::spawn(service.call(get(&session)));
        for _ in 0..polls {
            assert_pending!(call.poll());
        }
        faults.slow_down(0);
        assert!(handle.terminate(tag).await.expect("the store works"));
        let Ok(response) = call.await;
        assert_eq!(response.status(), 404, "after {polls}");
        settle().await;
        let asked = server.asked();
        assert!(asked.iter().all(|one| one.parts.method == "DELETE"));
    }
}

#[test]
fn c33_without_a_runtime_a_slow_store_is_waited_for_as_long_as_it_takes() {
    let (_, faults, server) = server();
    faults.slow_down(3);
    let mut opening = task::spawn(server.send(post("", INITIALIZE)));
    let opened = loop {
        if let Poll::Ready(had) = opening.poll() {
            break had;
        }
    };
    assert_eq!(opened.status, 200);
}
