use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;

use super::producer::Sink;
use crate::{
    sse::{EventId, RawEvent, StreamKey},
    store::{End, EventStore, EventWriter, StoreError},
};

/// Numbers the events of one stream, and records each before it may leave.
pub(super) struct Recorder<T: EventStore> {
    log: Log<T>,
    stream: StreamKey,
    /// The id of the last event.
    id: [u8; EventId::LEN],
    /// Its number.
    sequence: u64,
    appending: Option<Appending<T>>,
    /// Why no event follows the one that is being recorded.
    end: Option<End>,
}

struct Appending<T: EventStore> {
    append: <T::Writer as EventWriter>::Append,
    /// Where the event starts in the bytes that are to leave.
    at: usize,
}

enum Log<T: EventStore> {
    Opening(T::Open),
    Open(T::Writer),
    /// The writer is kept, because without it the stream would be lost.
    Closing(<T::Writer as EventWriter>::Close, T::Writer),
    Closed,
    /// The store failed, and nothing is recorded any more.
    Broken,
}

impl<T: EventStore> Recorder<T> {
    pub(super) fn new(stream: StreamKey, open: T::Open) -> Self {
        Self {
            log: Log::Opening(open),
            stream,
            id: EventId::new(stream, 0).encode(),
            sequence: 0,
            appending: None,
            end: None,
        }
    }

    /// The number of the last event that is in the log.
    pub(super) const fn recorded(&self) -> u64 {
        match self.appending {
            Some(_) => self.sequence - 1,
            None => self.sequence,
        }
    }

    /// Whether events are recorded, or were to their end.
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.log, Log::Broken)
    }

    /// Whether the stream is in the store, so that somebody can come back to it.
    pub(super) const fn has_begun(&self) -> bool {
        !matches!(self.log, Log::Opening(_) | Log::Broken)
    }

    /// Whether nothing is being written: dropped now, the log says all that there was to say.
    pub(super) const fn is_settled(&self) -> bool {
        self.appending.is_none() && !matches!(self.log, Log::Closing(..))
    }

    /// Numbers `event`, adds it to `out`, and begins to record it.
    ///
    /// Only to be called once [`poll_recorded`](Self::poll_recorded) is ready.
    #[inline]
    pub(super) fn start(&mut self, event: &RawEvent, out: &mut Vec<u8>) {
        let Log::Open(writer) = &mut self.log else {
            // The server's ids are no places to come back to.
            event.push_without_id(out);
            return;
        };
        self.sequence += 1;
        EventId::new(self.stream, self.sequence).encode_over(&mut self.id);
        let at = out.len();
        event.push_with_id(&self.id, out);
        let append = writer.append(self.sequence, &out[at..]);
        self.appending = Some(Appending { append, at });
    }

    /// Waits until the log is open and what was started is recorded. An event that the sink has, or
    /// does not want, is then taken out of `out`.
    ///
    /// # Errors
    ///
    /// If the store failed; from then on nothing is recorded. The event stays, with an id that is in
    /// no log: whoever comes back with it is told so (RPL-6).
    #[inline]
    pub(super) fn poll_recorded(
        &mut self,
        sink: Sink,
        out: &mut Vec<u8>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StoreError>> {
        if let Some(appending) = &mut self.appending {
            let appended = ready!(Pin::new(&mut appending.append).poll(cx));
            let at = appending.at;
            self.appending = None;
            if sink.has(self.sequence) {
                out.truncate(at);
            }
            if let Err(error) = appended {
                self.sequence -= 1;
                self.log = Log::Broken;
                return Poll::Ready(Err(error));
            }
            if let Some(end) = self.end {
                self.close(end);
            }
        }
        if let Log::Opening(open) = &mut self.log {
            match ready!(Pin::new(open).poll(cx)) {
                Ok(writer) => self.log = Log::Open(writer),
                Err(error) => {
                    self.log = Log::Broken;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what may leave while an event behind it is being recorded.
    pub(super) fn take_ready(&mut self, out: &mut Vec<u8>) -> Bytes {
        let Some(appending) = &mut self.appending else {
            return mem::take(out).into();
        };
        let rest = out.split_off(appending.at);
        appending.at = 0;
        mem::replace(out, rest).into()
    }

    /// Closes the log, as soon as what was started is recorded.
    pub(super) fn close(&mut self, end: End) {
        self.end = Some(end);
        if self.appending.is_some() {
            return;
        }
        self.log = match mem::replace(&mut self.log, Log::Closed) {
            Log::Open(mut writer) => Log::Closing(writer.close(end), writer),
            log => log,
        };
        // What is ready at once is done at once; whoever waits asks again.
        let _ = self.poll_closed(&mut Context::from_waker(Waker::noop()));
    }

    /// Waits until the log is closed, if it can be.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Log::Closing(close, _) = &mut self.log {
            if let Err(error) = ready!(Pin::new(close).poll(cx)) {
                tracing::debug!(%error, "the end of a stream is not recorded");
            }
            self.log = Log::Closed;
        }
        Poll::Ready(())
    }
}
