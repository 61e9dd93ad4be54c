use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use tokio::runtime::Handle;

mod care;

use super::{
    drain,
    expect::About,
    hub::Hub,
    producer::{Produce, Sink, Step},
    source::Connect,
};
use crate::{sse::StreamKey, store::Owner};

/// One SSE response of the inner service, and who drives it.
///
/// At any time one driver has the current generation: the client's response body, or the task that
/// drains it. Every other one is fenced: it finds another generation, and touches nothing.
///
/// Lock order: the state of a stream and the table of the hub are never locked together.
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) owner: Owner,
    pub(super) about: About,
    pub(super) serial: u64,
    /// Whether the client may be sent away before the stream is over (SSE-5).
    may_close_early: bool,
    hub: Arc<Hub>,
    /// Where a drain task runs, also if the body is dropped outside of a runtime.
    runtime: Handle,
    mode: AtomicU8,
    /// When the client's body was last polled, in beats of the hub.
    polled: AtomicU32,
    /// When the client was last sent something.
    spoke: AtomicU32,
    /// When the client was last sent a comment.
    reminded: AtomicU32,
    wants_keep_alive: AtomicBool,
    /// Whether the client was ever sent an event, so that it may have a cursor.
    has_spoken: AtomicBool,
    is_answered: AtomicBool,
    has_log: AtomicBool,
    state: Mutex<State>,
}

/// Who drives a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum StreamState {
    /// A client is connected, and reads at its own speed.
    Attached,
    /// The client is gone. What comes is recorded.
    Detached,
    /// The client is gone, and the server too: it closed early, and waits to be asked for the rest
    /// (SSE-4).
    Suspended,
    /// Nobody any more.
    Over,
}

struct State {
    generation: u32,
    /// Of the driver, to tell it that it is fenced, or has something to say.
    waker: Option<Waker>,
    /// `None` once the stream is over.
    producer: Option<Pin<Box<dyn Produce>>>,
    /// Found set, the last poll has panicked, and the producer must not be polled again.
    is_polling: bool,
    /// Since when nobody is attached, in beats.
    since: u32,
    /// How often in a row a client came back with the same cursor, and which.
    cursor: u64,
    repeats: u32,
    /// The client is to be sent away.
    dismissed: Option<Duration>,
    /// How much was read without a client.
    drained: usize,
}

/// What a driver is told.
pub(super) enum Turn {
    /// Another driver took over.
    Fenced,
    /// The client is asked to come back after that time.
    Dismissed(Duration),
    Step {
        step: Step,
        recorded: u64,
    },
}

/// A client that was attached.
pub(super) struct Attached {
    pub(super) generation: u32,
    /// It came back again and again without progress, and should wait longer (C07).
    pub(super) retry: Option<Duration>,
}

/// How often a client may come back to the same place before it is slowed down.
const FREE_REPEATS: u32 = 3;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

impl State {
    fn keep(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

impl Stream {
    /// A stream that a client is attached to, with the first generation, 0.
    pub(super) fn new(
        key: StreamKey,
        owner: Owner,
        about: About,
        may_close_early: bool,
        hub: Arc<Hub>,
        runtime: Handle,
        producer: Pin<Box<dyn Produce>>,
    ) -> Arc<Self> {
        let now = hub.now();
        let serial = hub.next_serial();
        let stream = Arc::new(Self {
            key,
            owner,
            about,
            serial,
            may_close_early,
            hub,
            runtime,
            mode: AtomicU8::new(StreamState::Attached as u8),
            polled: AtomicU32::new(now),
            spoke: AtomicU32::new(now),
            reminded: AtomicU32::new(now),
            wants_keep_alive: AtomicBool::new(false),
            has_spoken: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            has_log: AtomicBool::new(false),
            state: Mutex::new(State {
                generation: 0,
                waker: None,
                producer: Some(producer),
                is_polling: false,
                since: now,
                cursor: u64::MAX,
                repeats: 0,
                dismissed: None,
                drained: 0,
            }),
        });
        stream.hub.insert(Arc::clone(&stream), &stream.runtime);
        stream
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A producer that panics leaves `is_polling` set, which says more than the poison does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn state(&self) -> StreamState {
        match self.mode.load(Relaxed) {
            0 => StreamState::Attached,
            1 => StreamState::Detached,
            2 => StreamState::Suspended,
            _ => StreamState::Over,
        }
    }

    /// Called with the state locked, which orders the changes.
    fn set_mode(&self, mode: StreamState) {
        let before = self.mode.swap(mode as u8, Relaxed);
        self.hub.count_detached(
            before == StreamState::Detached as u8,
            mode == StreamState::Detached,
        );
    }

    /// Polls the producer, if `generation` is still the one that drives it.
    pub(super) fn poll(&self, generation: u32, sink: Sink, cx: &mut Context<'_>) -> Poll<Turn> {
        let is_client = sink != Sink::Nobody;
        if is_client {
            self.polled.store(self.hub.now(), Relaxed);
        }
        let mut guard = self.lock();
        let state = &mut *guard;
        let Some(producer) = state
            .producer
            .as_mut()
            .filter(|_| state.generation == generation)
        else {
            return Poll::Ready(Turn::Fenced);
        };
        if is_client && let Some(retry) = state.dismissed.or(self.hub.closing()) {
            return Poll::Ready(Turn::Dismissed(retry));
        }
        if state.is_polling {
            drop(guard);
            self.abandon(generation);
            return Poll::Ready(Turn::Fenced);
        }
        state.is_polling = true;
        let polled = producer.as_mut().poll_produce(sink, cx);
        state.is_polling = false;
        if producer.has_log() != self.has_log.load(Relaxed) {
            self.has_log.store(producer.has_log(), Relaxed);
        }
        let Poll::Ready(step) = polled else {
            if producer.is_answered() {
                self.is_answered.store(true, Relaxed);
            }
            state.keep(cx.waker());
            return Poll::Pending;
        };
        let recorded = producer.recorded();
        match step {
            Step::Ended | Step::Failed(_) => {
                state.waker = None;
                drop(guard);
                self.abandon(generation);
            }
            Step::Suspended => {
                state.since = self.hub.now();
                self.set_mode(StreamState::Suspended);
            }
            Step::Data(_) => {
                self.spoke.store(self.hub.now(), Relaxed);
                if self.wants_keep_alive.load(Relaxed) {
                    self.wants_keep_alive.store(false, Relaxed);
                }
                if recorded > 0 {
                    self.has_spoken.store(true, Relaxed);
                }
            }
            Step::Read(read) => state.drained = state.drained.saturating_add(read),
            Step::Trailers(_) => {}
        }
        Poll::Ready(Turn::Step { step, recorded })
    }

    /// Whether `generation` drives the stream, and how much of it is recorded; keeps the waker.
    pub(super) fn look(&self, generation: u32, cx: &Context<'_>) -> Option<u64> {
        self.polled.store(self.hub.now(), Relaxed);
        let mut state = self.lock();
        if state.generation != generation {
            return None;
        }
        let recorded = state.producer.as_ref()?.recorded();
        state.keep(cx.waker());
        Some(recorded)
    }

    /// Whether the last response was there when the producer last had nothing to say.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Relaxed)
    }

    /// Whether the log was there when the producer was last polled.
    pub(super) fn has_log(&self) -> bool {
        self.has_log.load(Relaxed)
    }

    /// Whether the log is still to come.
    pub(super) fn is_opening(&self) -> bool {
        let state = self.lock();
        let producer = state.producer.as_ref();
        producer.is_some_and(|producer| !producer.has_log() && producer.outlives_client())
    }

    /// What a client is told whose response may be among what is forgotten.
    pub(super) fn forgotten(&self) -> Bytes {
        let state = self.lock();
        let producer = state.producer.as_ref();
        producer
            .map(|producer| producer.forgotten())
            .unwrap_or_default()
    }

    /// Notes that the client was sent an event of the log.
    pub(super) fn note_spoken(&self) {
        self.spoke.store(self.hub.now(), Relaxed);
        self.has_spoken.store(true, Relaxed);
    }

    /// Takes the keep-alive that is due, if one is.
    pub(super) fn take_keep_alive(&self) -> bool {
        let is_due =
            self.wants_keep_alive.load(Relaxed) && self.wants_keep_alive.swap(false, Relaxed);
        if is_due {
            self.reminded.store(self.hub.now(), Relaxed);
        }
        is_due
    }

    /// The upstream's id, if it has to be asked for the rest.
    pub(super) fn suspended_at(&self) -> Option<Vec<u8>> {
        let state = self.lock();
        let id = state.producer.as_ref()?.suspended_at()?;
        Some(id.to_vec())
    }

    /// Makes a client that has come back with `cursor` the driver, and fences the one before it.
    ///
    /// `None` if nothing more than what is in the log will come.
    pub(super) fn attach(&self, cursor: u64, connect: Option<Connect>) -> Option<Attached> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let producer = state.producer.as_mut()?;
        // While something is still on its way into the log, it has to be driven there.
        let is_settled = producer.is_answered() && !producer.outlives_client();
        if is_settled || state.is_polling {
            return None;
        }
        if producer.suspended_at().is_some() {
            producer.as_mut().reopen(connect?);
        }
        state.generation += 1;
        if state.cursor == cursor {
            state.repeats += 1;
        } else {
            state.cursor = cursor;
            state.repeats = 0;
        }
        let retry = state.repeats.checked_sub(FREE_REPEATS).map(|more| {
            let retry = FIRST_RETRY.saturating_mul(1 << more.min(10));
            super::hub::jittered(retry.min(LAST_RETRY), &self.key)
        });
        let attached = Attached {
            generation: state.generation,
            retry,
        };
        state.dismissed = None;
        self.polled.store(self.hub.now(), Relaxed);
        self.spoke.store(self.hub.now(), Relaxed);
        self.set_mode(StreamState::Attached);
        let before = state.waker.take();
        drop(guard);
        if let Some(before) = before {
            before.wake();
        }
        Some(attached)
    }

    /// The client of that generation is gone: goes on alone, if that has a purpose.
    pub(super) fn detach(self: &Arc<Self>, generation: u32) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.generation != generation {
            return;
        }
        let Some(producer) = &state.producer else {
            return;
        };
        if producer.suspended_at().is_some() {
            return;
        }
        let goes_on = producer.outlives_client()
            && !state.is_polling
            && self.hub.closing().is_none()
            && self.hub.may_detach();
        if !goes_on {
            drop(guard);
            self.abandon(generation);
            return;
        }
        self.leave_alone(state);
        let generation = state.generation;
        let before = state.waker.take();
        drop(guard);
        if let Some(before) = before {
            before.wake();
        }
        self.hub.note_detached(self);
        self.runtime
            .spawn(drain::drain(Arc::clone(self), generation));
    }

    fn leave_alone(&self, state: &mut State) {
        state.generation += 1;
        state.since = self.hub.now();
        state.dismissed = None;
        state.drained = 0;
        self.set_mode(StreamState::Detached);
    }

    /// Ends the stream: nobody drives it any more, and a log that is not closed is lost.
    pub(super) fn abandon(&self, generation: u32) {
        let mut state = self.lock();
        if state.generation != generation {
            return;
        }
        state.generation += 1;
        let producer = state.producer.take();
        let waker = state.waker.take();
        self.set_mode(StreamState::Over);
        drop(state);
        // Dropped outside of the lock: what else it drops is not ours to know.
        drop(producer);
        self.hub.remove(&self.key);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
