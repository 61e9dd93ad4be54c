use super::stream::{Stream, assert_kind, fresh_owner};
use crate::store::{End, EventStore, StoreErrorKind};

/// A stream ends once, and stays as it is then.
///
/// # Panics
///
/// If the store does something else.
pub async fn ends<T: EventStore>(store: T) {
    for (first, second) in [
        (End::Complete, End::Failed),
        (End::Failed, End::Complete),
        (End::Lost, End::Complete),
    ] {
        for count in [0, 3] {
            the_first_end_counts(&store, count, first, second).await;
        }
    }
    a_dropped_writer_is_an_end(&store).await;
    a_key_is_taken_after_the_end(&store).await;
}

async fn the_first_end_counts<T: EventStore>(store: &T, count: u64, first: End, second: End) {
    let mut stream = Stream::with_events(store, fresh_owner(), count).await;
    assert_eq!(stream.check(0, 1000).await.end(), None, "not yet closed");
    stream.close(first).await;
    stream.check_all().await;
    for after in [0, count, count + 1, u64::MAX] {
        let page = stream.check(after, 1000).await;
        assert_eq!(page.end(), Some(first), "each page tells the end");
    }

    let why = "an event after the end";
    let next = stream.tail() + 1;
    stream.refuses(next, StoreErrorKind::Conflict, why).await;
    stream.close(second).await;
    let page = stream.check(0, 1000).await;
    assert_eq!(page.end(), Some(first), "only the first end counts");

    stream.drop_writer();
    let page = stream.check(0, 1000).await;
    assert_eq!(
        page.end(),
        Some(first),
        "a writer that has closed says no more"
    );
    stream.check_all().await;
}

async fn a_dropped_writer_is_an_end<T: EventStore>(store: &T) {
    let mut stream = Stream::with_events(store, fresh_owner(), 3).await;
    stream.drop_writer();
    // As soon as the store can tell.
    let ended = store.watch(stream.key, stream.owner, u64::MAX).await;
    ended.expect("a stream without a writer should end");
    let page = stream.check(0, 1000).await;
    assert_eq!(page.end(), Some(End::Lost), "nobody knows what followed");
    stream.check_all().await;
}

async fn a_key_is_taken_after_the_end<T: EventStore>(store: &T) {
    let mut stream = Stream::with_events(store, fresh_owner(), 1).await;
    stream.close(End::Complete).await;
    let opened = store
        .open(stream.key, stream.owner, bytes::Bytes::new())
        .await;
    assert_kind(
        opened,
        StoreErrorKind::Conflict,
        "the key of an ended stream",
    );
    stream.check_all().await;
}
