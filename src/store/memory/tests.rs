use std::{fmt::Debug, num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready_ok, task};

use super::*;
use crate::store::{End, EventWriter};

const OWNER: Owner = Owner::from_bytes([1; 32]);

const fn key(nth: u8) -> StreamKey {
    StreamKey::from_bytes([nth; 16])
}

/// What a future that never waits is ready with.
#[track_caller]
fn now<F: Future<Output = Result<T, StoreError>> + Unpin, T: Debug>(future: F) -> T {
    assert_ready_ok!(task::spawn(future).poll())
}

fn open(store: &MemoryStore, nth: u8) -> MemoryWriter {
    now(store.open(key(nth), OWNER, Bytes::from_static(b"about")))
}

fn page(store: &MemoryStore, nth: u8) -> Page {
    now(EventStore::read(store, key(nth), OWNER, 0, usize::MAX))
}

#[test]
fn appends_reads_and_ends() {
    let store = MemoryStore::new();
    let mut writer = open(&store, 1);
    now(writer.append(1, b"one"));
    now(writer.append(2, b"two"));
    now(writer.append(2, b"two"));
    now(writer.close(End::Complete));
    let page = page(&store, 1);
    assert_eq!(page.events(), b"onetwo");
    assert_eq!(page.end(), Some(End::Complete));
    assert_eq!(page.about(), "about");
}

#[test]
fn watcher_is_woken_and_leaves_no_waker_behind() {
    let store = MemoryStore::new();
    let mut writer = open(&store, 1);
    let mut gone = task::spawn(store.watch(key(1), OWNER, 0));
    assert_pending!(gone.poll());
    let mut watch = task::spawn(store.watch(key(1), OWNER, 0));
    assert_pending!(watch.poll());
    drop(gone);
    now(writer.append(1, b"one"));
    assert!(watch.is_woken());
    assert_ready_ok!(watch.poll());
}

#[test]
fn everything_that_is_charged_is_released() {
    let store = MemoryStore::new().with_retain_for(Duration::ZERO);
    for round in 0..3 {
        for nth in 0..50 {
            let mut writer = open(&store, nth);
            for sequence in 1..100 {
                now(writer.append(sequence, &[round; 77]));
            }
        }
        let _ = now(store.open(key(200), Owner::ANONYMOUS, Bytes::new()));
        now(store.purge(Owner::ANONYMOUS));
    }
    let stats = store.stats();
    assert_eq!((stats.streams, stats.bytes), (0, 0));
    let _written = open(&store, 1);
    let balance = &store.shared.balance;
    assert_eq!(balance.live(), balance.all(), "and so is what has ended");
}

#[test]
fn what_does_not_fit_goes_from_the_front() {
    let store = MemoryStore::new()
        .with_max_bytes(100)
        .with_max_events(NonZeroUsize::new(7).unwrap());
    let mut writer = open(&store, 1);
    for sequence in 1..=50 {
        now(writer.append(sequence, &[sequence as u8; 30]));
    }
    let three = page(&store, 1);
    assert_eq!((three.floor(), three.tail()), (48, 50));
    now(writer.append(51, &[51; 300]));
    assert_eq!(page(&store, 1).floor(), 51);
    now(writer.append(52, b"small"));
    assert_eq!(page(&store, 1).events(), b"small");
    for sequence in 53..=70 {
        now(writer.append(sequence, b"x"));
    }
    assert_eq!(page(&store, 1).floor(), 64);
}

#[test]
fn small_rings_grow_by_more_while_memory_is_there() {
    let held_by_two = |store: MemoryStore| {
        let mut writer = open(&store, 1);
        let before = store.stats().bytes;
        now(writer.append(1, &[7; 100]));
        now(writer.append(2, &[7; 100]));
        (before, store.stats().bytes - before)
    };
    // The events, and four bytes each in the index.
    let (empty, held) = held_by_two(MemoryStore::new());
    assert_eq!(held, 16 * 100 + 16 * 4);
    // Already the first is more than half.
    let most = 2 * empty;
    let (_, held) = held_by_two(MemoryStore::new().with_max_total_bytes(most));
    assert_eq!(held, 2 * 100 + 2 * 4);
    let (_, held) = held_by_two(MemoryStore::new().with_max_owner_bytes(most));
    assert_eq!(held, 2 * 100 + 2 * 4);
}

#[test]
fn streams_that_have_ended_are_no_reason_to_grow_by_less() {
    let most = 64 * 1024;
    for store in [
        MemoryStore::new().with_max_owner_bytes(most),
        MemoryStore::new().with_max_total_bytes(most),
    ] {
        for nth in 1..100 {
            let mut writer = open(&store, nth);
            for sequence in 1..=16 {
                now(writer.append(sequence, &[nth; 100]));
            }
            now(writer.close(End::Complete));
        }
        let full = store.stats();
        assert!(full.bytes > most / 2 && full.streams < 99, "{full:?}");
        let evicted = |store: &MemoryStore| store.stats().evicted;
        let before = evicted(&store);
        let mut writer = open(&store, 200);
        now(writer.append(1, &[0; 100]));
        now(writer.append(2, &[0; 100]));
        let after = evicted(&store);
        assert!(
            after > before,
            "the room for sixteen costs one that has ended"
        );
        for sequence in 3..=16 {
            now(writer.append(sequence, &[0; 100]));
        }
        assert_eq!(evicted(&store), after, "and it is there");
        assert_eq!(page(&store, 200).floor(), 1);
    }
}

#[test]
fn stream_that_has_ended_keeps_no_more_than_it_uses() {
    let store = MemoryStore::new();
    let mut writer = open(&store, 1);
    let empty = store.stats().bytes;
    for sequence in 1..=3 {
        now(writer.append(sequence, &[7; 100]));
    }
    assert_eq!(store.stats().bytes - empty, 16 * 100 + 16 * 4);
    now(writer.close(End::Complete));
    assert_eq!(store.stats().bytes - empty, 3 * 100 + 3 * 4);
    assert_eq!(page(&store, 1).events(), [7; 300]);
    now(store.purge(OWNER));
    assert_eq!(store.stats().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn ended_stream_is_forgotten_without_another_call() {
    let store = MemoryStore::new().with_retain_for(Duration::from_secs(5));
    drop(open(&store, 1));
    assert_eq!(page(&store, 1).end(), Some(End::Lost));
    sleep(Duration::from_secs(4)).await;
    drop(open(&store, 2));
    sleep(Duration::from_millis(1_001)).await;
    assert_eq!(store.stats().streams, 1);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(store.stats().streams, 0);
    assert_eq!(store.stats().bytes, 0);
}
