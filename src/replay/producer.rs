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
    produce::{Produce, Sink, Step},
    record::{Recorder, Work},
    source::{Connect, Source},
    synthetic,
};
use crate::{
    BoxError,
    sse::{Decoder, Frame, RawEvent},
    store::{End, EventStore, StoreError},
};

/// How far a stream has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last response is there. What else comes is dropped (S24).
    Answered,
    /// The body is over, and what is in hand is what we say in its place.
    Failing,
    Suspended,
    Over,
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
        record: Recorder<T>,
        about: About,
        expect: Expect,
        rare: Option<Box<Rare>>,
        // Whether the next event may be the one that `theirs` names, once more.
        may_repeat: bool,
        is_first: bool,
        // Everything passes as it is: the channel of 2024-11-05 (TRN-7).
        is_verbatim: bool,
        phase: Phase,
        on_store_failure: StoreFailure,
    }
}

/// What few streams have, and not for long: every open one would have to keep the place.
#[derive(Debug, Default)]
struct Rare {
    /// The id of the upstream's last event, if it issues ids.
    theirs: Vec<u8>,
    trailers: Option<Box<HeaderMap>>,
    /// Why the body is over, if it broke.
    error: Option<BodyError>,
    /// How much has come after the last response.
    late: usize,
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
            record,
            about,
            expect,
            rare: None,
            may_repeat: false,
            is_first: true,
            is_verbatim: false,
            phase: Phase::Open,
            on_store_failure: options.on_store_failure,
        }
    }

    /// The id of the upstream's last event; empty if it issues none.
    fn theirs(&self) -> &[u8] {
        self.rare.as_deref().map_or(&[], |rare| &rare.theirs)
    }

    fn forget_theirs(self: Pin<&mut Self>) {
        if let Some(rare) = self.project().rare {
            rare.theirs.clear();
        }
    }

    /// Takes an event, and records it.
    ///
    /// # Errors
    ///
    /// If the store failed.
    #[inline]
    fn take_event(
        self: Pin<&mut Self>,
        event: &RawEvent,
        sink: Sink,
        work: &mut Work,
    ) -> Result<(), StoreError> {
        let Work { chunk, out, .. } = work;
        let this = self.project();
        if mem::take(this.is_first) {
            *this.is_verbatim = this.about.is_get && event.event() == Some(b"endpoint");
        }
        if *this.is_verbatim {
            out.extend_from_slice(event.raw());
            return Ok(());
        }
        if let Some(id) = event.id() {
            let theirs = &mut this.rare.get_or_insert_default().theirs;
            if mem::take(this.may_repeat) && id == theirs.as_slice() {
                // Some servers begin with the very event that they were asked to resume after.
                return Ok(());
            }
            theirs.clear();
            if id.len() <= MAX_THEIR_ID {
                theirs.extend_from_slice(id);
            }
        }
        *this.may_repeat = false;
        let is_last = this.expect.is_open()
            && event.is_message()
            && event.data().is_some_and(|data| this.expect.note(&data));
        if out.is_empty() {
            // Exactly enough for one event, so that it is handed on without another copy. Several in
            // a chunk take turns in what is guessed from the first.
            let len = event.len_with_id();
            let others = (chunk.len() / event.raw().len()).min(MAX_GUESS);
            out.reserve_exact(len + chunk.len() + others * (len - event.raw().len()));
        }
        let recorded = this.record.record(event, sink, out);
        if is_last {
            *this.phase = Phase::Answered;
            this.record.close(End::Complete);
        }
        recorded
    }

    /// The body has ended: decides what becomes of the stream. What is left to decode is dropped, or
    /// replaced.
    fn body_over(self: Pin<&mut Self>, error: Option<BodyError>, chunk: &mut Bytes) {
        let is_resumable = !self.theirs().is_empty()
            && self.record.is_open()
            && !self.is_verbatim
            && matches!(
                error.as_ref().map(BodyError::kind),
                None | Some(BodyErrorKind::Inner)
            )
            && (self.expect.is_open() || self.about.is_get);
        let mut this = self.project();
        this.source.set(Source::Gone);
        // An event that is not finished never was (SWF-9).
        this.decoder.reset();
        *chunk = Bytes::new();
        *this.phase = match this.phase {
            Phase::Answered => Phase::Over,
            // SSE-4: whoever issued ids can be asked for the rest.
            Phase::Open if is_resumable => Phase::Suspended,
            // Whoever did not has lost it, and somebody waits for it.
            Phase::Open if this.expect.is_open() => {
                *chunk = synthetic::broken_off(this.expect.ids());
                // Ours may be larger than what a server may send.
                *this.decoder = Decoder::new();
                *this.expect = Expect::default();
                Phase::Failing
            }
            _ => {
                this.record
                    .close(match error.as_ref().map(BodyError::kind) {
                        None => End::Complete,
                        // The server may have had more to say, and nobody listens any more.
                        Some(BodyErrorKind::GivenUp) => End::Lost,
                        Some(_) => End::Failed,
                    });
                if error.is_some() {
                    this.rare.get_or_insert_default().error = error;
                }
                Phase::Over
            }
        };
    }

    fn store_failed(self: Pin<&mut Self>, error: StoreError, chunk: &mut Bytes) {
        tracing::warn!(%error, "a stream is not recorded any further");
        if self.on_store_failure == StoreFailure::End {
            self.body_over(Some(BodyError::new(BodyErrorKind::Store, error)), chunk);
        }
    }
}

impl<B, T> Producer<B, T>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
    T: EventStore,
{
    fn poll_step(
        mut self: Pin<&mut Self>,
        sink: Sink,
        work: &mut Work,
        cx: &mut Context<'_>,
    ) -> Poll<Step> {
        let mut turns = 0;
        loop {
            let this = self.as_mut().project();
            match this.record.poll_recorded(sink, &mut work.out, cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.as_mut().store_failed(error, &mut work.chunk);
                    continue;
                }
                Poll::Pending => {
                    // What is recorded does not wait for what is not.
                    let ready = this.record.take_ready(&mut work.out);
                    if ready.is_empty() {
                        return Poll::Pending;
                    }
                    return Poll::Ready(Step::Data(ready));
                }
            }
            let frame = if work.chunk.is_empty() {
                Ok(None)
            } else {
                this.decoder.decode(&mut work.chunk)
            };
            match frame {
                Ok(Some(Frame::Event(event))) => {
                    if matches!(this.phase, Phase::Open | Phase::Failing)
                        && let Err(error) = self.as_mut().take_event(&event, sink, work)
                    {
                        self.as_mut().store_failed(error, &mut work.chunk);
                    }
                    continue;
                }
                Ok(Some(Frame::Comment(raw))) => {
                    // Comments are for those who listen (SSE-14).
                    if sink != Sink::Nobody && *this.phase == Phase::Open {
                        work.out.extend_from_slice(&raw);
                    }
                    continue;
                }
                Ok(None) => {
                    if *this.phase == Phase::Failing {
                        // Before it is said: whoever hears it may be gone at once.
                        this.record.close(End::Failed);
                        *this.phase = Phase::Over;
                    }
                }
                Err(error) => {
                    let error = BodyError::new(BodyErrorKind::EventTooLarge, error);
                    self.as_mut().body_over(Some(error), &mut work.chunk);
                    continue;
                }
            }
            if !work.out.is_empty() {
                return Poll::Ready(Step::Data(mem::take(&mut work.out).into()));
            }
            if sink == Sink::Nobody && work.read > 0 {
                // A turn for others.
                return Poll::Ready(Step::Read(mem::take(&mut work.read)));
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
                Phase::Over => {
                    ready!(this.record.poll_closed(cx));
                    let rare = this.rare.as_deref_mut();
                    let last = rare.and_then(|rare| {
                        let trailers = rare.trailers.take().map(Step::Trailers);
                        trailers.or_else(|| rare.error.take().map(Step::Failed))
                    });
                    return Poll::Ready(last.unwrap_or(Step::Ended));
                }
            }
            let frame = ready!(this.source.poll_frame(cx));
            self.as_mut().take_frame(frame, sink, work);
        }
    }

    fn take_frame(
        mut self: Pin<&mut Self>,
        frame: Option<Result<http_body::Frame<Bytes>, BodyError>>,
        sink: Sink,
        work: &mut Work,
    ) {
        let this = self.as_mut().project();
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if *this.phase == Phase::Answered => {
                    let late = &mut this.rare.get_or_insert_default().late;
                    *late = late.saturating_add(data.len());
                    if *late > MAX_LATE_BYTES {
                        self.body_over(None, &mut work.chunk);
                    }
                }
                Ok(data) => {
                    work.read = if sink == Sink::Nobody { data.len() } else { 0 };
                    work.chunk = data;
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().ok().map(Box::new);
                    this.rare.get_or_insert_default().trailers = trailers;
                }
            },
            Some(Err(error)) => {
                if error.kind() == BodyErrorKind::NotResumed {
                    self.as_mut().forget_theirs();
                }
                self.body_over(Some(error), &mut work.chunk);
            }
            None => self.body_over(None, &mut work.chunk),
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
        self.record.prepare();
        let mut work = self.as_mut().project().record.take_work();
        let polled = self.as_mut().poll_step(sink, &mut work, cx);
        self.project().record.keep_work(work);
        polled
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
        matches!(self.phase, Phase::Answered | Phase::Over)
    }

    fn is_recording(&self) -> bool {
        self.record.is_open()
    }

    fn give_up(mut self: Pin<&mut Self>) {
        if matches!(self.phase, Phase::Open | Phase::Suspended) {
            *self.as_mut().project().phase = Phase::Open;
            self.as_mut().forget_theirs();
            let mut work = self.as_mut().project().record.take_work();
            let error = BodyErrorKind::GivenUp.into();
            self.as_mut().body_over(Some(error), &mut work.chunk);
            self.project().record.keep_work(work);
        }
    }

    fn suspended_at(&self) -> Option<&[u8]> {
        (self.phase == Phase::Suspended).then(|| self.theirs())
    }

    fn reopen(self: Pin<&mut Self>, connect: Connect) {
        let mut this = self.project();
        this.source.set(Source::Connecting { connect });
        *this.may_repeat = true;
        *this.phase = Phase::Open;
    }
}
