use super::*;
use crate::{
    replay::{StoreFailure, layer::Config},
    store::{
        MemoryStore,
        faulty::{FaultyStore, Moment, Operation},
    },
};

fn hub() -> Arc<Hub> {
    Arc::new(Hub::new(Config {
        max_event_bytes: 1_000,
        on_store_failure: StoreFailure::PassOn,
        keep_alive: None,
        stall: None,
        max_detached_for: Duration::from_secs(60),
        max_detached: 10,
        max_detached_per_owner: 10,
        max_detached_bytes: 1_000,
        polling: None,
    }))
}

fn owner(nth: u32) -> Owner {
    Owner::new(Some(&nth.to_be_bytes()), None)
}

/// Whether nobody gets at the streams of an owner just now.
fn is_marked(hub: &Hub, nth: u32) -> bool {
    hub.purges(&owner(nth)).is_none()
}

fn slow() -> FaultyStore<MemoryStore> {
    let store = FaultyStore::new(MemoryStore::new());
    store.faults().slow_down(3);
    store
}

#[test]
fn what_is_forgotten_at_once_leaves_no_mark() {
    let hub = hub();
    purge(&MemoryStore::new(), &hub, owner(1), None);
    assert!(!is_marked(&hub, 1));
}

#[tokio::test]
async fn what_takes_its_time_is_marked_until_it_is_forgotten() {
    let hub = hub();
    let store = slow();
    purge(&store, &hub, owner(1), Some(&Handle::current()));
    assert!(is_marked(&hub, 1) && !is_marked(&hub, 2));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!is_marked(&hub, 1));
}

#[test]
fn without_a_runtime_no_mark_is_left_behind() {
    let hub = hub();
    purge(&slow(), &hub, owner(1), None);
    assert!(!is_marked(&hub, 1));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let handle = runtime.handle().clone();
    for nth in 0..100 {
        purge(&slow(), &hub, owner(nth), Some(&handle));
    }
    assert!((0..100).all(|nth| is_marked(&hub, nth)));
    drop(runtime);
    assert!(!(0..100).any(|nth| is_marked(&hub, nth)));
    // It is gone for good.
    purge(&slow(), &hub, owner(1), Some(&handle));
    assert!(!is_marked(&hub, 1));
    assert_eq!(Arc::strong_count(&hub), 1);
}

#[tokio::test(start_paused = true)]
async fn many_sessions_that_end_at_once_take_a_few_tasks() {
    const COUNT: u32 = 1_000;
    let hub = hub();
    let store = slow();
    let runtime = Handle::current();
    for nth in 0..COUNT {
        purge(&store, &hub, owner(nth), Some(&runtime));
    }
    assert!(runtime.metrics().num_alive_tasks() <= SlowPurges::WORKERS);
    for _ in 0..10 * COUNT {
        tokio::task::yield_now().await;
    }
    assert!(!(0..COUNT).any(|nth| is_marked(&hub, nth)));
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn store_that_hangs_holds_nobody_up_for_ever() {
    let hub = hub();
    let store = FaultyStore::new(MemoryStore::new());
    for nth in 0..20 {
        store.faults().hang_next(Operation::Purge, Moment::Before);
        purge(&store, &hub, owner(nth), Some(&Handle::current()));
    }
    tokio::time::sleep(SlowPurges::TIME * 4).await;
    assert!(!(0..20).any(|nth| is_marked(&hub, nth)));
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let hub = hub();
    let runtime = Handle::current();
    let store = slow();
    let count = (SlowPurges::MAX + 100) as u32;
    for nth in 0..count {
        purge(&store, &hub, owner(nth), Some(&runtime));
    }
    let state = hub.slow_purges.lock();
    assert_eq!(state.waiting.len(), SlowPurges::MAX);
}
