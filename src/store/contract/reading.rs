use super::stream::{ABOUT, Stream, assert_kind, fresh_key, fresh_owner};
use crate::store::{EventStore, Owner, StoreErrorKind};

/// Exactly the events after a cursor, by pages; what is forgotten is the oldest, and told.
///
/// # Panics
///
/// If the store does something else.
pub async fn reads<T: EventStore>(store: T) {
    an_unknown_stream_is_not_found(&store).await;
    a_new_stream_is_empty(&store).await;
    every_cursor_has_its_suffix(&store).await;
    pages_follow_one_another(&store).await;
    only_the_oldest_are_forgotten(&store).await;
}

async fn an_unknown_stream_is_not_found<T: EventStore>(store: &T) {
    for owner in [fresh_owner(), Owner::ANONYMOUS] {
        let read = store.read(fresh_key(), owner, 0, 1000).await;
        assert_kind(read, StoreErrorKind::NotFound, "a stream that never was");
    }
}

async fn a_new_stream_is_empty<T: EventStore>(store: &T) {
    let stream = Stream::open(store, fresh_owner()).await;
    for after in [0, 1, u64::MAX] {
        let page = stream.check(after, 1000).await;
        assert_eq!(page.end(), None, "a stream that is written has no end");
        assert_eq!(page.about(), &ABOUT, "what the stream was opened with");
    }
}

async fn every_cursor_has_its_suffix<T: EventStore>(store: &T) {
    let stream = Stream::with_events(store, fresh_owner(), 12).await;
    let ahead = [13, 14, 1 << 32, u64::MAX - 1, u64::MAX];
    for after in (0..=12).chain(ahead) {
        for limit in [0, 1, 60, 100, 333, 1000, usize::MAX] {
            let page = stream.check(after, limit).await;
            assert_eq!(page.about(), &ABOUT, "what the stream was opened with");
        }
    }
}

async fn pages_follow_one_another<T: EventStore>(store: &T) {
    let stream = Stream::with_events(store, fresh_owner(), 40).await;
    for limit in [0, 99, 200, 5000] {
        let mut after = 0;
        let mut found = Vec::new();
        let floor = stream.read(0, 0).await.floor();
        while after < stream.tail() {
            let page = stream.check(after, limit).await;
            found.extend_from_slice(page.events());
            after = page.last().expect("a page has an event if there is one");
        }
        let expected = stream.events[floor as usize - 1..].concat();
        assert!(found == expected, "pages of {limit} bytes are the stream");
    }
}

async fn only_the_oldest_are_forgotten<T: EventStore>(store: &T) {
    let mut stream = Stream::open(store, fresh_owner()).await;
    let mut floor = 1;
    for _ in 0..300 {
        stream.append_next().await;
        let page = stream.check(0, usize::MAX).await;
        assert!(page.floor() >= floor, "what is forgotten stays forgotten");
        floor = page.floor();
    }
    // Also where a store turns its buffers round.
    for after in 0..=stream.tail() {
        stream.check(after, 150).await;
    }
}
