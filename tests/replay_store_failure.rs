//! A store that fails costs a stream its resumption, or its life, as it was told to; never an event.

mod replay_support;

use http::StatusCode;
use replay_support::{FINAL, Heard, Reader, Server, call, get, progress};
use shadowcat::{
    replay::{BodyErrorKind, ReplayLayer, StoreFailure},
    store::{
        MemoryStore,
        faulty::{FaultyStore, Moment, Operation},
    },
};

type Store = FaultyStore<MemoryStore>;

/// Each way in which the log of a stream cannot be opened, or its second event not be recorded, by a
/// store that is ready at once and by one that is not.
fn faults() -> impl Iterator<Item = (Operation, Moment, u32)> {
    let operations = [Operation::Open, Operation::Append];
    let moments = [Moment::Before, Moment::After];
    operations.into_iter().flat_map(move |operation| {
        moments
            .into_iter()
            .flat_map(move |moment| [0, 3].map(|polls| (operation, moment, polls)))
    })
}

/// A server behind a layer whose store fails in that way, once there was an event if it is to fail at
/// recording.
struct Case {
    server: Server<Store>,
    store: Store,
    operation: Operation,
    moment: Moment,
}

impl Case {
    fn new((operation, moment, polls): (Operation, Moment, u32), failure: StoreFailure) -> Self {
        let store = FaultyStore::new(MemoryStore::new());
        store.faults().slow_down(polls);
        let layer = ReplayLayer::new(store.clone()).with_store_failure(failure);
        let case = Self {
            server: Server::new(layer),
            store,
            operation,
            moment,
        };
        case.fail_if(Operation::Open);
        case
    }

    fn fail_if(&self, operation: Operation) {
        if self.operation == operation {
            self.store.faults().fail_next(operation, self.moment);
        }
    }

    /// Whoever comes back to an event that is in no log is told so (RPL-6).
    async fn is_not_resumed(&self, heard: &[Heard]) {
        let Some(id) = heard.iter().rev().find_map(|heard| heard.id.clone()) else {
            return;
        };
        let response = self.server.send(get("s", Some(&id))).await;
        if response.status() == StatusCode::OK {
            // It is in the log: that something is missing after it is the first thing that is said.
            let mut reader = Reader::new(response.into_body());
            let first = reader.next().await.expect("what is missing");
            let is_told = first.event.as_deref() == Some("gap");
            assert!(is_told, "{:?} {:?}: {first:?}", self.operation, self.moment);
        } else {
            assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        }
    }
}

fn steps(heard: &[Heard]) -> Vec<&str> {
    let data = heard.iter().filter_map(|heard| heard.data.as_deref());
    data.filter(|data| !data.is_empty()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_recorded_goes_on_and_is_not_resumed() {
    for fault in faults() {
        let case = Case::new(fault, StoreFailure::PassOn);
        let response = case.server.send(get("s", None)).await;
        let (_, upstream) = case.server.upstream();
        let mut reader = Reader::new(response.into_body());
        upstream.say(progress(1));
        let mut heard = vec![reader.next().await.expect("an event")];
        case.fail_if(Operation::Append);
        upstream.say(progress(2) + &progress(3));
        drop(upstream);
        heard.extend(reader.rest().await);
        assert_eq!(steps(&heard).len(), 3, "{fault:?}: {heard:?}");
        case.is_not_resumed(&heard).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_must_be_recorded_breaks_off() {
    for fault in faults() {
        let case = Case::new(fault, StoreFailure::End);
        let response = case.server.send(get("s", None)).await;
        let (_, upstream) = case.server.upstream();
        let mut reader = Reader::new(response.into_body());
        upstream.say(progress(1));
        let mut heard = Vec::new();
        if fault.0 == Operation::Append {
            heard.push(reader.next().await.expect("an event"));
        }
        case.fail_if(Operation::Append);
        upstream.say(progress(2) + &progress(3));
        if fault.0 == Operation::Append {
            // The one that could not be recorded is not lost.
            heard.push(reader.next().await.expect("an event"));
        }
        let error = reader.error().await;
        assert_eq!(error.kind(), BodyErrorKind::Store, "{fault:?}");
        assert!(!upstream.is_read(), "{fault:?}: the server is let go");
        case.is_not_resumed(&heard).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_must_be_recorded_is_answered_with_an_error() {
    for fault in faults() {
        let case = Case::new(fault, StoreFailure::End);
        let response = case.server.send(call("s", "2025-06-18")).await;
        let (_, upstream) = case.server.upstream();
        let mut reader = Reader::new(response.into_body());
        upstream.say(progress(1));
        if fault.0 == Operation::Append {
            reader.next().await.expect("an event");
        }
        case.fail_if(Operation::Append);
        upstream.say(progress(2) + FINAL);
        let heard = reader.rest().await;
        let last = steps(&heard).pop().expect("an answer");
        assert!(
            last.contains("\"id\":7") && last.contains("-31502"),
            "{fault:?}: {last}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_given_up_while_its_log_opens_is_answered_in_the_log() {
    // Nobody may go on without a client, so the stream is given up with its client.
    let store = FaultyStore::new(MemoryStore::new());
    store.faults().slow_down(3);
    let layer = ReplayLayer::new(store.clone()).with_max_detached(0);
    let server = Server::new(layer.clone());
    let response = server.send(call("s", "2025-11-25")).await;
    let (_, upstream) = server.upstream();
    drop(response);
    upstream.dropped().await;
    let handle = layer.handle();
    while !handle.streams().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(handle.stats().lost_total, 1);
}
