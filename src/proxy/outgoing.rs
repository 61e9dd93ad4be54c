use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// A body that is no longer than this is handed to the socket at once, whoever reads the answer.
const SMALL: u64 = 64 * 1024;

pin_project! {
    /// A request body on its way to the upstream, which tells when it has been taken whole.
    pub(super) struct Outgoing<B> {
        #[pin]
        body: B,
        progress: Progress,
    }
}

/// Whether a request body has been taken by the connection, to its end.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    // None for a body that is small: it costs no allocation to know about it.
    taken: Option<Arc<AtomicBool>>,
}

impl Progress {
    pub(super) fn is_complete(&self) -> bool {
        self.taken.as_ref().is_none_or(|taken| taken.load(Relaxed))
    }

    fn complete(&self) {
        if let Some(taken) = &self.taken {
            taken.store(true, Relaxed);
        }
    }
}

impl<B: Body> Outgoing<B> {
    pub(super) fn new(body: B) -> Self {
        let is_small = body.size_hint().upper().is_some_and(|upper| upper <= SMALL);
        let progress = Progress {
            taken: (!is_small).then(Arc::default),
        };
        Self { body, progress }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl<B: Body> Body for Outgoing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if frame.is_none() || this.body.is_end_stream() {
            this.progress.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
