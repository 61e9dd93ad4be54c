use std::{
    fmt, mem,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    BodyError, BodyErrorKind,
    answer::forget_validators,
    inspect::{Inspect, Turn},
};
use crate::{BoxError, body};

pin_project! {
    /// The response body of an [`Intercept`](super::Intercept): the inner service's, inspected or not, or
    /// an answer of ours.
    ///
    /// See the [module docs](crate::intercept). Only what is inspected has a box, once. While a message is
    /// decided about, nothing more is read of the inner body.
    pub struct ResponseBody<B> {
        #[pin]
        body: body::ResponseBody<B>,
        inspected: Option<Box<Inspected>>,
    }
}

/// What goes with a body that somebody is interested in.
struct Inspected {
    /// Never locked: the mutex makes it `Sync`, for `BoxBody` and the like.
    inspect: Mutex<Pin<Box<dyn Inspect>>>,
    trailers: Option<HeaderMap>,
    /// Somebody polls it, or has panicked there.
    is_in_turn: bool,
}

/// How many frames are read in one turn if none of them completes a message (C62).
const MAX_TURNS: usize = 64;

impl<B> ResponseBody<B> {
    #[inline]
    pub(super) const fn passing(body: B) -> Self {
        Self {
            body: body::ResponseBody::inner(body),
            inspected: None,
        }
    }

    pub(super) fn fixed(bytes: Bytes) -> Self {
        Self {
            body: body::ResponseBody::fixed(bytes),
            inspected: None,
        }
    }

    pub(super) fn inspected(body: B, inspect: Pin<Box<dyn Inspect>>) -> Self {
        Self {
            body: body::ResponseBody::inner(body),
            inspected: Some(Box::new(Inspected {
                inspect: Mutex::new(inspect),
                trailers: None,
                is_in_turn: false,
            })),
        }
    }
}

/// An empty body, whatever `B` is: layers outside, such as CORS, answer with it.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::fixed(Bytes::new())
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.inspected.is_some() {
            return self.poll_inspected(cx);
        }
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(cx);
        if let Poll::Ready(Some(Err(_)) | None) = polled {
            // It is not polled again, and may hold much.
            this.body.set(body::ResponseBody::default());
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::inner)))
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        // Something may be held that the inner body has already given.
        self.inspected.is_none() && self.body.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match self.inspected {
            // It may change.
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

impl<B> ResponseBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    fn poll_inspected(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.as_mut().project();
        let mut inspected = this.inspected.as_deref_mut();
        if let Some(inspected) = &mut inspected
            && mem::replace(&mut inspected.is_in_turn, true)
        {
            // What was in hand then is lost: this is no clean end, whoever has caught it.
            return Self::end(self, Some(Err(BodyErrorKind::Panicked.into())));
        }
        let polled = self.as_mut().poll_turns(cx);
        if let Some(inspected) = self.project().inspected {
            inspected.is_in_turn = false;
        }
        polled
    }

    /// It is not polled again, and may hold much.
    fn end(
        self: Pin<&mut Self>,
        last: Option<Result<Frame<Bytes>, BodyError>>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.project();
        this.body.set(body::ResponseBody::default());
        *this.inspected = None;
        Poll::Ready(last)
    }

    fn poll_turns(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut this = self.as_mut().project();
        let mut turns = 0;
        loop {
            let Some(inspected) = this.inspected else {
                return Poll::Ready(None);
            };
            let inspect = inspected.inspect.get_mut();
            let inspect = inspect.unwrap_or_else(PoisonError::into_inner);
            let last = match ready!(inspect.as_mut().poll(cx)) {
                Turn::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Turn::Hungry => {
                    turns += 1;
                    if turns > MAX_TURNS {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    let frame = if this.body.is_end_stream() {
                        None
                    } else {
                        ready!(this.body.as_mut().poll_frame(cx))
                    };
                    match frame.map(|frame| frame.map(Frame::into_data)) {
                        Some(Ok(Ok(data))) => {
                            inspect.as_mut().push(data);
                            continue;
                        }
                        Some(Ok(Err(frame))) => match frame.into_trailers() {
                            Ok(mut trailers) => {
                                forget_validators(&mut trailers);
                                inspected.trailers = Some(trailers);
                                inspect.as_mut().end();
                                continue;
                            }
                            // Of a kind that nobody knows yet.
                            Err(frame) => return Poll::Ready(Some(Ok(frame))),
                        },
                        // What is held of it is of no use to anybody.
                        Some(Err(error)) => Some(Err(BodyError::inner(error))),
                        None => {
                            inspect.as_mut().end();
                            this.body.set(body::ResponseBody::default());
                            continue;
                        }
                    }
                }
                Turn::Over => inspected
                    .trailers
                    .take()
                    .map(|one| Ok(Frame::trailers(one))),
                Turn::Failed(error) => Some(Err(error)),
            };
            return self.end(last);
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("is_inspected", &self.inspected.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
