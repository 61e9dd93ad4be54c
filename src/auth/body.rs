use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::admit::Expiry;
use crate::{
    body,
    deadline::Deadline,
    sse::{self, Place},
};

/// How long an event that is half sent may take when the token has expired; then it is cut, and a
/// client drops what it has of it.
const EVENT_GRACE: Duration = Duration::from_secs(5);

pin_project! {
    /// The response body of an [`Auth`](super::Auth): the inner service's, or a refusal.
    ///
    /// An event stream ends when its token does, after an event, and lets go of the inner body.
    pub struct ResponseBody<B> {
        #[pin]
        body: body::ResponseBody<B>,
        // Of an event stream whose token expires: boxed, so that no other response carries a timer
        // about.
        end: Option<Pin<Box<End>>>,
    }
}

pin_project! {
    /// When and where a stream ends.
    struct End {
        at: Instant,
        #[pin]
        timer: Deadline,
        place: Place,
        // If not, then no event is seen to end.
        is_readable: bool,
        // The time has come in the middle of an event.
        is_overdue: bool,
        retry: Option<Duration>,
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn plain(body: body::ResponseBody<B>) -> Self {
        Self { body, end: None }
    }

    pub(super) const fn passing(body: B) -> Self {
        Self::plain(body::ResponseBody::inner(body))
    }
}

impl<B: Body<Data = Bytes>> ResponseBody<B> {
    pub(super) fn expiring(body: B, expiry: Expiry, is_readable: bool) -> Self {
        let Expiry { at, retry } = expiry;
        // A body that says that it is empty need not be polled.
        let end = (!body.is_end_stream()).then(|| {
            Box::pin(End {
                at,
                timer: Deadline::new(),
                place: Place::default(),
                is_readable,
                is_overdue: false,
                retry,
            })
        });
        Self {
            body: body::ResponseBody::inner(body),
            end,
        }
    }
}

/// An empty body, whatever `B` is: layers outside, such as CORS, answer with it.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::plain(body::ResponseBody::default())
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(cx);
        let Some(end) = this.end.as_mut().map(Pin::as_mut) else {
            return polled;
        };
        let last = match polled {
            Poll::Ready(Some(Ok(frame))) => match end.pass(frame, cx) {
                Passed::On(frame) => {
                    if this.body.is_end_stream() {
                        *this.end = None;
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Passed::Last(frame, last) => {
                    this.body.set(body::ResponseBody::fixed(last));
                    *this.end = None;
                    return Poll::Ready(Some(Ok(frame)));
                }
            },
            Poll::Pending => ready!(end.poll_over(cx)),
            // It is not polled again, and may hold much.
            polled => {
                this.body.set(body::ResponseBody::default());
                *this.end = None;
                return polled;
            }
        };
        this.body.set(body::ResponseBody::fixed(last));
        *this.end = None;
        this.body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.end {
            // It may end before its time.
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

/// A frame, and whether the stream goes on behind it.
enum Passed {
    On(Frame<Bytes>),
    Last(Frame<Bytes>, Bytes),
}

impl End {
    /// Sees a frame through, up to where the stream has to end, if that is in it.
    fn pass(mut self: Pin<&mut Self>, frame: Frame<Bytes>, cx: &mut Context<'_>) -> Passed {
        let Some(data) = frame.data_ref() else {
            return Passed::On(frame);
        };
        if self.is_overdue && self.is_readable {
            return match self.as_mut().project().place.pass_to_boundary(data) {
                Some(len) => {
                    let last = self.last_words();
                    Passed::Last(Frame::data(data.slice(..len)), last)
                }
                None => match self.as_mut().poll_over(cx) {
                    // What does not end in time is not waited for, however much of it there is.
                    Poll::Ready(last) => Passed::Last(frame, last),
                    Poll::Pending => Passed::On(frame),
                },
            };
        }
        self.as_mut().project().place.pass(data);
        // Looked at with every frame, because the inner body may never be pending.
        match self.poll_over(cx) {
            Poll::Ready(last) => Passed::Last(frame, last),
            Poll::Pending => Passed::On(frame),
        }
    }

    /// Ready with the last words once the stream has to end here.
    fn poll_over(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            let mut this = self.as_mut().project();
            ready!(this.timer.as_mut().poll_until(*this.at, cx));
            let is_between_events = *this.is_readable && this.place.is_between_events();
            if is_between_events || !*this.is_readable || *this.is_overdue {
                tracing::debug!(is_between_events, "a stream ends with its token");
                return Poll::Ready(self.last_words());
            }
            *this.is_overdue = true;
            *this.at += EVENT_GRACE;
            this.timer.clear();
        }
    }

    /// What the client is told, if that would not break into an event.
    fn last_words(&self) -> Bytes {
        match self.retry {
            Some(retry) if self.is_readable && self.place.is_between_events() => sse::retry(retry),
            _ => Bytes::new(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("expires", &self.end.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
