use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Frame;

use super::{
    BodyError, BodyErrorKind,
    pages::{Backlog, Read},
    produce::{Sink, Step},
    stream::{Stream, Turn},
    synthetic::{self, CursorForm, GapReason},
};
use crate::{
    deadline::Deadline,
    sse::EventId,
    store::{StoreError, StoreErrorKind},
};

/// A client that is attached to a stream: what it has not seen of the log, then what comes.
pub(super) struct Subscriber {
    attachment: Attachment,
    /// The number of the last event that it was sent, or had.
    delivered: u64,
    /// What of the log it is still to be sent.
    /// Never locked: the mutex makes it `Sync`, for `BoxBody` and the like.
    backlog: Option<Mutex<Box<dyn Backlog>>>,
    /// Whether the log was read once more although its end was reached.
    rereads: bool,
    /// Sent before anything else: to those who come back.
    first: Option<Box<Bytes>>,
    greeting: Option<Greeting>,
    phase: Phase,
    /// Runs once the last response was sent.
    linger: Option<Pin<Box<Deadline>>>,
}

/// What is sent when there is nothing to be sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// A comment, which makes a proxy in front pass the head on (C09).
    Comment,
    /// A place to come back to.
    Cursor { id: EventId, form: CursorForm },
}

#[derive(Debug)]
enum Phase {
    Open,
    /// The error is next. Whether the server has been given a turn to write what came before it: an
    /// error makes it drop that.
    Failing(Box<BodyError>, bool),
    Over,
}

/// How long the end of a body is waited for when its last response is there.
pub(super) const LINGER: Duration = Duration::from_secs(1);

/// The hold of a client on a stream; lets go of it when dropped.
struct Attachment {
    stream: Arc<Stream>,
    generation: u32,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.stream.detach(self.generation);
    }
}

impl Subscriber {
    pub(super) fn new(stream: Arc<Stream>, generation: u32, greeting: Greeting) -> Self {
        Self {
            attachment: Attachment { stream, generation },
            delivered: 0,
            backlog: None,
            rereads: false,
            first: None,
            greeting: Some(greeting),
            phase: Phase::Open,
            linger: None,
        }
    }

    /// Sends what the client has missed after number `delivered`, before what comes.
    pub(super) fn with_backlog(mut self, delivered: u64, backlog: Box<dyn Backlog>) -> Self {
        self.delivered = delivered;
        self.backlog = Some(Mutex::new(backlog));
        self
    }

    /// The client has everything up to that number.
    pub(super) fn with_delivered(mut self, delivered: u64) -> Self {
        self.delivered = delivered;
        self
    }

    /// Sends `first` before anything else.
    pub(super) fn with_first(mut self, first: Bytes) -> Self {
        self.first = Some(first).filter(|first| !first.is_empty()).map(Box::new);
        self
    }

    /// Ends the stream.
    pub(super) fn terminate(&self) {
        self.attachment.stream.terminate();
    }

    pub(super) fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Over) && self.first.is_none()
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
            let Attachment { stream, generation } = &self.attachment;
            // Whoever is fenced sends nothing more (D01).
            if stream.look(*generation, cx).is_some() {
                return data(*first);
            }
        }
        if let Phase::Open = self.phase
            && self.backlog.is_some()
            && let Some(frame) = ready!(self.poll_backlog(cx))
        {
            return Poll::Ready(Some(Ok(frame)));
        }
        loop {
            match &mut self.phase {
                Phase::Open => {}
                Phase::Over => return Poll::Ready(None),
                Phase::Failing(_, has_yielded @ false) => {
                    *has_yielded = true;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Phase::Failing(..) => {
                    let failed = mem::replace(&mut self.phase, Phase::Over);
                    let Phase::Failing(error, _) = failed else {
                        return Poll::Ready(None);
                    };
                    return Poll::Ready(Some(Err(*error)));
                }
            }
            let Attachment { stream, generation } = &self.attachment;
            let sink = Sink::Client {
                delivered: self.delivered,
            };
            let Poll::Ready(turn) = stream.poll(*generation, sink, cx) else {
                return self.poll_quiet(cx);
            };
            match turn {
                // Not a clean end: what was sent may look like the whole.
                Turn::Fenced => self.break_off(),
                Turn::Dismissed(retry) => return data(self.send_away(retry)),
                Turn::Step { step, recorded } => match step {
                    Step::Data(bytes) => {
                        if recorded > self.delivered || self.greeting == Some(Greeting::Comment) {
                            self.greeting = None;
                        }
                        return data(bytes);
                    }
                    Step::Read(_) => {}
                    Step::Trailers(trailers) => {
                        self.phase = Phase::Over;
                        return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
                    }
                    Step::Suspended | Step::Ended => {
                        self.phase = Phase::Over;
                        // A client that was promised a cursor gets one, if only now.
                        if let Some(cursor @ Greeting::Cursor { .. }) = self.greeting.take()
                            && stream.has_log()
                        {
                            return data(Self::greet(cursor));
                        }
                    }
                    Step::Failed(error) => self.fail(error),
                },
            }
        }
    }

    /// Nothing is to be had just now.
    fn poll_quiet(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let stream = &self.attachment.stream;
        let may_greet =
            |greeting: &mut Greeting| *greeting == Greeting::Comment || stream.has_log();
        if let Some(greeting) = self.greeting.take_if(may_greet) {
            return data(Self::greet(greeting));
        }
        if stream.take_keep_alive() {
            return data(synthetic::keep_alive());
        }
        if self.linger.is_some() || stream.is_answered() {
            let linger = self.linger.get_or_insert_with(|| Box::pin(Deadline::new()));
            ready!(linger.as_mut().poll(LINGER, cx));
            self.phase = Phase::Over;
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    fn greet(greeting: Greeting) -> Bytes {
        match greeting {
            Greeting::Comment => synthetic::keep_alive(),
            Greeting::Cursor { id, form } => synthetic::cursor(&id, form, None),
        }
    }

    /// The next part of what the client has missed; `None` once there is no more, or the stream is
    /// over.
    fn poll_backlog(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Attachment { stream, generation } = &self.attachment;
        loop {
            let Some(backlog) = &mut self.backlog else {
                return Poll::Ready(None);
            };
            let backlog = backlog.get_mut().unwrap_or_else(PoisonError::into_inner);
            // Asked each time: whoever is fenced sends nothing more (D01).
            let Some(recorded) = stream.look(*generation, cx) else {
                self.break_off();
                return Poll::Ready(None);
            };
            if let Some(retry) = stream.dismissed() {
                return Poll::Ready(Some(Frame::data(self.send_away(retry))));
            }
            let read = match backlog.poll_read(cx) {
                Poll::Ready(read) => read,
                Poll::Pending if stream.take_keep_alive() => {
                    return Poll::Ready(Some(Frame::data(synthetic::keep_alive())));
                }
                Poll::Pending => return Poll::Pending,
            };
            match read {
                Ok(Read::Events(events, last)) => {
                    self.delivered = last;
                    self.rereads = false;
                    stream.note_spoken();
                    self.greeting = None;
                    return Poll::Ready(Some(Frame::data(events)));
                }
                // The producer rests while its one driver reads, so the log cannot grow: what comes
                // next is what follows.
                Ok(Read::CaughtUp(_)) if recorded <= self.delivered => self.backlog = None,
                // More was recorded between the last read and the take-over.
                Ok(Read::CaughtUp(_)) if !mem::replace(&mut self.rereads, true) => {}
                Ok(Read::CaughtUp(_)) => {
                    self.store_failed(StoreErrorKind::Corrupt.into());
                    return Poll::Ready(None);
                }
                Ok(Read::Gap { floor }) => {
                    let from = self.delivered + 1;
                    stream.hub().count_gap();
                    if stream.about.awaits_response() {
                        self.phase = Phase::Over;
                        let errors = synthetic::forgotten(backlog.expected().ids());
                        self.backlog = None;
                        return Poll::Ready(Some(Frame::data(errors)));
                    }
                    backlog.skip_to(floor - 1);
                    self.delivered = floor - 1;
                    let gap = synthetic::gap(from, Some(floor), GapReason::Evicted);
                    return Poll::Ready(Some(Frame::data(gap)));
                }
                Err(error) => {
                    self.store_failed(error);
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Subscriber {
    /// Asks the client to come back after that time, to where it is.
    fn send_away(&mut self, retry: Duration) -> Bytes {
        self.phase = Phase::Over;
        self.backlog = None;
        let stream = &self.attachment.stream;
        let retry = super::hub::jittered(retry, &stream.key);
        match self.greeting.take() {
            // It has no place to come back to yet.
            Some(Greeting::Cursor { id, form }) if stream.has_log() => {
                synthetic::cursor(&id, form, Some(retry))
            }
            _ => synthetic::retry(retry),
        }
    }

    fn break_off(&mut self) {
        self.fail(BodyErrorKind::Superseded.into());
    }

    fn store_failed(&mut self, error: StoreError) {
        self.fail(BodyError::new(BodyErrorKind::Store, error));
    }

    fn fail(&mut self, error: BodyError) {
        self.backlog = None;
        self.phase = Phase::Failing(Box::new(error), false);
    }
}

fn data(bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    Poll::Ready(Some(Ok(Frame::data(bytes))))
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("stream", &self.attachment.stream)
            .field("delivered", &self.delivered)
            .field("has_backlog", &self.backlog.is_some())
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
