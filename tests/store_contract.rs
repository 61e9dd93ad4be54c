//! Every store of ours keeps the contract of a store, and the one in memory keeps its limits.

use std::{num::NonZeroUsize, time::Duration};

use shadowcat::store::{
    EventStore, MemoryStore, contract, erased::ErasedStore, faulty::FaultyStore,
};

/// Forgets all but a few events.
fn bounded() -> MemoryStore {
    MemoryStore::new()
        .with_max_events(NonZeroUsize::new(5).unwrap())
        .with_max_bytes(300)
}

fn slow<T: EventStore>(store: T, polls: u32) -> FaultyStore<T> {
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
