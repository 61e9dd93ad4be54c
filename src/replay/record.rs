use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use super::produce::Sink;
use crate::{
    sse::{EventId, RawEvent, StreamKey},
    store::{End, EventStore, EventWriter, StoreError},
};

/// Numbers the events of one stream, and records each before it may leave.
pub(super) struct Recorder<T: EventStore> {
    stream: StreamKey,
    /// The number of the last event.
    sequence: u64,
    /// Kept until the log is closed, because without it the stream would be lost.
    writer: Option<T::Writer>,
    log: Log,
    /// Why no event follows the one that is being recorded.
    end: Option<End>,
    waiting: Option<Box<Waiting<T>>>,
}

/// How far the log has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Log {
    Opening,
    Open,
    /// The event of the last number is being recorded.
    Appending,
    Closing,
    Closed,
    /// The store failed, and nothing is recorded any more.
    Broken,
}

/// What waits for the store. Boxed, once per stream, because many stores never let anybody wait.
struct Waiting<T: EventStore> {
    on: On<T>,
    /// Where the event starts that is being recorded, in the bytes that are to leave.
    at: usize,
    work: Work,
}

enum On<T: EventStore> {
    Nothing,
    Open(T::Open),
    /// It was never opened, and that is still to be told.
    Failed(StoreError),
    Append(<T::Writer as EventWriter>::Append),
    Close(<T::Writer as EventWriter>::Close),
}

/// What a producer has in hand. Between two polls there is some only if the store lets it wait.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// What is not decoded yet of the last frame.
    pub(super) chunk: Bytes,
    /// What may leave, and behind it the event that is being recorded.
    pub(super) out: Vec<u8>,
    /// How much of the last frame was read for nobody, and is not told yet.
    pub(super) read: usize,
}

impl Work {
    fn is_done(&self) -> bool {
        self.chunk.is_empty() && self.out.is_empty() && self.read == 0
    }
}

impl<T: EventStore> Recorder<T> {
    pub(super) fn new(stream: StreamKey, mut open: T::Open) -> Self {
        let mut recorder = Self {
            stream,
            sequence: 0,
            writer: None,
            log: Log::Opening,
            end: None,
            waiting: None,
        };
        match at_once(&mut open) {
            Poll::Ready(Ok(writer)) => recorder.opened(writer),
            Poll::Ready(Err(error)) => recorder.waiting().on = On::Failed(error),
            Poll::Pending => recorder.waiting().on = On::Open(open),
        }
        recorder
    }

    fn opened(&mut self, writer: T::Writer) {
        self.writer = Some(writer);
        self.log = Log::Open;
    }

    fn waiting(&mut self) -> &mut Waiting<T> {
        self.waiting.get_or_insert_with(|| {
            Box::new(Waiting {
                on: On::Nothing,
                at: 0,
                work: Work::default(),
            })
        })
    }

    /// What was in hand when the store let its owner wait.
    #[inline]
    pub(super) fn take_work(&mut self) -> Work {
        match &mut self.waiting {
            Some(waiting) => mem::take(&mut waiting.work),
            None => Work::default(),
        }
    }

    /// Keeps what is in hand, if anything is.
    #[inline]
    pub(super) fn keep_work(&mut self, work: Work) {
        if !work.is_done() {
            self.waiting().work = work;
        }
    }

    /// Tells the store that an event may be about to come.
    #[inline]
    pub(super) fn prepare(&self) {
        if let Some(writer) = &self.writer {
            writer.prepare();
        }
    }

    /// The number of the last event that is in the log.
    pub(super) const fn recorded(&self) -> u64 {
        match self.log {
            Log::Appending => self.sequence - 1,
            _ => self.sequence,
        }
    }

    /// Whether events are recorded, or were to their end.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.log, Log::Broken)
    }

    /// Whether the stream is in the store, so that somebody can come back to it.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.log, Log::Opening | Log::Broken)
    }

    /// Whether nothing is being written: dropped now, the log says all that there was to say.
    pub(super) const fn is_settled(&self) -> bool {
        !matches!(self.log, Log::Appending | Log::Closing)
    }

    /// Numbers `event`, adds it to `out`, and records it. An event that the sink has, or does not want,
    /// is then taken out again.
    ///
    /// Only to be called once [`poll_recorded`](Self::poll_recorded) is ready, and so is this if it is
    /// not waited for.
    ///
    /// # Errors
    ///
    /// If the store failed; from then on nothing is recorded. The event stays, with an id that is in
    /// no log: whoever comes back with it is told so (RPL-6).
    #[inline]
    pub(super) fn record(
        &mut self,
        event: &RawEvent,
        sink: Sink,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.log == Log::Open) else {
            // The server's ids are no places to come back to.
            event.push_without_id(out);
            return Ok(());
        };
        self.sequence += 1;
        let at = out.len();
        event.push_with_id(&EventId::new(self.stream, self.sequence).encode(), out);
        let mut append = writer.append(self.sequence, &out[at..]);
        match at_once(&mut append) {
            Poll::Ready(appended) => self.appended(appended, at, sink, out),
            Poll::Pending => {
                self.log = Log::Appending;
                let waiting = self.waiting();
                waiting.on = On::Append(append);
                waiting.at = at;
                Ok(())
            }
        }
    }

    #[inline]
    fn appended(
        &mut self,
        appended: Result<(), StoreError>,
        at: usize,
        sink: Sink,
        out: &mut Vec<u8>,
    ) -> Result<(), StoreError> {
        if sink.has(self.sequence) {
            out.truncate(at);
        }
        if appended.is_err() {
            self.sequence -= 1;
            self.log = Log::Broken;
            self.writer = None;
        }
        appended
    }

    /// Waits until the log is open and the last event is recorded.
    ///
    /// # Errors
    ///
    /// As for [`record`](Self::record).
    #[inline]
    pub(super) fn poll_recorded(
        &mut self,
        sink: Sink,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StoreError>> {
        if matches!(self.log, Log::Opening | Log::Appending) {
            return self.poll_waiting(sink, out, cx);
        }
        Poll::Ready(Ok(()))
    }

    #[cold]
    fn poll_waiting(
        &mut self,
        sink: Sink,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StoreError>> {
        let waiting = self.waiting();
        let at = waiting.at;
        let done = match &mut waiting.on {
            On::Open(open) => match ready!(Pin::new(open).poll(cx)) {
                Ok(writer) => {
                    self.opened(writer);
                    Ok(())
                }
                Err(error) => Err(error),
            },
            On::Append(append) => {
                let appended = ready!(Pin::new(append).poll(cx));
                self.log = Log::Open;
                self.appended(appended, at, sink, out)
            }
            On::Failed(_) => match mem::replace(&mut waiting.on, On::Nothing) {
                On::Failed(error) => Err(error),
                _ => Ok(()),
            },
            On::Close(_) | On::Nothing => Ok(()),
        };
        self.waiting().on = On::Nothing;
        if done.is_err() {
            self.log = Log::Broken;
        } else if let Some(end) = self.end {
            self.close(end);
        }
        Poll::Ready(done)
    }

    /// Takes what may leave while an event behind it is being recorded.
    pub(super) fn take_ready(&mut self, out: &mut Vec<u8>) -> Bytes {
        if self.log != Log::Appending {
            return mem::take(out).into();
        }
        let waiting = self.waiting();
        let rest = out.split_off(mem::take(&mut waiting.at));
        mem::replace(out, rest).into()
    }

    /// Closes the log, as soon as what was started is recorded.
    pub(super) fn close(&mut self, end: End) {
        self.end = Some(end);
        if self.log != Log::Open {
            return;
        }
        let Some(writer) = &mut self.writer else {
            return;
        };
        let mut close = writer.close(end);
        match at_once(&mut close) {
            Poll::Ready(closed) => self.closed(closed),
            Poll::Pending => {
                self.log = Log::Closing;
                self.waiting().on = On::Close(close);
            }
        }
    }

    /// Waits until the log is closed, if it can be.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.log == Log::Closing
            && let On::Close(close) = &mut self.waiting().on
        {
            let closed = ready!(Pin::new(close).poll(cx));
            self.waiting().on = On::Nothing;
            self.closed(closed);
        }
        Poll::Ready(())
    }

    fn closed(&mut self, closed: Result<(), StoreError>) {
        if let Err(error) = closed {
            tracing::debug!(%error, "the end of a stream is not recorded");
        }
        self.log = Log::Closed;
        self.writer = None;
    }
}

/// The result of a future that need not be waited for. Polled once more, another learns of a waker
/// that wakes.
#[inline]
fn at_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}
