//! A scripted body for unit tests: what each poll answers, in order.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

#[derive(Debug)]
enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(io::Error),
    /// `Pending`, with a wake-up at once: something comes next.
    Yield,
    /// `Pending` for good; the waker is kept for the test.
    Stall,
}

/// Answers its steps one by one, then `None`.
#[derive(Debug, Default)]
pub(crate) struct MockBody {
    steps: VecDeque<Step>,
    exact: bool,
    /// Without it, `is_end_stream` stays false to the end, as for a chunked HTTP/1 body.
    knows_end: bool,
    polls: Rc<Cell<usize>>,
    stalled: Rc<RefCell<Option<Waker>>>,
    over: bool,
}

impl MockBody {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn data(mut self, bytes: impl Into<Bytes>) -> Self {
        self.steps.push_back(Step::Data(bytes.into()));
        self
    }

    pub(crate) fn trailers(mut self, trailers: HeaderMap) -> Self {
        self.steps.push_back(Step::Trailers(trailers));
        self
    }

    pub(crate) fn error(mut self, message: &'static str) -> Self {
        self.steps.push_back(Step::Error(io::Error::other(message)));
        self
    }

    pub(crate) fn then_yield(mut self) -> Self {
        self.steps.push_back(Step::Yield);
        self
    }

    pub(crate) fn stall(mut self) -> Self {
        self.steps.push_back(Step::Stall);
        self
    }

    /// Gives an exact size hint, as for a body with a `Content-Length`.
    pub(crate) fn exact(mut self) -> Self {
        self.exact = true;
        self.knows_end = true;
        self
    }

    /// Tells the end by `is_end_stream`, not only by `None`.
    pub(crate) fn knows_end(mut self) -> Self {
        self.knows_end = true;
        self
    }

    pub(crate) fn polls(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.polls)
    }

    /// Where the waker of a stalled poll is left.
    pub(crate) fn stalled(&self) -> Rc<RefCell<Option<Waker>>> {
        Rc::clone(&self.stalled)
    }
}

impl Body for MockBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        assert!(!self.over, "polled after its end");
        self.polls.set(self.polls.get() + 1);
        match self.steps.pop_front() {
            Some(Step::Data(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Step::Error(error)) => {
                self.over = true;
                Poll::Ready(Some(Err(error)))
            }
            Some(Step::Yield) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Stall) => {
                self.steps.push_front(Step::Stall);
                self.stalled.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            None => {
                self.over = true;
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.knows_end && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.exact {
            return SizeHint::default();
        }
        let left = self.steps.iter().map(|step| match step {
            Step::Data(bytes) => bytes.len() as u64,
            _ => 0,
        });
        SizeHint::with_exact(left.sum())
    }
}
