//! Every store of ours keeps the contract of a store.

use std::{num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use shadowcat::{
    sse::StreamKey,
    store::{
        End, EventStore, EventWriter, MemorySessionStore, MemoryStore, Owner, StoreErrorKind,
        contract,
        erased::ErasedStore,
        faulty::{FaultyStore, Moment, Operation},
    },
};

/// Forgets all but a few events.
fn bounded() -> MemoryStore {
    MemoryStore::new()
        .with_max_events(NonZeroUsize::new(5).expect("not zero"))
        .with_max_bytes(300)
}

fn slow<T>(store: T, polls: u32) -> FaultyStore<T> {
    let store = FaultyStore::new(store);
    store.faults().slow_down(polls);
    store
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract::run(MemoryStore::new).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_keeps_the_contract_with_threads() {
    contract::run(MemoryStore::new).await;
}

#[tokio::test]
async fn memory_keeps_the_contract_with_other_streams_in_it() {
    let store = MemoryStore::new().with_retain_for(Duration::from_secs(60));
    contract::run(|| store.clone()).await;
}

#[tokio::test]
async fn memory_that_forgets_keeps_the_contract() {
    contract::run(bounded).await;
    let one = NonZeroUsize::MIN;
    contract::run(|| MemoryStore::new().with_max_events(one)).await;
    contract::run(|| MemoryStore::new().with_max_bytes(0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erased_keeps_the_contract() {
    contract::run(|| ErasedStore::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_keeps_the_contract() {
    contract::run(|| slow(MemoryStore::new(), 0)).await;
    contract::run(|| slow(MemoryStore::new(), 2)).await;
    contract::run(|| slow(bounded(), 1)).await;
}

#[tokio::test]
async fn slow_and_erased_keeps_the_contract() {
    contract::run(|| ErasedStore::new(slow(MemoryStore::new(), 1))).await;
}

#[tokio::test]
async fn sessions_in_memory_keep_the_contract() {
    contract::run_sessions(MemorySessionStore::new).await;
    let store = MemorySessionStore::new().with_idle_timeout(None);
    contract::run_sessions(|| store.clone()).await;
}

#[tokio::test(start_paused = true)]
async fn sessions_expire_as_the_contract_says() {
    let idle = std::time::Duration::from_secs(10);
    let store = MemorySessionStore::new().with_idle_timeout(Some(idle));
    contract::run_expiry(store.clone(), idle).await;
    contract::run_expiry(slow(store, 2), idle).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_sessions_keep_the_contract() {
    for polls in 0..3 {
        contract::run_sessions(|| slow(MemorySessionStore::new(), polls)).await;
    }
}

#[tokio::test]
async fn append_that_is_tried_again_leaves_one_record() {
    let store = slow(MemoryStore::new(), 1);
    let (key, owner) = (StreamKey::from_bytes([1; 16]), Owner::ANONYMOUS);
    let mut writer = store.open(key, owner, Bytes::new()).await.unwrap();
    for sequence in 1..=20 {
        let moments = [Moment::Before, Moment::After, Moment::After, Moment::Before];
        for moment in moments.into_iter().skip(sequence as usize % 4) {
            store.faults().fail_next(Operation::Append, moment);
            let failed = writer.append(sequence, &[sequence as u8]).await;
            assert_eq!(failed.unwrap_err().kind(), StoreErrorKind::Unavailable);
        }
        writer.append(sequence, &[sequence as u8]).await.unwrap();
    }
    let page = store.read(key, owner, 0, 1000).await.unwrap();
    assert_eq!(page.events(), Vec::from_iter(1..=20));
}

#[tokio::test]
async fn store_that_is_down_fails_until_it_is_up() {
    let store = FaultyStore::new(MemoryStore::new());
    let (key, owner) = (StreamKey::from_bytes([1; 16]), Owner::ANONYMOUS);
    let mut writer = store.open(key, owner, Bytes::new()).await.unwrap();
    store.faults().set_down(true);
    let failures = [
        store.open(key, owner, Bytes::new()).await.err(),
        store.read(key, owner, 0, 1000).await.err(),
        store.watch(key, owner, 0).await.err(),
        store.purge(owner).await.err(),
        writer.append(1, b"one").await.err(),
        writer.close(End::Complete).await.err(),
    ];
    for failure in failures {
        assert_eq!(failure.unwrap().kind(), StoreErrorKind::Unavailable);
    }
    store.faults().set_down(false);
    let page = store.read(key, owner, 0, 1000).await.unwrap();
    assert_eq!(
        (page.tail(), page.end()),
        (0, None),
        "nothing had an effect"
    );
}
