//! A store in memory that takes its time.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use shadowcat::sse::StreamKey;
use shadowcat::store::{
    End, EventStore, EventWriter, MemoryStore, MemoryWriter, Owner, Page, StoreError,
};

thread_local! {
    static STIRS: Cell<u64> = const { Cell::new(0) };
}

/// Notes that somebody did something: whoever waits for quiet waits on.
pub(crate) fn stir() {
    STIRS.set(STIRS.get() + 1);
}

/// Lets all tasks run until none of them does anything any more.
pub(crate) async fn settle() {
    loop {
        let before = STIRS.get();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        if STIRS.get() == before {
            return;
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) memory: MemoryStore,
    polls: Arc<AtomicU32>,
    is_late: bool,
}

impl Slow {
    pub(crate) fn new(memory: MemoryStore, polls: u32, is_late: bool) -> Self {
        Self {
            memory,
            polls: Arc::new(AtomicU32::new(polls)),
            is_late,
        }
    }

    pub(crate) fn set(&self, polls: u32) {
        self.polls.store(polls, Relaxed);
    }

    fn later<O>(&self, work: impl FnOnce() -> O + Send + 'static) -> Later<O> {
        let polls = self.polls.load(Relaxed);
        let work = if self.is_late && polls > 0 {
            Work::ToDo(Box::new(work))
        } else {
            Work::Done(work())
        };
        Later {
            polls,
            work: Some(work),
        }
    }
}

/// The result of `work`, after some polls.
pub(crate) struct Later<O> {
    polls: u32,
    work: Option<Work<O>>,
}

enum Work<O> {
    ToDo(Box<dyn FnOnce() -> O + Send>),
    Done(O),
}

impl<O> Unpin for Later<O> {}

impl<O> Future for Later<O> {
    type Output = O;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O> {
        stir();
        if self.polls > 0 {
            self.polls -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.work.take().expect("polled after completion") {
            Work::ToDo(work) => Poll::Ready(work()),
            Work::Done(output) => Poll::Ready(output),
        }
    }
}

/// What is ready in a store in memory.
fn now<O>(future: std::future::Ready<O>) -> O {
    future.into_inner()
}

impl EventStore for Slow {
    type Writer = SlowWriter;
    type Open = Later<Result<SlowWriter, StoreError>>;
    type Read = Later<Result<Page, StoreError>>;
    type Watch = <MemoryStore as EventStore>::Watch;
    type Purge = Later<Result<(), StoreError>>;

    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> Self::Open {
        let slow = self.clone();
        self.later(move || {
            let writer = now(slow.memory.open(stream, owner, about))?;
            let writer = Arc::new(Mutex::new(writer));
            Ok(SlowWriter { slow, writer })
        })
    }

    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> Self::Read {
        let memory = self.memory.clone();
        self.later(move || now(memory.read(stream, owner, after, limit)))
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> Self::Watch {
        self.memory.watch(stream, owner, after)
    }

    fn purge(&self, owner: Owner) -> Self::Purge {
        let memory = self.memory.clone();
        self.later(move || now(memory.purge(owner)))
    }
}

#[derive(Debug)]
pub(crate) struct SlowWriter {
    slow: Slow,
    writer: Arc<Mutex<MemoryWriter>>,
}

impl SlowWriter {
    fn later<O>(&self, work: impl FnOnce(&mut MemoryWriter) -> O + Send + 'static) -> Later<O> {
        let writer = Arc::clone(&self.writer);
        self.slow
            .later(move || work(&mut writer.lock().expect("not poisoned")))
    }
}

impl EventWriter for SlowWriter {
    type Append = Later<Result<(), StoreError>>;
    type Close = Later<Result<(), StoreError>>;

    fn append(&mut self, sequence: u64, event: &[u8]) -> Self::Append {
        let event = event.to_vec();
        self.later(move |writer| now(writer.append(sequence, &event)))
    }

    fn close(&mut self, end: End) -> Self::Close {
        self.later(move |writer| now(writer.close(end)))
    }
}
