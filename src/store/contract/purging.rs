use super::stream::{ABOUT, Stream, assert_kind, fresh_owner};
use crate::store::{End, EventStore, EventWriter, Owner, StoreErrorKind::NotFound};

/// What is purged is gone for good, and nothing else is (RPL-10, RPL-14).
///
/// # Panics
///
/// If the store does something else.
pub async fn purges<T: EventStore>(store: T) {
    rpl10_all_streams_of_an_owner_go(&store).await;
    rpl14_others_stay(&store).await;
    nothing_is_purged_in_vain(&store).await;
}

async fn rpl10_all_streams_of_an_owner_go<T: EventStore>(store: &T) {
    let owner = fresh_owner();
    let mut live = Stream::with_events(store, owner, 3).await;
    let mut empty = Stream::open(store, owner).await;
    let mut ended = Stream::with_events(store, owner, 3).await;
    ended.close(End::Complete).await;
    let mut lost = Stream::with_events(store, owner, 1).await;
    lost.drop_writer();

    let mut tasks = Vec::new();
    for stream in [&live, &empty] {
        let watch = store.watch(stream.key, owner, stream.tail());
        tasks.push(tokio::spawn(watch));
        tokio::task::yield_now().await;
    }
    store.purge(owner).await.expect("all should be purged");
    for task in tasks {
        let seen = task.await.expect("the watch should not panic");
        assert_kind(seen, NotFound, "a watch when the stream is purged");
    }

    for round in 0..2 {
        for stream in [&live, &empty, &ended, &lost] {
            for after in [0, 1, u64::MAX] {
                let read = store.read(stream.key, owner, after, 1000).await;
                assert_kind(read, NotFound, "to read what is purged");
                let seen = store.watch(stream.key, owner, after).await;
                assert_kind(seen, NotFound, "to watch what is purged");
            }
        }
        if round == 0 {
            // Nothing brings it back.
            live.refuses(4, NotFound, "to append to what is purged")
                .await;
            live.refuses(4, NotFound, "to append there again").await;
            empty.refuses(1, NotFound, "to begin what is purged").await;
            let closed = live.writer().close(End::Complete).await;
            assert_kind(closed, NotFound, "to close what is purged");
            empty.drop_writer();
        }
    }
}

async fn rpl14_others_stay<T: EventStore>(store: &T) {
    let owner = fresh_owner();
    let mut gone = Stream::with_events(store, owner, 2).await;
    let mut others = Vec::new();
    for other in [fresh_owner(), fresh_owner(), Owner::ANONYMOUS] {
        others.push(Stream::with_events(store, other, 2).await);
        let mut ended = Stream::with_events(store, other, 2).await;
        ended.close(End::Failed).await;
        ended.check_all().await;
    }
    store.purge(owner).await.expect("all should be purged");
    for other in &mut others {
        other.check_all().await;
        other.append_next().await;
        other.check_all().await;
    }

    // The owner may begin again, and has nothing of the past.
    let mut next = Stream::with_events(store, owner, 1).await;
    gone.refuses(3, NotFound, "to append to what is purged")
        .await;
    gone.drop_writer();
    next.append_next().await;
    next.check_all().await;
    assert_eq!(
        next.check(0, 1000).await.end(),
        None,
        "the end of a purged stream is no other's"
    );
}

async fn nothing_is_purged_in_vain<T: EventStore>(store: &T) {
    let owner = fresh_owner();
    for _ in 0..2 {
        store.purge(owner).await.expect("nothing should be purged");
    }
    let gone = Stream::with_events(store, owner, 1).await;
    store.purge(owner).await.expect("all should be purged");
    // The same key is as good as any other, and what the old writer does is no concern of its.
    let key = gone.key;
    let opened = store.open(key, owner, ABOUT).await;
    let mut writer = opened.expect("a purged key should open");
    drop(gone);
    let added = writer.append(1, b"after").await;
    added.expect("the first event should be appended");
    let page = store.read(key, owner, 0, 1000).await;
    let page = page.expect("the owner should read the stream");
    assert_eq!(
        page.events(),
        b"after",
        "nothing of a purged stream is left"
    );
    assert_eq!(page.end(), None, "the new writer is there");
}
