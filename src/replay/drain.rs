use std::{
    future::poll_fn,
    sync::Arc,
    task::{Poll, ready},
};

use super::{stream::Stream, subscriber::LINGER};
use crate::deadline::Deadline;

/// How many frames one stream may take before others have their turn.
const TURNS: usize = 32;

/// Goes on reading a stream whose client is gone, until it ends, or a client takes it over.
pub(super) async fn drain(stream: Arc<Stream>, generation: u32) {
    let mut alone = Alone {
        stream,
        generation,
        is_done: false,
    };
    let mut linger = None;
    poll_fn(|cx| {
        for _ in 0..TURNS {
            match alone.stream.poll_alone(generation, cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending if alone.stream.is_answered() => {
                    let linger = linger.get_or_insert_with(|| Box::pin(Deadline::new()));
                    ready!(linger.as_mut().poll(LINGER, cx));
                    return Poll::Ready(());
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        // C62: a body that is always ready lets others run.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    alone.is_done = true;
}

/// The task's hold on a stream.
struct Alone {
    stream: Arc<Stream>,
    generation: u32,
    is_done: bool,
}

impl Drop for Alone {
    fn drop(&mut self) {
        let Self {
            stream,
            generation,
            is_done,
        } = self;
        stream.release(*generation, *is_done);
    }
}
