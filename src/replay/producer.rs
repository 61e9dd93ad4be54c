use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{
    BodyError, BodyErrorKind, StoreFailure,
    expect::{About, Expect},
    record::Recorder,
    source::{Connect, Source},
    synthetic,
};
use crate::{
    BoxError,
    sse::{Decoder, Frame, RawEvent},
    store::{End, EventStore, StoreError},
};

/// The one that reads a stream's body and records its events, whoever drives it.
pub(super) trait Produce: Send {
    /// Goes on until there is something for the client, or nothing more is to be had just now.
    fn poll_produce(self: Pin<&mut Self>, sink: Sink, cx: &mut Context<'_>) -> Poll<Step>;

    /// The number of the last event that is in the log.
    fn recorded(&self) -> u64;

    /// Whether the log is there: no client is given a cursor before (RPL-6).
    fn has_log(&self) -> bool;

    /// Whether it has to go on when nobody listens: it records, and something is still to come.
    fn outlives_client(&self) -> bool;

    /// Whether the last response is there, so that the rest of the body is not worth waiting for.
    fn is_answered(&self) -> bool;

    /// Whether events are recorded, or were to the end.
    fn is_recording(&self) -> bool;

    /// Lets go of the server, and says so in its place, in the log too.
    fn give_up(self: Pin<&mut Self>);

    /// The upstream's id to resume with, once its response has ended before the stream has.
    fn suspended_at(&self) -> Option<&[u8]>;

    /// Goes on with another response of the upstream.
    fn reopen(self: Pin<&mut Self>, connect: Connect);
}

/// For whom a producer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// A client that has all events up to that number.
    Client { delivered: u64 },
    /// The log alone.
    Nobody,
}

impl Sink {
    /// Whether the event of that number is not to be sent.
    #[inline]
    pub(super) const fn has(self, sequence: u64) -> bool {
        match self {
            Self::Client { delivered } => sequence <= delivered,
            Self::Nobody => true,
        }
    }
}

/// What a producer came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Whole events and comments.
    Data(Bytes),
    /// So many bytes were read, and nobody wants them.
    Read(usize),
    Trailers(HeaderMap),
    /// The upstream closed early, and can be asked for the rest.
    Suspended,
    /// Everything is said, and the log is closed.
    Ended,
    /// The stream broke, and nobody waits for a response. The log is closed.
    Failed(BodyError),
}

/// How far a stream has come.
#[derive(Debug)]
enum Phase {
    Open,
    /// The last response is there. What else comes is dropped (S24).
    Answered,
    /// The body is over, and `chunk` holds what we say in its place.
    Failing,
    Suspended,
    Over(Option<BodyError>),
}

/// What comes after the last response is read for so long, because a connection whose response was
/// read to its end can be used again.
const MAX_LATE_BYTES: usize = 64 * 1024;

/// How many frames are read in one turn if none of them completes an event (C62).
const MAX_TURNS: usize = 64;

/// For how many events in one chunk memory is reserved at once.
const MAX_GUESS: usize = 256;

/// The longest id of a server that is kept, to resume with: it has to fit a header.
const MAX_THEIR_ID: usize = 4 * 1024;

pin_project! {
    /// Decodes one stream, numbers its events, records them, and hands them on.
    pub(super) struct Producer<B, T>
    where
        T: EventStore,
    {
        #[pin]
        source: Source<B>,
        decoder: Decoder,
        // What is not decoded yet of the last frame.
        chunk: Bytes,
        // What may leave, and behind it the event that is being recorded.
        out: Vec<u8>,
        record: Recorder<T>,
        about: About,
        expect: Expect,
        // The id of the upstream's last event, if it issues ids.
        theirs: Vec<u8>,
        // Whether the next event may be the one that `theirs` names, once more.
        may_repeat: bool,
        is_first: bool,
        // Everything passes as it is: the channel of 2024-11-05 (TRN-7).
        is_verbatim: bool,
        phase: Phase,
        trailers: Option<Box<HeaderMap>>,
        late: usize,
        // What of the last frame was read for nobody, and is not told yet.
        read: usize,
        on_store_failure: StoreFailure,
    }
}

/// What holds for all streams of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) max_event_bytes: usize,
    pub(super) on_store_failure: StoreFailure,
}

impl<B, T: EventStore> Producer<B, T> {
    pub(super) fn new(
        body: B,
        record: Recorder<T>,
        about: About,
        expect: Expect,
        options: Options,
    ) -> Self {
        Self {
            source: Source::First { body },
            decoder: Decoder::with_max_event_bytes(options.max_event_bytes),
            chunk: Bytes::new(),
            out: Vec::new(),
            record,
            about,
            expect,
            theirs: Vec::new(),
            may_repeat: false,
            is_first: true,
            is_verbatim: false,
            phase: Phase::Open,
            trailers: None,
            late: 0,
            read: 0,
            on_store_failure: options.on_store_failure,
        }
    }

    /// Takes an event, and records it.
    #[inline]
    fn take_event(self: Pin<&mut Self>, event: &RawEvent) {
        let this = self.project();
        if *this.is_first {
            *this.is_first = false;
            *this.is_verbatim = this.about.is_get && event.event() == Some(b"endpoint");
        }
        if *this.is_verbatim {
            this.out.extend_from_slice(event.raw());
            return;
        }
        if let Some(id) = event.id() {
            if mem::take(this.may_repeat) && id == this.theirs.as_slice() {
                // Some servers begin with the very event that they were asked to resume after.
                return;
            }
            this.theirs.clear();
            if id.len() <= MAX_THEIR_ID {
                this.theirs.extend_from_slice(id);
            }
        }
        *this.may_repeat = false;
        let is_last = this.expect.is_open()
            && event.is_message()
            && event.data().is_some_and(|data| this.expect.note(&data));
        if this.out.is_empty() {
            // Exactly enough for one event, so that it is handed on without another copy. Several in
            // a chunk take turns in what is guessed from the first.
            let len = event.len_with_id();
            let more = this.chunk.len();
            let others = (more / event.raw().len()).min(MAX_GUESS);
            this.out
                .reserve_exact(len + more + others * (len - event.raw().len()));
        }
        this.record.start(event, this.out);
        if is_last {
            *this.phase = Phase::Answered;
            this.record.close(End::Complete);
        }
    }

    /// The body has ended: decides what becomes of the stream.
    fn body_over(self: Pin<&mut Self>, error: Option<BodyError>) {
        let mut this = self.project();
        this.source.set(Source::Gone);
        // An event that is not finished never was (SWF-9).
        this.decoder.reset();
        *this.chunk = Bytes::new();
        let kind = error.as_ref().map(BodyError::kind);
        let is_resumable = !this.theirs.is_empty()
            && this.record.is_open()
            && !*this.is_verbatim
            && matches!(kind, None | Some(BodyErrorKind::Inner))
            && (this.expect.is_open() || this.about.is_get);
        *this.phase = match this.phase {
            Phase::Answered => Phase::Over(None),
            // SSE-4: whoever issued ids can be asked for the rest.
            Phase::Open if is_resumable => Phase::Suspended,
            // Whoever did not has lost it, and somebody waits for it.
            Phase::Open if this.expect.is_open() => {
                *this.chunk = synthetic::broken_off(this.expect.ids());
                // Ours may be larger than what a server may send.
                *this.decoder = Decoder::new();
                *this.expect = Expect::default();
                Phase::Failing
            }
            _ => {
                this.record.close(match kind {
                    None => End::Complete,
                    // The server may have had more to say, and nobody listens any more.
                    Some(BodyErrorKind::GivenUp) => End::Lost,
                    Some(_) => End::Failed,
                });
                Phase::Over(error)
            }
        };
    }

    fn store_failed(self: Pin<&mut Self>, error: StoreError) {
        tracing::warn!(%error, "a stream is not recorded any further");
        if self.on_store_failure == StoreFailure::End {
            self.body_over(Some(BodyError::new(BodyErrorKind::Store, error)));
        }
    }
}

impl<B, T> Produce for Producer<B, T>
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<BoxError>,
    T: EventStore,
{
    fn poll_produce(mut self: Pin<&mut Self>, sink: Sink, cx: &mut Context<'_>) -> Poll<Step> {
        let mut turns = 0;
        loop {
            let this = self.as_mut().project();
            match this.record.poll_recorded(sink, this.out, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.as_mut().store_failed(error),
                Poll::Pending => {
                    // What is recorded does not wait for what is not.
                    let ready = this.record.take_ready(this.out);
                    if ready.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Step::Data(ready));
                }
            }
            let this = self.as_mut().project();
            let frame = if this.chunk.is_empty() {
                Ok(None)
            } else {
                this.decoder.decode(this.chunk)
            };
            match frame {
                Ok(Some(Frame::Event(event))) => {
                    if matches!(this.phase, Phase::Open | Phase::Failing) {
                        self.as_mut().take_event(&event);
                    }
                    continue;
                }
                Ok(Some(Frame::Comment(raw))) => {
                    // Comments are for those who listen (SSE-14).
                    if sink != Sink::Nobody && matches!(this.phase, Phase::Open) {
                        this.out.extend_from_slice(&raw);
                    }
                    continue;
                }
                Ok(None) => {
                    if matches!(this.phase, Phase::Failing) {
                        // Before it is said: whoever hears it may be gone at once.
                        this.record.close(End::Failed);
                        *this.phase = Phase::Over(None);
                    }
                }
                Err(error) => {
                    let error = BodyError::new(BodyErrorKind::EventTooLarge, error);
                    self.as_mut().body_over(Some(error));
                    continue;
                }
            }
            if !this.out.is_empty() {
                return Poll::Ready(Step::Data(mem::take(this.out).into()));
            }
            if sink == Sink::Nobody && *this.read > 0 {
                // A turn for others.
                return Poll::Ready(Step::Read(mem::take(this.read)));
            }
            turns += 1;
            if turns > MAX_TURNS {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match this.phase {
                Phase::Open | Phase::Failing => {}
                Phase::Answered => {
                    // Nobody waits for this, but it is time to say it.
                    let _ = this.record.poll_closed(cx);
                }
                Phase::Suspended => return Poll::Ready(Step::Suspended),
                Phase::Over(error) => {
                    ready!(this.record.poll_closed(cx));
                    if let Some(trailers) = this.trailers.take() {
                        return Poll::Ready(Step::Trailers(*trailers));
                    }
                    let error = error.take();
                    return Poll::Ready(error.map_or(Step::Ended, Step::Failed));
                }
            }
            let frame = ready!(this.source.poll_frame(cx));
            let this = self.as_mut().project();
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if matches!(this.phase, Phase::Answered) => {
                        *this.late = this.late.saturating_add(data.len());
                        if *this.late > MAX_LATE_BYTES {
                            self.as_mut().body_over(None);
                        }
                    }
                    Ok(data) => {
                        *this.read = if sink == Sink::Nobody { data.len() } else { 0 };
                        *this.chunk = data;
                    }
                    Err(frame) => *this.trailers = frame.into_trailers().ok().map(Box::new),
                },
                Some(Err(error)) => {
                    if error.kind() == BodyErrorKind::NotResumed {
                        this.theirs.clear();
                    }
                    self.as_mut().body_over(Some(error));
                }
                None => self.as_mut().body_over(None),
            }
        }
    }

    fn recorded(&self) -> u64 {
        self.record.recorded()
    }

    fn has_log(&self) -> bool {
        self.record.has_begun()
    }

    fn outlives_client(&self) -> bool {
        let is_going_on = matches!(self.phase, Phase::Open | Phase::Failing | Phase::Suspended);
        // The last response, or the end, may still be on its way into the log.
        !self.record.is_settled() || is_going_on && self.record.is_open() && !self.is_verbatim
    }

    fn is_answered(&self) -> bool {
        matches!(self.phase, Phase::Answered | Phase::Over(_))
    }

    fn is_recording(&self) -> bool {
        self.record.is_open()
    }

    fn give_up(mut self: Pin<&mut Self>) {
        let this = self.as_mut().project();
        if matches!(this.phase, Phase::Open | Phase::Suspended) {
            *this.phase = Phase::Open;
            this.theirs.clear();
            self.body_over(Some(BodyErrorKind::GivenUp.into()));
        }
    }

    fn suspended_at(&self) -> Option<&[u8]> {
        matches!(self.phase, Phase::Suspended).then_some(&self.theirs)
    }

    fn reopen(self: Pin<&mut Self>, connect: Connect) {
        let mut this = self.project();
        this.source.set(Source::Connecting { connect });
        *this.may_repeat = true;
        *this.phase = Phase::Open;
    }
}
