use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A request body: bytes that were collected, or the body as it came.
    ///
    /// See the [module docs](crate::body).
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProj]
    enum Kind<B> {
        Collected {
            // Empty once handed out.
            bytes: Bytes,
        },
        Streaming {
            #[pin]
            body: B,
        },
    }
}

impl<B> RequestBody<B> {
    /// Passes `body` through, unread.
    #[must_use]
    pub const fn streaming(body: B) -> Self {
        Self {
            kind: Kind::Streaming { body },
        }
    }
}

/// A body that was read whole, or that takes another's place.
impl<B> From<Bytes> for RequestBody<B> {
    fn from(bytes: Bytes) -> Self {
        Self {
            kind: Kind::Collected { bytes },
        }
    }
}

/// An empty body.
impl<B> Default for RequestBody<B> {
    fn default() -> Self {
        Self::from(Bytes::new())
    }
}

impl<B> Body for RequestBody<B>
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
        match self.project().kind.project() {
            KindProj::Collected { bytes } => Poll::Ready(take_frame(bytes).map(Ok)),
            KindProj::Streaming { body } => body.poll_frame(cx),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Collected { bytes } => bytes.is_empty(),
            Kind::Streaming { body } => body.is_end_stream(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Collected { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Streaming { body } => body.size_hint(),
        }
    }
}

/// Hands out fixed bytes as one frame, the first time; nothing if there are none.
pub(super) fn take_frame(bytes: &mut Bytes) -> Option<Frame<Bytes>> {
    (!bytes.is_empty()).then(|| Frame::data(mem::take(bytes)))
}
