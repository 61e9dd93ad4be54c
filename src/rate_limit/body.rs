use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::LocalSlot;
use crate::body;

pin_project! {
    /// The response body of a [`RateLimit`](super::RateLimit): the inner service's, or a refusal.
    ///
    /// It keeps the slot of its request until it is over: at its end, when it fails, or when it is
    /// dropped.
    pub struct ResponseBody<B, G = LocalSlot> {
        #[pin]
        body: body::ResponseBody<B>,
        slot: Option<G>,
    }
}

impl<B, G> ResponseBody<B, G> {
    #[inline]
    pub(super) const fn passing(body: B) -> Self {
        Self {
            body: body::ResponseBody::inner(body),
            slot: None,
        }
    }

    pub(super) fn fixed(bytes: Bytes) -> Self {
        Self {
            body: body::ResponseBody::fixed(bytes),
            slot: None,
        }
    }
}

impl<B: Body<Data = Bytes>, G> ResponseBody<B, G> {
    pub(super) fn held(body: B, slot: Option<G>) -> Self {
        // A body that says that it is empty need not be polled.
        let slot = slot.filter(|_| !body.is_end_stream());
        Self {
            slot,
            ..Self::passing(body)
        }
    }
}

/// An empty body, whatever `B` is: layers outside, such as CORS, answer with it.
impl<B, G> Default for ResponseBody<B, G> {
    fn default() -> Self {
        Self::fixed(Bytes::new())
    }
}

impl<B, G> Body for ResponseBody<B, G>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let polled = this.body.as_mut().poll_frame(cx);
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(_))) => {
                // Whoever counts what is left may not ask for the end.
                let is_over =
                    || this.body.is_end_stream() || this.body.size_hint().exact() == Some(0);
                if this.slot.is_some() && is_over() {
                    *this.slot = None;
                }
            }
            Poll::Ready(Some(Err(_)) | None) => {
                // It is not polled again, and may hold much.
                this.body.set(body::ResponseBody::default());
                *this.slot = None;
            }
        }
        polled
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B, G> fmt::Debug for ResponseBody<B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("is_held", &self.slot.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
