//! D08, D09, D12: whatever is dropped, at whichever poll, over a store that takes its time.

#[path = "replay_cancel/polls.rs"]
#[allow(dead_code)]
mod polls;
#[path = "replay_model/slow.rs"]
mod slow;

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
use http_body_util::Full;
use polls::{Late, drop_after, pend};
use session_support::{CALL, INITIALIZE, SESSION, agreed, delete, get, had, post, settle, text};
use shadowcat::{
    session::SessionLayer,
    store::{MemorySessionStore, faulty::FaultyStore},
};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, service_fn};

/// More polls than anything here takes.
const MANY: usize = 100;

type LateStore = FaultyStore<MemorySessionStore>;

/// What a request is told, at a server that takes three polls, over a store that takes some.
fn late(
    layer: &SessionLayer<LateStore>,
) -> impl Service<Request<Late>, Response = session_support::Open, Error = Infallible, Future: Send>
+ Clone
+ use<> {
    let given = Arc::<AtomicUsize>::default();
    layer.layer(service_fn(move |request: Request<Late>| {
        let given = Arc::clone(&given);
        async move {
            pend(3).await;
            let mut response = Response::builder();
            if request.method() == "POST" && !request.headers().contains_key(SESSION) {
                let nth = given.fetch_add(1, Relaxed);
                response = response.header(SESSION, format!("up-{nth}"));
            } else if request.method() == "GET" {
                response = response.header("content-type", "text/event-stream");
            }
            Ok(response.body(text(agreed("2025-11-25"))).expect("valid"))
        }
    }))
}

fn slowly(request: Request<Full<Bytes>>, body: &'static str) -> Request<Late> {
    request.map(|_| Late(3, Some(Bytes::from_static(body.as_bytes()))))
}

#[tokio::test(start_paused = true)]
async fn d08_initialize_dropped_at_any_poll_leaves_no_session() {
    for polls in [0, 1, 3] {
        for dropped_after in 0..MANY {
            let memory = MemorySessionStore::new();
            let store = FaultyStore::new(memory.clone());
            store.faults().slow_down(polls);
            let layer = SessionLayer::new(store.clone()).allow_anonymous();
            let mut service = late(&layer);
            let request = slowly(post("", INITIALIZE), INITIALIZE);
            let response = drop_after(dropped_after, service.call(request)).await;
            if let Some(Ok(response)) = response {
                assert_eq!(response.status(), 200);
                assert_eq!(memory.stats().sessions, 1);
                break;
            }
            assert!(dropped_after < MANY - 1, "it is never done");
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(
                memory.stats().sessions,
                0,
                "after {dropped_after} of {polls}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d12_request_dropped_at_any_poll_leaves_the_session_as_it_was() {
    for polls in [0, 1, 3] {
        for (request, body) in [
            (post as fn(&str, &'static str) -> Request<Full<Bytes>>, CALL),
            (|session, _| get(session), ""),
            (|session, _| delete(session), ""),
        ] {
            for dropped_after in 0..MANY {
                let memory = MemorySessionStore::new();
                let store = FaultyStore::new(memory.clone());
                let layer = SessionLayer::new(store.clone()).allow_anonymous();
                let mut service = late(&layer);
                let opening = service.call(slowly(post("", INITIALIZE), INITIALIZE));
                let Ok(opened) = opening.await;
                let session = had(opened).await.session();
                store.faults().slow_down(polls);
                let request = slowly(request(&session, body), body);
                let is_delete = request.method() == "DELETE";
                let response = drop_after(dropped_after, service.call(request)).await;
                let is_done = response.is_some();
                // A body that is dropped at once, and one that is read.
                drop(response);
                settle().await;
                let list = layer.handle().list(None, 10).await.expect("a list");
                let leases: Vec<_> = list.sessions.iter().map(|one| one.active).collect();
                let why = format!("after {dropped_after} of {polls}");
                if is_delete && leases.is_empty() {
                    // It has reached the server, and the store was asked.
                    assert!(dropped_after > 3, "{why}");
                } else {
                    assert_eq!(leases, [0], "{why}");
                    let Ok(next) = service.call(slowly(get(&session), "")).await;
                    assert_eq!(
                        next.status(),
                        if is_delete && is_done { 404 } else { 200 },
                        "{why}"
                    );
                    if is_delete {
                        // The claim is not left behind.
                        let Ok(next) = service.call(slowly(delete(&session), "")).await;
                        assert_eq!(next.status(), 200, "{why}");
                    }
                }
                if is_done {
                    break;
                }
                assert!(dropped_after < MANY - 1, "it is never done");
            }
        }
    }
}

#[tokio::test]
async fn d09_second_delete_finds_nothing_also_while_a_slow_store_forgets() {
    let store = FaultyStore::new(MemorySessionStore::new());
    let layer = SessionLayer::new(store.clone()).allow_anonymous();
    let mut service = late(&layer);
    let Ok(opened) = service.call(slowly(post("", INITIALIZE), INITIALIZE)).await;
    let session = had(opened).await.session();
    let mut first = task::spawn(service.call(slowly(delete(&session), "")));
    // The server answers at the fourth poll, and the store does not for a long time.
    for _ in 0..4 {
        assert_pending!(first.poll());
        store.faults().slow_down(40);
    }
    store.faults().slow_down(0);
    let again = service.call(slowly(delete(&session), ""));
    let Ok(second) = assert_ready!(task::spawn(again).poll());
    assert_eq!(second.status(), 404);
    let Ok(first) = first.await;
    assert_eq!(first.status(), 200);
}
