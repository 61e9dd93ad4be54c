//! Futures and bodies that are polled so often, and then dropped.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame};
use shadowcat::sse::{Decoder, EventId, Frame as SseFrame};

use super::slow::settle;

/// Polls up to `polls` times, and drops it; `None` if it was not ready by then.
pub(crate) async fn drop_after<O>(polls: usize, future: impl Future<Output = O>) -> Option<O> {
    let mut future = pin!(future);
    for _ in 0..polls {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        settle().await;
    }
    None
}

/// What a client had of a body that was dropped after so many polls.
#[derive(Debug)]
pub(crate) struct Had {
    pub(crate) events: Vec<(EventId, String)>,
    pub(crate) is_over: bool,
}

pub(crate) async fn read<B: Body<Data = Bytes>>(polls: usize, body: B) -> Had {
    let mut body = Box::pin(body);
    let mut decoder = Decoder::new();
    let mut had = Had {
        events: Vec::new(),
        is_over: false,
    };
    for _ in 0..polls {
        let mut cx = Context::from_waker(Waker::noop());
        let frame = match body.as_mut().poll_frame(&mut cx) {
            Poll::Pending => {
                settle().await;
                continue;
            }
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(_))) => panic!("the body broke"),
            Poll::Ready(None) => {
                had.is_over = true;
                break;
            }
        };
        let mut data = frame.into_data().unwrap_or_default();
        while let Some(frame) = decoder.decode(&mut data).expect("small events") {
            let SseFrame::Event(event) = frame else {
                continue;
            };
            let data = event.data().unwrap_or_default().into_owned();
            let data = String::from_utf8(data).expect("text");
            let id = event
                .id()
                .map(|id| EventId::decode(id).expect("an id of ours"));
            had.events.extend(id.map(|id| (id, data)));
        }
    }
    had
}

impl Had {
    pub(crate) fn cursor(&self) -> Option<EventId> {
        self.events.last().map(|(id, _)| *id)
    }

    /// The numbers of the events that have data.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        let all = self.events.iter().filter(|(_, data)| !data.is_empty());
        all.map(|(id, _)| id.sequence()).collect()
    }
}

/// A body whose bytes come after some polls.
pub(crate) struct Late(pub(crate) usize, pub(crate) Option<Bytes>);

impl From<Bytes> for Late {
    fn from(bytes: Bytes) -> Self {
        Self(0, Some(bytes))
    }
}

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 > 0 {
            self.0 -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.1.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

pub(crate) async fn pend(polls: usize) {
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
