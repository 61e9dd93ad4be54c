use std::future::Future;

use super::stream::{ABOUT, Stream, event, fresh_key, fresh_owner, judge, poll};
use crate::{
    sse::StreamKey,
    store::{End, EventStore, EventWriter, Owner, StoreErrorKind},
};

/// Readers keep up with a writer; whoever goes away half way leaves nothing locked.
///
/// # Panics
///
/// If the store does something else.
pub async fn works_together<T: EventStore>(store: T) {
    readers_follow_a_writer(&store).await;
    streams_are_written_side_by_side(&store).await;
    for polls in 0..8 {
        a_dropped_future_leaves_nothing_locked(&store, polls).await;
    }
}

async fn readers_follow_a_writer<T: EventStore>(store: &T) {
    const COUNT: u64 = 500;
    let mut stream = Stream::open(store, fresh_owner()).await;
    let readers: Vec<_> = [0, 100, 1000, 100_000]
        .map(|limit| tokio::spawn(follow(store.clone(), stream.key, stream.owner, limit)))
        .into();
    for _ in 0..COUNT {
        stream.append_next().await;
        tokio::task::yield_now().await;
    }
    stream.close(End::Complete).await;
    for reader in readers {
        let last = reader.await.expect("a reader should see what is written");
        assert_eq!(last, COUNT, "a reader ends after the last event");
    }
}

/// Reads a stream to its end, as a client does that resumes it. Returns the last event's number.
async fn follow<T: EventStore>(store: T, key: StreamKey, owner: Owner, limit: usize) -> u64 {
    let (mut after, mut events) = (0, Vec::new());
    loop {
        let seen = store.watch(key, owner, after).await;
        seen.expect("the owner should watch the stream");
        let page = store.read(key, owner, after, limit).await;
        let page = page.expect("the owner should read the stream");
        for sequence in events.len() as u64..page.tail() {
            events.push(event(key, sequence + 1));
        }
        assert!(page.tail() >= after, "the tail does not go back");
        judge(&page, &events, after, limit);
        after = page.last().unwrap_or(after);
        if page.end().is_some() && after == page.tail() {
            return after;
        }
    }
}

async fn streams_are_written_side_by_side<T: EventStore>(store: &T) {
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut stream = Stream::open(&store, fresh_owner()).await;
            for _ in 0..100 {
                stream.append_next().await;
                stream.check(stream.tail() - 1, 0).await;
                tokio::task::yield_now().await;
            }
            stream.check_all().await;
        }));
    }
    for task in tasks {
        task.await.expect("no stream should disturb another");
    }
}

/// Each operation is given up after so many polls, and then done again.
async fn a_dropped_future_leaves_nothing_locked<T: EventStore>(store: &T, polls: u32) {
    let (key, owner) = (fresh_key(), fresh_owner());
    give_up(store.open(key, owner, ABOUT), polls).await;
    let mut stream = Stream::with_events(store, owner, 1).await;
    let event = b"data: perhaps\n\n";
    give_up(stream.writer().append(2, event), polls).await;
    // Whether it was added is not known, and need not be: it is added once.
    stream.append(event).await;
    stream.check_all().await;

    give_up(store.read(stream.key, owner, 0, 1000), polls).await;
    give_up(store.watch(stream.key, owner, 0), polls).await;
    give_up(store.watch(stream.key, owner, 2), polls).await;
    stream.append_next().await;
    stream.check_all().await;

    give_up(stream.writer().close(End::Failed), polls).await;
    stream.close(End::Failed).await;
    assert_eq!(stream.check(0, 0).await.end(), Some(End::Failed));

    give_up(store.purge(owner), polls).await;
    match store.read(stream.key, owner, 0, 1000).await {
        Ok(page) => judge(&page, &stream.events, 0, 1000),
        Err(error) => assert_eq!(error.kind(), StoreErrorKind::NotFound, "{error}"),
    }
    store.purge(owner).await.expect("all should be purged");
    let mut next = Stream::with_events(store, owner, 2).await;
    next.close(End::Complete).await;
    next.check_all().await;
}

async fn give_up<F: Future + Unpin>(mut future: F, polls: u32) {
    for _ in 0..polls {
        if poll(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
