//! What a session in memory costs, counted by the allocator. One test alone: it counts for the whole
//! process.

use std::{
    alloc::System,
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use http::HeaderValue;
use shadowcat::store::{
    MemorySessionStore, Owner, SessionKey, SessionName, SessionStore, StoreError,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_test::{assert_ready_ok, task};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[track_caller]
fn now<T: std::fmt::Debug>(future: impl Future<Output = Result<T, StoreError>> + Unpin) -> T {
    assert_ready_ok!(task::spawn(future).poll())
}

/// A session costs little, and to find one allocates nothing.
#[test]
fn idle_session_is_small_and_found_without_an_allocation() {
    const COUNT: u32 = 5_000;
    let store = MemorySessionStore::new().with_max_sessions(COUNT as usize);
    let key = |nth: u32| {
        let digest = Owner::new(Some(&nth.to_be_bytes()), None);
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        (SessionKey::new(7, id), digest)
    };
    let region = Region::new(ALLOCATOR);
    for nth in 0..COUNT {
        let (key, owner) = key(nth);
        let lease = now(store.open(owner, owner));
        let upstream = format!("3f2b8c1e-6f0a-4d8e-9a55-{nth:012x}");
        let upstream = HeaderValue::from_bytes(upstream.as_bytes()).expect("ASCII");
        now(store.establish(&lease, SessionName::new(key, [1; 16], upstream)));
        // Sent to the server once.
        drop(lease.upstream().cloned());
    }
    let change = region.change();
    let each = (change.bytes_allocated - change.bytes_deallocated) / COUNT as usize;
    assert!(each <= 400, "{each} bytes");

    let region = Region::new(ALLOCATOR);
    for nth in 0..COUNT {
        let (key, owner) = key(nth);
        let mut load = store.load(key, owner);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut load).poll(&mut cx).is_ready());
    }
    assert_eq!(region.change().allocations, 0);
}
