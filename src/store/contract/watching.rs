use std::future::Future;

use super::stream::{Stream, assert_kind, fresh_owner, poll};
use crate::store::{End, EventStore, EventWriter, StoreErrorKind};

/// A watch completes when there is something to read, or never will be.
///
/// # Panics
///
/// If the store does something else.
pub async fn watches<T: EventStore>(store: T) {
    what_is_there_is_seen_at_once(&store).await;
    an_event_is_seen(&store).await;
    an_end_is_seen(&store).await;
    a_lost_writer_is_seen(&store).await;
    a_dropped_watch_is_forgotten(&store).await;
}

async fn what_is_there_is_seen_at_once<T: EventStore>(store: &T) {
    let mut stream = Stream::with_events(store, fresh_owner(), 3).await;
    for after in 0..3 {
        let seen = store.watch(stream.key, stream.owner, after).await;
        seen.expect("there is an event after the cursor");
    }
    let mut waiting = store.watch(stream.key, stream.owner, 3);
    waits(&mut waiting).await;
    stream.close(End::Complete).await;
    for after in [0, 2, 3, 4, u64::MAX] {
        let seen = store.watch(stream.key, stream.owner, after).await;
        seen.expect("the stream has ended");
    }
}

async fn an_event_is_seen<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    let mut ahead = store.watch(stream.key, stream.owner, 2);
    waits(&mut ahead).await;
    for after in 0..3 {
        // Some wait in tasks of their own, so that it is seen that they are woken.
        let mut tasks = Vec::new();
        for _ in 0..3 {
            let mut watch = store.watch(stream.key, stream.owner, after);
            waits(&mut watch).await;
            tasks.push(tokio::spawn(watch));
        }
        stream.append_next().await;
        for task in tasks {
            let seen = task.await.expect("the watch should not panic");
            seen.expect("an event is seen by all who wait for it");
        }
        if after < 2 {
            waits(&mut ahead).await;
        }
    }
    ahead.await.expect("the event that was waited for is there");
    stream.check_all().await;
}

async fn an_end_is_seen<T: EventStore>(store: &T) {
    for end in [End::Complete, End::Failed, End::Lost] {
        let mut stream = Stream::with_events(store, fresh_owner(), 1).await;
        let mut tasks = Vec::new();
        for after in [1, 2, u64::MAX] {
            let mut watch = store.watch(stream.key, stream.owner, after);
            waits(&mut watch).await;
            tasks.push(tokio::spawn(watch));
        }
        stream.close(end).await;
        for task in tasks {
            let seen = task.await.expect("the watch should not panic");
            seen.expect("the end is seen by all who wait");
        }
        assert_eq!(stream.check(0, 0).await.end(), Some(end));
    }
}

async fn a_lost_writer_is_seen<T: EventStore>(store: &T) {
    let mut stream = Stream::with_events(store, fresh_owner(), 1).await;
    let mut watch = store.watch(stream.key, stream.owner, 1);
    waits(&mut watch).await;
    let task = tokio::spawn(watch);
    stream.drop_writer();
    let seen = task.await.expect("the watch should not panic");
    seen.expect("a stream without a writer ends");
}

async fn a_dropped_watch_is_forgotten<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    // All of them wait in this task, and most of them no longer.
    let mut kept = store.watch(stream.key, stream.owner, 0);
    waits(&mut kept).await;
    for _ in 0..20 {
        let mut dropped = store.watch(stream.key, stream.owner, 0);
        waits(&mut dropped).await;
    }
    let task = tokio::spawn(kept);
    stream.append_next().await;
    let seen = task.await.expect("the watch should not panic");
    seen.expect("a watch is woken though others are gone");

    let why = "an event that leaves one out";
    stream.refuses(3, StoreErrorKind::Conflict, why).await;
    let mut watch = store.watch(stream.key, stream.owner, 1);
    waits(&mut watch).await;
    let again = stream.events[0].clone();
    let added = stream.writer().append(1, &again).await;
    added.expect("an event that is there already should be added once more in vain");
    waits(&mut watch).await;

    store
        .purge(stream.owner)
        .await
        .expect("all should be purged");
    assert_kind(watch.await, StoreErrorKind::NotFound, "a purged stream");
}

/// Polls until the store has had its time, and sees that there is nothing to see.
async fn waits<F: Future<Output = Result<(), crate::store::StoreError>> + Unpin>(watch: &mut F) {
    for _ in 0..20 {
        let polled = poll(watch);
        assert!(
            polled.is_pending(),
            "there is nothing to see, but the watch ended: {polled:?}"
        );
        tokio::task::yield_now().await;
    }
}
