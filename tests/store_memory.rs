//! What the store in memory forgets, and when.

use std::{future::Future, num::NonZeroUsize, time::Duration};

use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use shadowcat::{
    sse::StreamKey,
    store::{
        End, EventStore, EventWriter, MemoryStore, MemoryWriter, Owner, Page, StoreError,
        StoreErrorKind,
    },
};
use tokio::time::{Instant, sleep};
use tokio_test::{assert_ready, task};

const ALICE: Owner = Owner::from_bytes([1; 32]);
const BOB: Owner = Owner::from_bytes([2; 32]);

/// More than what a stream costs beside its events.
const OVERHEAD: usize = 1024;

fn key(nth: u32) -> StreamKey {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&nth.to_be_bytes());
    StreamKey::from_bytes(key)
}

/// What a future that never waits is ready with.
#[track_caller]
fn now<T>(future: impl Future<Output = Result<T, StoreError>> + Unpin) -> Result<T, StoreError> {
    assert_ready!(task::spawn(future).poll())
}

fn open(store: &MemoryStore, nth: u32, owner: Owner) -> MemoryWriter {
    now(store.open(key(nth), owner, Bytes::new())).expect("there is room for a stream")
}

fn fill(writer: &mut MemoryWriter, sequences: impl IntoIterator<Item = u64>, len: usize) {
    for sequence in sequences {
        let event = vec![sequence as u8; len];
        now(writer.append(sequence, &event)).expect("the next event is appended");
    }
}

fn page(store: &MemoryStore, nth: u32, owner: Owner) -> Option<Page> {
    now(store.read(key(nth), owner, 0, usize::MAX)).ok()
}

/// How many events are kept; `None` if the stream is forgotten.
fn kept(store: &MemoryStore, nth: u32, owner: Owner) -> Option<u64> {
    let page = page(store, nth, owner)?;
    Some(page.tail() + 1 - page.floor())
}

#[test]
fn c21_stream_holds_its_cap_and_one_event() {
    let store = MemoryStore::new().with_max_bytes(10_000);
    let mut writer = open(&store, 1, ALICE);
    for (sequence, len) in (1..=2_000).zip([0, 345, 9_999, 1, 30_000, 10_000].iter().cycle()) {
        fill(&mut writer, [sequence], *len);
        let held = store.stats().bytes;
        assert!(
            held <= 10_000.max(*len) + 4 * 1_000 + OVERHEAD,
            "{sequence}: {held}"
        );
    }
    // What one large event took is given back.
    fill(&mut writer, [2_001], 1_000_000);
    fill(&mut writer, [2_002], 10);
    assert!(store.stats().bytes < 10_000 + OVERHEAD);
    assert!(store.stats().evicted > 1_900);
}

#[test]
fn c21_flood_of_one_owner_costs_no_other() {
    let store = MemoryStore::new().with_max_owner_bytes(100_000);
    let mut others = open(&store, 0, BOB);
    fill(&mut others, 1..=50, 345);
    let before = store.stats().bytes;
    let mut writers = Vec::new();
    for nth in 1..=50 {
        writers.push(open(&store, nth, ALICE));
        fill(&mut writers[nth as usize - 1], 1..=20, 500);
        let held = store.stats().bytes - before;
        assert!(held <= 100_000 + 500, "{nth}: {held}");
    }
    assert_eq!(kept(&store, 0, BOB), Some(50));
    assert_eq!(
        kept(&store, 1, ALICE),
        Some(0),
        "the oldest lost its events"
    );
    assert_eq!(kept(&store, 50, ALICE), Some(20));
    // Those that lost them can be written to as before.
    fill(&mut writers[0], 21..=22, 500);
    let page = page(&store, 1, ALICE).unwrap();
    assert_eq!((page.floor(), page.tail()), (21, 22));
}

#[test]
fn c21_anonymous_streams_are_limited_by_the_total_only() {
    let store = MemoryStore::new().with_max_owner_bytes(10_000);
    let mut writer = open(&store, 1, Owner::ANONYMOUS);
    fill(&mut writer, 1..=200, 500);
    assert_eq!(kept(&store, 1, Owner::ANONYMOUS), Some(200));
}

#[test]
fn c21_oldest_ended_stream_goes_first_and_then_idle_ones() {
    let store = MemoryStore::new().with_max_total_bytes(100_000);
    let mut ended = Vec::new();
    for nth in [3, 1, 2] {
        let mut writer = open(&store, nth, BOB);
        fill(&mut writer, 1..=10, 1_000);
        ended.push((nth, writer));
    }
    let mut idle = open(&store, 10, BOB);
    fill(&mut idle, 1..=10, 1_000);
    let mut busy = open(&store, 11, BOB);
    fill(&mut busy, 1..=10, 1_000);
    // In another order than that in which they were opened.
    ended.sort_by_key(|(nth, _)| *nth);
    for (_, writer) in &mut ended {
        now(writer.close(End::Complete)).unwrap();
    }

    let mut flood = open(&store, 100, ALICE);
    let mut gone = Vec::new();
    let mut sequence = 0;
    while !gone.contains(&10) {
        sequence += 1;
        fill(&mut flood, [sequence], 100);
        fill(&mut busy, [10 + sequence], 1);
        assert!(store.stats().bytes <= 100_000 + 100);
        for nth in [1, 2, 3, 10, 11] {
            if kept(&store, nth, BOB).unwrap_or(0) == 0 && !gone.contains(&nth) {
                gone.push(nth);
            }
        }
    }
    assert_eq!(gone, [1, 2, 3, 10], "in that order, and no others");
    assert_eq!(kept(&store, 100, ALICE), Some(sequence));
    assert_eq!(kept(&store, 1, BOB), None, "what has ended goes as a whole");
    assert_eq!(kept(&store, 10, BOB), Some(0), "what is live stays open");
    fill(&mut idle, [11], 1_000);
    assert_eq!(kept(&store, 10, BOB), Some(1));
}

#[test]
fn c21_stream_alone_makes_room_for_itself() {
    for store in [
        MemoryStore::new().with_max_total_bytes(50_000),
        MemoryStore::new().with_max_owner_bytes(50_000),
    ] {
        let mut writer = open(&store, 1, ALICE);
        for sequence in 1..=5_000 {
            fill(&mut writer, [sequence], 345);
            let held = store.stats().bytes;
            assert!(held <= 50_000, "{sequence}: {held}");
        }
        // It keeps as much as it can.
        assert!(kept(&store, 1, ALICE) > Some(130));
    }
}

#[test]
fn c21_event_that_is_larger_than_all_limits_is_kept_alone() {
    let store = MemoryStore::new()
        .with_max_bytes(100)
        .with_max_owner_bytes(2_000)
        .with_max_total_bytes(2_000);
    let mut writer = open(&store, 1, ALICE);
    for sequence in 1..=5 {
        fill(&mut writer, [sequence], 10_000);
        assert_eq!(kept(&store, 1, ALICE), Some(1));
        assert!(store.stats().bytes <= 2_000 + 10_000);
    }
    fill(&mut writer, [6, 7], 10);
    assert_eq!(kept(&store, 1, ALICE), Some(2));
    assert!(store.stats().bytes <= 2_000);
}

#[test]
fn store_full_of_live_streams_takes_no_more() {
    let store = MemoryStore::new().with_max_total_bytes(100_000);
    let mut writers = Vec::new();
    let refused = loop {
        let nth = writers.len() as u32;
        match now(store.open(key(nth), ALICE, Bytes::new())) {
            Ok(writer) => writers.push(writer),
            Err(error) => break error,
        }
        assert!(nth < 1_000, "each stream costs something");
    };
    assert_eq!(refused.kind(), StoreErrorKind::Unavailable);
    assert!(store.stats().bytes <= 100_000);
    assert_eq!(store.stats().streams, writers.len());

    // One that has ended makes room.
    drop(writers.pop());
    writers.push(open(&store, 5_000, ALICE));
    now(store.purge(ALICE)).unwrap();
    assert_eq!((store.stats().streams, store.stats().bytes), (0, 0));
    drop(writers);
    assert_eq!((store.stats().streams, store.stats().bytes), (0, 0));
}

/// In real time, because a paused clock moves only while the sweeper can run.
#[tokio::test]
async fn expired_stream_is_not_found_before_anybody_sweeps() {
    let store = MemoryStore::new().with_retain_for(Duration::from_millis(200));
    let mut writer = open(&store, 1, ALICE);
    fill(&mut writer, 1..=3, 10);
    let ended = Instant::now();
    now(writer.close(End::Complete)).unwrap();
    assert_eq!(kept(&store, 1, ALICE), Some(3));
    let mut watch = task::spawn(store.watch(key(1), ALICE, 3));
    while ended.elapsed() < Duration::from_millis(201) {
        std::hint::spin_loop();
    }
    assert_eq!(store.stats().streams, 1, "nobody has swept");
    assert_eq!(kept(&store, 1, ALICE), None);
    assert!(assert_ready!(watch.poll()).is_err());
    // The key is free again, and what was there does not come back.
    let _writer = open(&store, 1, BOB);
    assert_eq!(kept(&store, 1, ALICE), None);
    assert_eq!(kept(&store, 1, BOB), Some(0));
}

#[tokio::test(start_paused = true)]
async fn memory_of_ended_streams_goes_without_another_call() {
    let store = MemoryStore::new().with_retain_for(Duration::from_secs(60));
    for nth in 0..100 {
        let mut writer = open(&store, nth, ALICE);
        fill(&mut writer, 1..=10, 100);
        drop(writer);
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(store.stats().streams, 60, "one for each of 60 seconds");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(store.stats().streams, 30);
    sleep(Duration::from_secs(31)).await;
    assert_eq!((store.stats().streams, store.stats().bytes), (0, 0));
    assert_eq!(store.stats().evicted, 0, "no limit was reached");
}

#[test]
fn next_runtime_goes_on_sweeping() {
    let store = MemoryStore::new().with_retain_for(Duration::from_millis(20));
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    runtime().block_on(async { drop(open(&store, 1, ALICE)) });
    assert_eq!(
        store.stats().streams,
        1,
        "the first runtime is gone too early"
    );
    runtime().block_on(async {
        drop(open(&store, 2, ALICE));
        sleep(Duration::from_millis(50)).await;
    });
    assert_eq!(store.stats().streams, 0);
}

#[tokio::test(start_paused = true)]
async fn second_round_of_streams_grows_nothing() {
    let store = MemoryStore::new();
    let mut peaks = Vec::new();
    for round in 0..3 {
        let mut writers = Vec::new();
        for nth in 0..5_000 {
            let owner = Owner::new(None, Some(&[nth as u8, round]));
            let mut writer = open(&store, nth, owner);
            fill(&mut writer, 1..=3, 345);
            writers.push(writer);
        }
        peaks.push(store.stats().bytes);
        drop(writers);
        assert_eq!(store.stats().streams, 5_000);
        sleep(MemoryStore::DEFAULT_RETAIN_FOR + Duration::from_millis(2)).await;
        assert_eq!((store.stats().streams, store.stats().bytes), (0, 0));
    }
    assert_eq!(peaks, [peaks[0]; 3]);
}

#[test]
fn threads_that_fight_for_memory_leave_the_books_right() {
    let store = MemoryStore::new()
        .with_max_owner_bytes(60_000)
        .with_max_total_bytes(100_000)
        .with_retain_for(Duration::ZERO);
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let store = store.clone();
            scope.spawn(move || {
                let owner = [ALICE, BOB, Owner::ANONYMOUS][thread as usize % 3];
                for round in 0..100 {
                    let Ok(mut writer) =
                        now(store.open(key(thread << 16 | round), owner, Bytes::new()))
                    else {
                        continue;
                    };
                    for sequence in 1..=100 {
                        let event = [0; 700];
                        if now(writer.append(sequence, &event)).is_err() {
                            break;
                        }
                    }
                    if round % 10 == 0 {
                        now(store.purge(owner)).unwrap();
                    }
                }
            });
        }
    });
    for owner in [ALICE, BOB, Owner::ANONYMOUS] {
        now(store.purge(owner)).unwrap();
    }
    assert_eq!((store.stats().streams, store.stats().bytes), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read(u64, usize),
    /// Another stream takes so much memory.
    Squeeze(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..120_usize).prop_map(Step::Append),
        1 => (0..3_000_usize).prop_map(Step::Append),
        4 => (0..400_u64, 0..900_usize).prop_map(|(after, limit)| Step::Read(after, limit)),
        1 => (0..9_000_usize).prop_map(Step::Squeeze),
    ]
}

proptest! {
    #[test]
    fn log_is_a_suffix_of_what_was_appended(
        max_events in 1..40_usize,
        max_bytes in 0..2_500_usize,
        max_total in 3_000..12_000_usize,
        steps in vec(step(), 1..300),
    ) {
        let store = MemoryStore::new()
            .with_max_events(NonZeroUsize::new(max_events).unwrap())
            .with_max_bytes(max_bytes)
            .with_max_total_bytes(max_total);
        let mut writer = open(&store, 1, ALICE);
        let mut squeezer = open(&store, 2, BOB);
        let mut squeezed = 0;
        let mut events: Vec<Vec<u8>> = Vec::new();
        let (mut floor, mut largest) = (1, 0);
        for step in steps {
            match step {
                Step::Append(len) => {
                    largest = largest.max(len);
                    let sequence = events.len() as u64 + 1;
                    let event: Vec<u8> = (0..len).map(|at| (at as u64 ^ sequence) as u8).collect();
                    now(writer.append(sequence, &event)).unwrap();
                    events.push(event);
                    let page = page(&store, 1, ALICE).unwrap();
                    prop_assert!(page.floor() <= sequence, "the last event is kept");
                    let kept = sequence + 1 - page.floor();
                    prop_assert!(kept <= max_events as u64);
                    prop_assert!(page.events().len() <= max_bytes.max(len));
                    let most = max_total + largest;
                    prop_assert!(store.stats().bytes <= most, "{:?}", store.stats());
                }
                Step::Squeeze(len) => {
                    largest = largest.max(len);
                    squeezed += 1;
                    now(squeezer.append(squeezed, &vec![0; len])).unwrap();
                }
                Step::Read(after, limit) => {
                    let page = now(store.read(key(1), ALICE, after, limit)).unwrap();
                    let tail = events.len() as u64;
                    prop_assert_eq!(page.tail(), tail);
                    prop_assert!((floor..=tail + 1).contains(&page.floor()));
                    floor = page.floor();
                    let first = floor.max(after + 1);
                    if first > tail {
                        prop_assert_eq!(page.first(), None);
                        continue;
                    }
                    prop_assert_eq!(page.first(), Some(first));
                    let last = page.last().unwrap();
                    let read = &events[first as usize - 1..last as usize];
                    prop_assert_eq!(page.events(), read.concat());
                    prop_assert!(read.len() == 1 || page.events().len() <= limit);
                    if last < tail {
                        let more = page.events().len() + events[last as usize].len();
                        prop_assert!(more > limit, "the next one has room");
                    }
                }
            }
        }
    }
}
