//! What a stream in memory costs, counted by the allocator.

use std::{alloc::System, future::Future};

use bytes::Bytes;
use shadowcat::{
    sse::StreamKey,
    store::{
        EventStore, EventWriter, MemoryStore, MemoryWriter, Owner, StoreError, erased::ErasedStore,
    },
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_test::{assert_ready_ok, task};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const KEY: StreamKey = StreamKey::from_bytes([7; 16]);
const EVENT: [u8; 345] = [b'x'; 345];

#[track_caller]
fn now<T: std::fmt::Debug>(future: impl Future<Output = Result<T, StoreError>> + Unpin) -> T {
    assert_ready_ok!(task::spawn(future).poll())
}

/// How many allocations 10,000 appends cost in the steady state.
fn allocations(store: &impl EventStore) -> usize {
    let mut writer = now(store.open(KEY, Owner::ANONYMOUS, Bytes::new()));
    for sequence in 1..=5_000 {
        now(writer.append(sequence, &EVENT));
    }
    // The test's own futures are polled in place: its mock task would allocate.
    let region = Region::new(ALLOCATOR);
    for sequence in 5_001..=15_000 {
        let mut append = writer.append(sequence, &EVENT);
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(std::pin::Pin::new(&mut append).poll(&mut cx).is_ready());
    }
    let change = region.change();
    change.allocations + change.reallocations
}

/// One test, because the allocator counts for the whole process, whose other threads allocate too.
#[test]
fn appends_allocate_nothing_and_idle_streams_are_small() {
    let store = MemoryStore::new();
    assert_eq!(allocations(&store), 0, "in the steady state");
    let store = ErasedStore::new(MemoryStore::new());
    assert_eq!(allocations(&store), 0, "through an erased store");
    idle_stream_is_small();
}

/// A stream with one event costs little more than the event, and what is charged for it is enough.
fn idle_stream_is_small() {
    let owners: [fn(u32) -> Owner; 2] = [
        |_| Owner::ANONYMOUS,
        |nth| Owner::new(None, Some(&nth.to_be_bytes())),
    ];
    for (owner, most) in owners.into_iter().zip([640, 740]) {
        let store = MemoryStore::new();
        let mut writers: Vec<MemoryWriter> = Vec::with_capacity(5_000);
        let region = Region::new(ALLOCATOR);
        for nth in 0..5_000_u32 {
            let mut key = [0; 16];
            key[..4].copy_from_slice(&nth.to_be_bytes());
            let key = StreamKey::from_bytes(key);
            let mut writer = now(store.open(key, owner(nth), Bytes::from_static(b"about")));
            now(writer.append(1, &EVENT));
            writers.push(writer);
        }
        let change = region.change();
        let each = (change.bytes_allocated - change.bytes_deallocated) / writers.len();
        let charged = store.stats().bytes / writers.len();
        assert!(each <= most, "{each} bytes");
        assert!(charged >= each, "{charged} bytes are charged for {each}");
    }
}
