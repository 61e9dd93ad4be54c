use std::{future::poll_fn, sync::Arc, task::Poll};

use super::stream::Stream;

/// How many frames one stream may take before others have their turn.
const TURNS: usize = 32;

/// Goes on reading a stream whose client is gone, until it ends, or a client takes it over.
pub(super) async fn drain(stream: Arc<Stream>, generation: u32) {
    let alone = Alone { stream, generation };
    poll_fn(|cx| {
        for _ in 0..TURNS {
            match alone.stream.poll_alone(generation, cx) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        // C62: a body that is always ready lets others run.
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The task's hold on a stream. A stream that it still drives when it is dropped has nobody left: its
/// body has panicked (C54), or the runtime shuts down.
struct Alone {
    stream: Arc<Stream>,
    generation: u32,
}

impl Drop for Alone {
    fn drop(&mut self) {
        let Self { stream, generation } = self;
        stream.release(*generation);
    }
}
