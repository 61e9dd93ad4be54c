use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::runtime::Handle;

mod care;
mod held;

use super::{
    expect::About,
    hub::Hub,
    produce::{Produce, Sink, Step},
    source::Connect,
};
use crate::{sse::StreamKey, store::Owner};

/// One SSE response of the inner service, and who drives it.
///
/// At any time one driver has the current generation: the client's response body, or the task that
/// drains it. Every other one is fenced: it finds another generation, and touches nothing.
///
/// The producer is polled with the state locked, so whatever it runs must be able to ask for the end of
/// the stream without the lock: that is a flag, which everybody who has had the lock looks at. Lock
/// order: the state of a stream and the table of the hub are never locked together; the waker and the
/// hub's quotas are leaves.
///
/// In this order: what each event needs lies together, because most streams have gone cold by the time
/// that they have something to say.
#[repr(C)]
pub(super) struct Stream {
    hub: Arc<Hub>,
    state: Mutex<State>,
    /// Of the driver, to tell it that it is fenced, or has something to say.
    waker: Mutex<Option<Waker>>,
    /// When the client's body was last polled, in beats of the hub.
    polled: AtomicU32,
    /// When the client was last sent something, an event, and a comment of ours.
    spoke: AtomicU32,
    heard: AtomicU32,
    reminded: AtomicU32,
    /// The client is to be sent away for so many milliseconds, less one.
    dismissed: AtomicU32,
    wants_keep_alive: AtomicBool,
    /// Whether the client was ever sent an event, so that it may have a cursor.
    has_spoken: AtomicBool,
    is_answered: AtomicBool,
    has_log: AtomicBool,
    /// Somebody wants the stream to end.
    is_terminated: AtomicBool,
    mode: AtomicU8,
    /// Whether the client may be sent away before the stream is over (SSE-5).
    may_close_early: bool,
    pub(super) about: About,
    /// Where a drain task runs, also if the body is dropped outside of a runtime.
    runtime: Handle,
    pub(super) serial: u64,
    pub(super) key: StreamKey,
    pub(super) owner: Owner,
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
    /// Nobody any more: what is to be said about that is on its way into the log.
    Closing,
    /// Nobody any more.
    Over,
}

struct State {
    generation: u32,
    /// `None` once the stream is over.
    producer: Option<Pin<Box<dyn Produce>>>,
    /// Found set, the last poll has panicked, and the producer must not be polled again.
    is_polling: bool,
    /// How much is still said to a client that is sent away.
    farewell: u8,
    /// Since when nobody is attached, in beats.
    since: u32,
    /// When the last client came, and how often in a row one came back with which cursor.
    came: u32,
    cursor: u64,
    repeats: u8,
    recorded: u64,
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

/// What becomes of a client that comes back.
pub(super) enum Attach {
    Attached(Attached),
    /// The server has to be asked for the rest, from that id of its own on.
    Suspended(Vec<u8>),
    /// Nothing more than what is in the log will come.
    Over,
}

/// A client that was attached.
pub(super) struct Attached {
    pub(super) generation: u32,
    /// It came back again and again without progress, and should wait longer (C07).
    pub(super) retry: Option<Duration>,
}

/// How often a client may come back to the same place before it is slowed down.
const FREE_REPEATS: u8 = 3;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How many frames a client that is sent away still gets, if they are there.
const FAREWELL: u8 = 16;

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
        // Whoever comes after the end is sent on at once (D29).
        let farewell = if hub.closing().is_some() { 0 } else { FAREWELL };
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
            heard: AtomicU32::new(now),
            reminded: AtomicU32::new(now),
            wants_keep_alive: AtomicBool::new(false),
            has_spoken: AtomicBool::new(false),
            is_answered: AtomicBool::new(false),
            has_log: AtomicBool::new(false),
            is_terminated: AtomicBool::new(false),
            dismissed: AtomicU32::new(0),
            waker: Mutex::new(None),
            state: Mutex::new(State {
                generation: 0,
                producer: Some(producer),
                is_polling: false,
                farewell,
                since: now,
                came: now,
                cursor: u64::MAX,
                repeats: 0,
                recorded: 0,
                drained: 0,
            }),
        });
        stream.hub.insert(Arc::clone(&stream), &stream.runtime);
        stream
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(super) fn state(&self) -> StreamState {
        match self.mode.load(Relaxed) {
            0 => StreamState::Attached,
            1 => StreamState::Detached,
            2 => StreamState::Suspended,
            3 => StreamState::Closing,
            _ => StreamState::Over,
        }
    }

    /// Called with the state locked, which orders the changes.
    fn set_mode(&self, mode: StreamState) {
        let before = self.state();
        self.mode.store(mode as u8, Relaxed);
        let waits = |state| matches!(state, StreamState::Detached | StreamState::Suspended);
        self.hub
            .count_waiting(&self.owner, waits(before), waits(mode));
    }

    /// Polls the producer, if `generation` is still the one that drives it.
    pub(super) fn poll(&self, generation: u32, sink: Sink, cx: &mut Context<'_>) -> Poll<Turn> {
        let is_client = sink != Sink::Nobody;
        let now = self.hub.now();
        let mut held = self.lock();
        let state = &mut *held;
        let Some(producer) = state
            .producer
            .as_mut()
            .filter(|_| state.generation == generation)
        else {
            return Poll::Ready(Turn::Fenced);
        };
        if is_client {
            self.polled.store(now, Relaxed);
        }
        if state.is_polling {
            held.end();
            return Poll::Ready(Turn::Fenced);
        }
        let dismissed = self.dismissed().filter(|_| is_client);
        if let Some(retry) = dismissed {
            if state.farewell == 0 {
                return Poll::Ready(Turn::Dismissed(retry));
            }
            state.farewell -= 1;
        }
        state.is_polling = true;
        let mut polled = producer.as_mut().poll_produce(sink, cx);
        // A stream that waits already needs no other place.
        if matches!(polled, Poll::Ready(Step::Suspended))
            && is_client
            && !self.hub.may_wait(&self.owner)
        {
            producer.as_mut().give_up();
            polled = producer.as_mut().poll_produce(sink, cx);
        }
        state.is_polling = false;
        let has_log = producer.has_log();
        if has_log != self.has_log.load(Relaxed) {
            self.has_log.store(has_log, Relaxed);
        }
        let Poll::Ready(step) = polled else {
            if let Some(retry) = dismissed {
                return Poll::Ready(Turn::Dismissed(retry));
            }
            if producer.is_answered() && !producer.outlives_client() {
                self.is_answered.store(true, Relaxed);
            }
            held.keep(cx.waker());
            // Whoever wanted to wake this driver meanwhile found the waker of another.
            return self.poll_again(is_client, cx);
        };
        let recorded = producer.recorded();
        match step {
            Step::Ended | Step::Failed(_) => held.end(),
            Step::Suspended => {
                state.since = now;
                self.set_mode(StreamState::Suspended);
            }
            Step::Data(_) => {
                self.spoke.store(now, Relaxed);
                if self.wants_keep_alive.load(Relaxed) {
                    self.wants_keep_alive.store(false, Relaxed);
                }
                if recorded != state.recorded {
                    state.recorded = recorded;
                    self.heard.store(now, Relaxed);
                    self.has_spoken.store(true, Relaxed);
                }
            }
            Step::Read(read) => state.drained = state.drained.saturating_add(read),
            Step::Trailers(_) => {}
        }
        Poll::Ready(Turn::Step { step, recorded })
    }

    /// Makes sure that nothing that happened before the waker was kept is missed.
    fn poll_again(&self, is_client: bool, cx: &Context<'_>) -> Poll<Turn> {
        let is_wanted = self.is_terminated.load(Relaxed)
            || is_client && (self.dismissed().is_some() || self.wants_keep_alive.load(Relaxed));
        if is_wanted {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// For how long the client is to be sent away.
    pub(super) fn dismissed(&self) -> Option<Duration> {
        let millis = self.dismissed.load(Relaxed);
        let own = millis
            .checked_sub(1)
            .map(u64::from)
            .map(Duration::from_millis);
        own.or(self.hub.closing())
    }

    /// Whether `generation` drives the stream, and how much of it is recorded; keeps the waker.
    pub(super) fn look(&self, generation: u32, cx: &Context<'_>) -> Option<u64> {
        let held = self.lock();
        if held.generation != generation {
            return None;
        }
        self.polled.store(self.hub.now(), Relaxed);
        let recorded = held.producer.as_ref()?.recorded();
        held.keep(cx.waker());
        Some(recorded)
    }

    /// Whether the last response was recorded when the producer last had nothing to say.
    pub(super) fn is_answered(&self) -> bool {
        self.is_answered.load(Relaxed)
    }

    /// Whether the log was there when the producer was last polled.
    pub(super) fn has_log(&self) -> bool {
        self.has_log.load(Relaxed)
    }

    /// Whether the log is still to come.
    pub(super) fn is_opening(&self) -> bool {
        let held = self.lock();
        let producer = held.producer.as_ref();
        producer.is_some_and(|producer| !producer.has_log() && producer.outlives_client())
    }

    /// Notes that the client was sent an event of the log.
    pub(super) fn note_spoken(&self) {
        let now = self.hub.now();
        self.spoke.store(now, Relaxed);
        self.heard.store(now, Relaxed);
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

    /// Makes a client that has come back with `cursor` the driver, and fences the one before it.
    ///
    /// `connect` asks the server for the rest, if that has to be done.
    pub(super) fn attach(&self, cursor: u64, connect: Option<Connect>) -> Attach {
        let mut held = self.lock();
        let state = &mut *held;
        if state.is_polling {
            held.end();
            return Attach::Over;
        }
        let Some(producer) = &mut state.producer else {
            return Attach::Over;
        };
        // While something is still on its way into the log, it has to be driven there. And of what is
        // not recorded, nobody can say what this client has missed.
        let is_settled = producer.is_answered() && !producer.outlives_client();
        if is_settled || !producer.is_recording() {
            return Attach::Over;
        }
        if let Some(theirs) = producer.suspended_at() {
            let Some(connect) = connect else {
                return Attach::Suspended(theirs.to_vec());
            };
            producer.as_mut().reopen(connect);
        }
        let now = self.hub.now();
        state.generation += 1;
        let has_stayed = now.wrapping_sub(state.came) > self.hub.limits().patience;
        state.repeats = if state.cursor == cursor && !has_stayed {
            state.repeats.saturating_add(1)
        } else {
            0
        };
        state.cursor = cursor;
        state.came = now;
        state.farewell = FAREWELL;
        let retry = state.repeats.checked_sub(FREE_REPEATS).map(|more| {
            let retry = FIRST_RETRY.saturating_mul(1 << more.min(10));
            super::hub::jittered(retry.min(LAST_RETRY), &self.key)
        });
        let attached = Attached {
            generation: state.generation,
            retry,
        };
        self.dismissed.store(0, Relaxed);
        self.polled.store(now, Relaxed);
        self.spoke.store(now, Relaxed);
        self.heard.store(now, Relaxed);
        self.set_mode(StreamState::Attached);
        drop(held);
        self.wake();
        Attach::Attached(attached)
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
