use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{
    alarm::Alarm,
    body_error::BodyError,
    driven::Driven,
    gauges::Ended,
    hop,
    merge::{Merge, Push},
};
use crate::{BoxError, deadline::Deadline, outcome::Guard};

pin_project! {
    /// The response body of a [`ReverseProxy`](super::ReverseProxy).
    ///
    /// Bytes pass unchanged, and none waits for a later one: see "Merging" in the
    /// [module docs](crate::proxy). Dropped before its end, it drops the exchange with the
    /// upstream.
    pub struct UpstreamBody {
        #[pin]
        relay: Relay<Driven>,
    }
}

/// How a body is relayed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) is_event_stream: bool,
    pub(super) merge: bool,
    /// The longest silence.
    pub(super) idle: Option<Duration>,
}

impl UpstreamBody {
    pub(super) fn new(body: Driven, options: Options, guard: Guard<Ended>) -> Self {
        Self {
            relay: Relay::new(body, options, guard),
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.project().relay.poll_frame(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.relay.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.relay.size_hint()
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { relay } = self;
        f.debug_struct("UpstreamBody")
            .field("held", &relay.merge.len())
            .field("over", &relay.over)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// [`UpstreamBody`] over any body.
    pub(super) struct Relay<B> {
        #[pin]
        inner: B,
        merge: Merge,
        // What came after the held bytes: trailers or an error. Boxed, because few streams end with
        // either, and every open one would have to keep the place.
        last: Option<Box<Result<Frame<Bytes>, BodyError>>>,
        guard: Guard<Ended>,
        // From the first time that nothing was there. Boxed, because most bodies are there at once,
        // and each is moved through every layer.
        silence: Option<Pin<Box<Silence>>>,
        idle: Limit,
        is_event_stream: bool,
        merges: bool,
        over: bool,
        // Whether the server has been given a turn to write before it sees an error.
        has_yielded: bool,
    }
}

/// How long a silence may be, in milliseconds, as timers count; 0 if there is no limit. Every open
/// stream has it, so it is shorter than a [`Duration`].
#[derive(Clone, Copy)]
struct Limit(u32);

impl Limit {
    fn new(longest: Option<Duration>) -> Self {
        let millis = |longest: Duration| longest.as_nanos().div_ceil(1_000_000).max(1);
        Self(longest.map_or(0, |longest| {
            u32::try_from(millis(longest)).unwrap_or(u32::MAX)
        }))
    }

    fn get(self) -> Option<Duration> {
        (self.0 > 0).then(|| Duration::from_millis(self.0.into()))
    }
}

pin_project! {
    /// What waits for an upstream that says nothing.
    #[project = SilenceProj]
    struct Silence {
        alarm: Alarm,
        // How long it lasts.
        #[pin]
        deadline: Deadline,
        spoke: Option<Instant>,
        // When it fires, at the earliest.
        fires: Option<Instant>,
    }
}

impl Silence {
    fn new(reader: &Waker) -> Self {
        Self {
            alarm: Alarm::new(reader),
            deadline: Deadline::new(),
            spoke: None,
            fires: None,
        }
    }
}

impl SilenceProj<'_> {
    /// The limit, once it has lasted longer than that. If not, the alarm rings when it has.
    ///
    /// `heard` is when something came, if that was since the last time.
    fn over(&mut self, limit: Option<Duration>, heard: Option<Instant>) -> Option<Duration> {
        let limit = limit?;
        if heard.is_some_and(|heard| self.fires.is_some_and(|fires| heard < fires)) {
            // It is still set, and has the waker: most events cost no look at it.
            return None;
        }
        let mut cx = Context::from_waker(self.alarm.waker());
        let over = self
            .deadline
            .as_mut()
            .poll_since(self.spoke, limit, &mut cx);
        *self.fires = self.deadline.fires();
        over.is_ready().then_some(limit)
    }
}

impl<B: Body<Data = Bytes>> Relay<B> {
    pub(super) fn new(inner: B, options: Options, mut guard: Guard<Ended>) -> Self {
        // hyper does not poll a body that is over from the start.
        let over = inner.is_end_stream();
        if over {
            guard.complete();
        }
        Self {
            inner,
            merge: Merge::new(),
            last: None,
            guard,
            silence: None,
            idle: Limit::new(options.idle),
            is_event_stream: options.is_event_stream,
            merges: options.merge,
            over,
            has_yielded: false,
        }
    }
}

impl<B> Body for Relay<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        if let Some(silence) = this.silence
            && silence.as_mut().project().alarm.is_silent(cx)
        {
            return Poll::Pending;
        }
        let mut heard = None;
        while !*this.over && this.last.is_none() {
            let mut silence = this.silence.as_mut().map(|s| s.as_mut().project());
            let waker = silence.as_ref().map_or(cx.waker(), |s| s.alarm.waker());
            let polled = this
                .inner
                .as_mut()
                .poll_frame(&mut Context::from_waker(waker));
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        if let Some(silence) = &mut silence {
                            heard = Some(Instant::now());
                            *silence.spoke = heard;
                        }
                        let pushed = if *this.merges {
                            this.merge.push(data)
                        } else {
                            Push::Full(data)
                        };
                        // Asked after every frame: hyper may not poll for the `None`.
                        if this.inner.is_end_stream() {
                            *this.over = true;
                            this.guard.complete();
                        }
                        if let Push::Full(data) = pushed {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                    }
                    Err(mut frame) => {
                        if let Some(trailers) = frame.trailers_mut() {
                            hop::clean_trailers(trailers);
                            *this.over = true;
                            this.guard.complete();
                        }
                        *this.last = Some(Box::new(Ok(frame)));
                        break;
                    }
                },
                Poll::Ready(Some(Err(error))) => {
                    *this.over = true;
                    this.guard.fail();
                    *this.last = Some(Box::new(Err(BodyError::broken(error))));
                }
                Poll::Ready(None) => {
                    *this.over = true;
                    this.guard.complete();
                }
                Poll::Pending if this.merge.is_empty() => {
                    let is_heard = silence.is_some();
                    let mut silence = this
                        .silence
                        .get_or_insert_with(|| Box::pin(Silence::new(cx.waker())))
                        .as_mut()
                        .project();
                    let Some(idle) = silence.over(this.idle.get(), heard) else {
                        if is_heard {
                            silence.alarm.set();
                        }
                        return Poll::Pending;
                    };
                    *this.over = true;
                    this.guard.fail();
                    *this.last = Some(Box::new(Err(BodyError::idle(idle))));
                }
                // Nothing more is there, and what is held waits for nobody.
                Poll::Pending => {
                    // A timer that has fired meanwhile is set again.
                    if let Some(mut silence) = silence
                        && silence.over(this.idle.get(), heard).is_none()
                    {
                        silence.alarm.set();
                    }
                    break;
                }
            }
        }
        if !this.merge.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.merge.take()))));
        }
        if !*this.has_yielded && this.last.as_ref().is_some_and(|last| last.is_err()) {
            // hyper's server drops the connection with an error, and what it has not written with
            // it, be that the head. It writes when there is nothing more to be had, as far as the
            // client's socket has room.
            *this.has_yielded = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.last.take().map(|last| *last))
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.merge.is_empty() && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.merge.len() as u64;
        if self.over {
            return SizeHint::with_exact(held);
        }
        if self.is_event_stream {
            // An exact hint would become a `Content-Length`, which a stream has none of (SSE-13).
            return SizeHint::default();
        }
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(inner.lower() + held);
        hint
    }
}
