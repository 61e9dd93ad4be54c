//! A body that hands on in one frame what its connection can supply without waiting.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use hyper::body::{Bytes, Incoming};

/// Bytes at which a frame is handed on: longer ones save little, shorter ones cost writes.
const FRAME: usize = 32 * 1024;

/// The first copy goes here; a stream that needs more gets a whole frame's worth at once.
const FIRST: usize = 4 * 1024;

/// How often in a row it may be polled in vain before it hands on what it holds.
///
/// hyper's server polls a body twice before it gives way to other tasks, so one poll would be no
/// yield at all, and four are two.
const POLLS: u8 = 4;

pub(crate) struct Merging {
    inner: Incoming,
    held: Held,
    /// Polls since the last frame came.
    polls: u8,
    /// What came after the bytes that are held.
    next: Option<hyper::Result<Frame<Bytes>>>,
}

enum Held {
    Nothing,
    One(Bytes),
    Many(Vec<u8>),
}

impl Held {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::Many(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, data: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(data),
            Self::One(first) => {
                let len = first.len() + data.len();
                let mut many = Vec::with_capacity(if len <= FIRST { FIRST } else { FRAME });
                many.extend_from_slice(first);
                many.extend_from_slice(&data);
                *self = Self::Many(many);
            }
            Self::Many(many) => {
                if many.capacity() - many.len() < data.len() {
                    many.reserve_exact(FRAME - many.len());
                }
                many.extend_from_slice(&data);
            }
        }
    }

    fn take(&mut self) -> Option<hyper::Result<Frame<Bytes>>> {
        match std::mem::replace(self, Self::Nothing) {
            Self::Nothing => None,
            Self::One(bytes) => Some(Ok(Frame::data(bytes))),
            Self::Many(bytes) => Some(Ok(Frame::data(bytes.into()))),
        }
    }
}

impl Merging {
    pub(crate) fn new(inner: Incoming) -> Self {
        Self {
            inner,
            held: Held::Nothing,
            polls: 0,
            next: None,
        }
    }

    /// Hands on what is held and keeps what followed it; without the former, the latter.
    fn before(&mut self, next: hyper::Result<Frame<Bytes>>) -> Option<hyper::Result<Frame<Bytes>>> {
        match self.held.take() {
            Some(held) => {
                self.next = Some(next);
                Some(held)
            }
            None => Some(next),
        }
    }
}

impl Body for Merging {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Some(next) = this.next.take() {
            return Poll::Ready(Some(next));
        }
        loop {
            let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(this.before(Err(error))),
                Poll::Ready(None) => return Poll::Ready(this.held.take()),
                Poll::Pending if this.held.is_empty() => return Poll::Pending,
                Poll::Pending if this.polls < POLLS => {
                    // Taking the last frame woke the connection's task, which is ahead of this
                    // one in the queue: it can put the next frame where that one was.
                    this.polls += 1;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Ready(this.held.take()),
            };
            let data = match frame.into_data() {
                Ok(data) => data,
                Err(frame) => return Poll::Ready(this.before(Ok(frame))),
            };
            this.polls = 0;
            let full = if this.held.len() + data.len() > FRAME {
                this.held.take()
            } else {
                None
            };
            this.held.push(data);
            if full.is_some() {
                return Poll::Ready(full);
            }
            if this.inner.is_end_stream() {
                return Poll::Ready(this.held.take());
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_empty() && self.next.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.inner.size_hint();
        let held = self.held.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(hint.lower() + held);
        hint
    }
}
