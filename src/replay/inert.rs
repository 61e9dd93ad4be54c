use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::synthetic;
use crate::{deadline::Deadline, sse::Place};

/// Keeps the connection of a stream open that is not tracked, without touching it.
#[derive(Debug)]
pub(super) struct KeepAlive {
    every: Duration,
    place: Place,
    deadline: Pin<Box<Deadline>>,
    spoke: Option<Instant>,
}

impl KeepAlive {
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            place: Place::default(),
            deadline: Box::pin(Deadline::new()),
            spoke: None,
        }
    }

    /// Takes note of what passes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        self.spoke = Some(Instant::now());
        self.place.pass(bytes);
    }

    /// Ready with a comment once one is due. In the middle of an event none is (S29): what comes next
    /// of that event keeps the connection open too.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        loop {
            if self
                .deadline
                .as_mut()
                .poll_since(&mut self.spoke, self.every, cx)
                .is_pending()
            {
                return Poll::Pending;
            }
            self.deadline.as_mut().clear();
            if self.place.is_between_events() {
                return Poll::Ready(synthetic::keep_alive());
            }
        }
    }
}
