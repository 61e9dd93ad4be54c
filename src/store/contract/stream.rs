use std::{
    fmt::Debug,
    future::Future,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;

use crate::{
    sse::StreamKey,
    store::{End, EventStore, EventWriter, Owner, Page, StoreError, StoreErrorKind},
};

/// A stream under test, and what has been written to it.
pub(super) struct Stream<T: EventStore> {
    pub(super) store: T,
    pub(super) key: StreamKey,
    pub(super) owner: Owner,
    /// Event 1 is at index 0.
    pub(super) events: Vec<Vec<u8>>,
    /// Only ever reached by `get_mut`: a writer need not be `Sync`, but a stream is shared.
    writer: Mutex<Option<T::Writer>>,
}

pub(super) const ABOUT: Bytes = Bytes::from_static(b"what it is about");

impl<T: EventStore> Stream<T> {
    pub(super) async fn open(store: &T, owner: Owner) -> Self {
        let key = fresh_key();
        let opened = store.open(key, owner, ABOUT).await;
        Self {
            store: store.clone(),
            key,
            owner,
            events: Vec::new(),
            writer: Mutex::new(Some(opened.expect("a stream with a new key should open"))),
        }
    }

    /// With that many events of different lengths.
    pub(super) async fn with_events(store: &T, owner: Owner, count: u64) -> Self {
        let mut stream = Self::open(store, owner).await;
        for _ in 0..count {
            stream.append_next().await;
        }
        stream
    }

    pub(super) fn tail(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn writer(&mut self) -> &mut T::Writer {
        let writer = self.writer.get_mut().expect("it is never locked");
        writer.as_mut().expect("the test has not dropped it")
    }

    pub(super) fn drop_writer(&mut self) {
        self.writer = Mutex::new(None);
    }

    pub(super) async fn append(&mut self, event: &[u8]) {
        let sequence = self.tail() + 1;
        let appended = self.writer().append(sequence, event).await;
        appended.expect("the next event should be appended");
        self.events.push(event.to_vec());
    }

    pub(super) async fn append_next(&mut self) {
        let event = event(self.key, self.tail() + 1);
        self.append(&event).await;
    }

    pub(super) async fn refuses(&mut self, sequence: u64, expected: StoreErrorKind, why: &str) {
        let result = self.writer().append(sequence, b"refused").await;
        assert_kind(result, expected, why);
    }

    pub(super) async fn close(&mut self, end: End) {
        let closed = self.writer().close(end).await;
        closed.expect("a stream should be closed");
    }

    pub(super) async fn read(&self, after: u64, limit: usize) -> Page {
        let read = self.store.read(self.key, self.owner, after, limit).await;
        read.expect("the owner should read the stream")
    }

    /// Reads and judges all that a page says.
    pub(super) async fn check(&self, after: u64, limit: usize) -> Page {
        let page = self.read(after, limit).await;
        judge(&page, &self.events, after, limit);
        page
    }

    /// Reads until nothing more comes.
    pub(super) async fn check_all(&self) {
        let mut after = 0;
        while let Some(last) = self.check(after, 100).await.last() {
            after = last;
        }
        assert_eq!(
            after,
            self.tail(),
            "reading on should lead to the last event"
        );
    }
}

/// Compares a page of a stream with the events that the stream has.
#[track_caller]
pub(super) fn judge(page: &Page, events: &[Vec<u8>], after: u64, limit: usize) {
    let tail = events.len() as u64;
    let (floor, case) = (page.floor(), format!("after {after}, limit {limit}"));
    assert_eq!(page.tail(), tail, "the tail is the last event: {case}");
    let forgotten = if tail == 0 { 1 } else { tail };
    assert!(
        (1..=forgotten).contains(&floor),
        "the last event should be kept, but the floor is {floor} of {tail}: {case}"
    );
    let first = after.saturating_add(1).max(floor);
    if first > tail {
        assert_eq!(page.first(), None, "there is nothing to read: {case}");
        assert_eq!(page.events(), b"", "there is nothing to read: {case}");
        return;
    }
    let len = |to: u64| -> usize {
        let events = &events[first as usize - 1..to as usize];
        events.iter().map(Vec::len).sum()
    };
    let mut last = first;
    while last < tail && len(last + 1) <= limit {
        last += 1;
    }
    assert_eq!(page.first(), Some(first), "the first on the page: {case}");
    assert_eq!(page.last(), Some(last), "the last within limit: {case}");
    let expected = events[first as usize - 1..last as usize].concat();
    assert!(
        page.events() == expected,
        "events {first} to {last} should have the bytes that were appended: {case}"
    );
}

/// An event that tells which it is, and of what stream; its length varies.
pub(super) fn event(key: StreamKey, sequence: u64) -> Vec<u8> {
    let padding = "x".repeat((sequence * 7 % 23) as usize);
    let text = format!("id: {sequence}\ndata: {:?} {padding}\n\n", key.as_bytes());
    text.into_bytes()
}

pub(super) fn fresh_key() -> StreamKey {
    StreamKey::from_bytes(random())
}

pub(super) fn fresh_owner() -> Owner {
    let [a, b]: [[u8; 16]; 2] = [random(), random()];
    Owner::new(Some(&a), Some(&b))
}

/// Bytes that are different each time: no test needs more.
fn random() -> [u8; 16] {
    let word = || u128::from(RandomState::new().hash_one(0));
    (word() << 64 | word()).to_be_bytes()
}

#[track_caller]
pub(super) fn assert_kind<V: Debug>(
    result: Result<V, StoreError>,
    expected: StoreErrorKind,
    why: &str,
) {
    match result {
        Ok(value) => panic!("{why}: should be {expected:?}, but is {value:?}"),
        Err(error) => assert_eq!(error.kind(), expected, "{why}: {error}"),
    }
}

/// Polls once.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
