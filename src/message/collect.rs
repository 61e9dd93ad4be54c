use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use pin_project_lite::pin_project;

pin_project! {
    /// Reads a body whole, up to a limit.
    ///
    /// One frame is handed on as it is; only a body of several frames is copied together. Memory
    /// follows what has arrived, not what a `Content-Length` promises. Trailers are dropped, as
    /// RFC 9110 §6.5.1 allows: MCP gives them no meaning.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub(crate) struct Collect<B> {
        #[pin]
        body: B,
        limit: usize,
        first: Bytes,
        joined: BytesMut,
    }
}

/// Why a body could not be read whole.
#[derive(Debug)]
pub(crate) enum CollectError<E> {
    /// It is, or says that it is, longer than the limit.
    TooLarge,
    /// It broke.
    Body(E),
}

impl<B: Body> Collect<B> {
    pub(crate) fn new(body: B, limit: usize) -> Self {
        Self {
            body,
            limit,
            first: Bytes::new(),
            joined: BytesMut::new(),
        }
    }

    /// Whether the body already says that it is too long, before a byte of it is read.
    pub(crate) fn is_refused(body: &B, limit: usize) -> bool {
        body.size_hint().lower() > limit as u64
    }
}

impl<B> Future for Collect<B>
where
    B: Body<Data = Bytes>,
{
    type Output = Result<Bytes, CollectError<B::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        while !this.body.is_end_stream() {
            let frame = match ready!(this.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Err(CollectError::Body(error))),
                None => break,
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let held = this.first.len() + this.joined.len();
            if data.remaining() > *this.limit - held {
                return Poll::Ready(Err(CollectError::TooLarge));
            }
            if held == 0 {
                *this.first = data;
            } else {
                this.joined.extend_from_slice(&std::mem::take(this.first));
                this.joined.extend_from_slice(&data);
            }
        }
        Poll::Ready(Ok(if this.joined.is_empty() {
            std::mem::take(this.first)
        } else {
            std::mem::take(this.joined).freeze()
        }))
    }
}
