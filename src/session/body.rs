use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{flight::Flight, learn::Learner};
use crate::body;

pin_project! {
    /// The response body of a [`BindSession`](super::BindSession): the inner service's, or a refusal.
    ///
    /// It holds its session until it is over: until then the session does not expire. An event stream
    /// ends with its session, cleanly, and lets go of the inner body.
    pub struct ResponseBody<B> {
        #[pin]
        body: body::ResponseBody<B>,
        held: Option<Held>,
        // Of the response that opens a session.
        learner: Option<Box<Learner>>,
        is_over: bool,
    }
}

/// The session that a body is of.
struct Held {
    flight: Flight,
    /// Whether it ends with its session.
    is_stream: bool,
    /// Where its waker is.
    ticket: Option<u32>,
}

impl<B> ResponseBody<B> {
    pub(super) const fn plain(body: body::ResponseBody<B>) -> Self {
        Self {
            body,
            held: None,
            learner: None,
            is_over: false,
        }
    }
}

impl<B: Body<Data = Bytes>> ResponseBody<B> {
    pub(super) fn held(
        body: B,
        flight: Flight,
        is_stream: bool,
        learner: Option<Box<Learner>>,
    ) -> Self {
        let held = Held {
            flight,
            is_stream,
            ticket: None,
        };
        let mut this = Self {
            body: body::ResponseBody::inner(body),
            held: Some(held),
            learner,
            is_over: false,
        };
        // A body that says that it is empty need not be polled.
        if this.body.is_end_stream() {
            this.held = None;
            this.learner = None;
        }
        this
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
        if *this.is_over {
            return Poll::Ready(None);
        }
        let mut polled = Poll::Ready(None);
        if !this.held.as_ref().is_some_and(Held::is_cut) {
            polled = this.body.as_mut().poll_frame(cx);
            if polled.is_pending() {
                let waits = this.held.as_mut().is_none_or(|held| held.wait(cx.waker()));
                if waits {
                    return Poll::Pending;
                }
                polled = Poll::Ready(None);
            }
        }
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            if let (Some(learner), Some(data)) = (this.learner.as_mut(), frame.data_ref()) {
                learner.pass(data);
                if learner.is_done() {
                    *this.learner = None;
                }
            }
            // Whoever counts what is left may not ask for the end.
            let is_end = this.body.is_end_stream() || this.body.size_hint().exact() == Some(0);
            if !is_end {
                return polled;
            }
        } else {
            *this.is_over = true;
            // It is not polled again, and may hold much.
            this.body.set(body::ResponseBody::default());
        }
        if let Some(mut learner) = this.learner.take() {
            learner.end();
        }
        *this.held = None;
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.held {
            // It may end before its time.
            Some(held) if held.is_stream => SizeHint::default(),
            _ => self.body.size_hint(),
        }
    }
}

impl Held {
    fn is_cut(&self) -> bool {
        self.is_stream && self.flight.is_ended()
    }

    /// Waits for the end of the session, too. False if that has come.
    fn wait(&mut self, waker: &Waker) -> bool {
        !self.is_stream || self.flight.register(&mut self.ticket, waker)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.flight.deregister(ticket);
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("is_held", &self.held.is_some())
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
