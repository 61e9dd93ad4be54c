use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{BodyError, BodyErrorKind, inert::KeepAlive, subscriber::Subscriber};
use crate::{BoxError, body};

pin_project! {
    /// The response body of a [`Replay`](super::Replay): the inner service's, a tracked stream, or a
    /// refusal.
    ///
    /// See the [module docs](crate::replay). Only a tracked stream is boxed, once.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner {
            #[pin]
            body: body::ResponseBody<B>,
            // Of an event stream that is not tracked.
            keep_alive: Option<Box<KeepAlive>>,
        },
        Stream {
            subscriber: Subscriber,
        },
    }
}

impl<B> ResponseBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self::plain(body::ResponseBody::inner(body))
    }

    pub(super) const fn plain(body: body::ResponseBody<B>) -> Self {
        Self {
            kind: Kind::Inner {
                body,
                keep_alive: None,
            },
        }
    }

    pub(super) fn kept_alive(body: B, keep_alive: KeepAlive) -> Self {
        Self {
            kind: Kind::Inner {
                body: body::ResponseBody::inner(body),
                keep_alive: Some(Box::new(keep_alive)),
            },
        }
    }

    pub(super) const fn stream(subscriber: Subscriber) -> Self {
        Self {
            kind: Kind::Stream { subscriber },
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
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (body, keep_alive) = match self.project().kind.project() {
            KindProj::Stream { subscriber } => return subscriber.poll_frame(cx),
            KindProj::Inner { body, keep_alive } => (body, keep_alive),
        };
        let polled = body.poll_frame(cx);
        if let Some(keep_alive) = keep_alive {
            match &polled {
                Poll::Pending => {
                    return keep_alive
                        .poll(cx)
                        .map(|comment| Some(Ok(Frame::data(comment))));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        keep_alive.pass(data);
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => {}
            }
        }
        polled.map(|frame| {
            frame.map(|frame| frame.map_err(|error| BodyError::new(BodyErrorKind::Inner, error)))
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body, .. } => body.is_end_stream(),
            Kind::Stream { subscriber } => subscriber.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner {
                body,
                keep_alive: None,
            } => body.size_hint(),
            // A comment may be added at any time.
            _ if self.is_end_stream() => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Inner { keep_alive, .. } => f
                .debug_struct("Inner")
                .field("keep_alive", keep_alive)
                .finish_non_exhaustive(),
            Kind::Stream { subscriber } => f.debug_tuple("Stream").field(subscriber).finish(),
        }
    }
}
