use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::{BodyError, BodyErrorKind};
use crate::BoxError;

/// The body of a stream that was opened again, whatever its type is.
pub(super) type Reopened = Pin<Box<dyn Body<Data = Bytes, Error = BodyError> + Send>>;

/// Opens a stream again.
pub(super) type Connect = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What a server says when it is asked for the rest of a stream.
pub(super) enum Reply {
    Body(Reopened),
    /// It does not have the stream any more.
    Gone,
    /// It cannot say just now.
    Later,
}

pin_project! {
    /// Where a stream's bytes come from.
    #[project = SourceProj]
    pub(super) enum Source<B> {
        // The body of the response that opened the stream: inside of the stream's one box.
        First {
            #[pin]
            body: B,
        },
        // A resume is waiting for the head of its response.
        Connecting {
            connect: Connect,
        },
        // What a resume brought.
        Reopened {
            body: Reopened,
        },
        Gone,
    }
}

impl<B> Source<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// The next frame.
    pub(super) fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match self.as_mut().project() {
                SourceProj::First { body } => {
                    return body.poll_frame(cx).map(|frame| {
                        frame.map(|frame| {
                            frame.map_err(|error| BodyError::new(BodyErrorKind::Inner, error))
                        })
                    });
                }
                SourceProj::Reopened { body } => return body.as_mut().poll_frame(cx),
                SourceProj::Gone => return Poll::Ready(None),
                SourceProj::Connecting { connect } => {
                    let reply = ready!(connect.as_mut().poll(cx));
                    self.set(Self::Gone);
                    match reply {
                        Reply::Body(body) => self.set(Self::Reopened { body }),
                        Reply::Gone => {
                            return Poll::Ready(Some(Err(BodyErrorKind::NotResumed.into())));
                        }
                        // As if it had closed early once more.
                        Reply::Later => return Poll::Ready(None),
                    }
                }
            }
        }
    }
}

pin_project! {
    /// Turns a body's errors into ours, so that it fits [`Reopened`].
    pub(super) struct Reopen<B> {
        #[pin]
        pub(super) body: B,
    }
}

impl<B> Body for Reopen<B>
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
        let frame = ready!(self.project().body.poll_frame(cx));
        Poll::Ready(
            frame.map(|frame| frame.map_err(|error| BodyError::new(BodyErrorKind::Inner, error))),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
