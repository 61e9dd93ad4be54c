use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use super::{Sink, Step, Stream, StreamState, Turn};

/// What others do with a stream than its driver.
impl Stream {
    /// Ends the stream, whoever drives it.
    pub(in crate::replay) fn terminate(&self) {
        let generation = self.lock().generation;
        self.abandon(generation);
    }

    /// Whether no client can have a cursor of this stream, and none is there.
    pub(in crate::replay) fn is_unheard(&self) -> bool {
        self.state() == StreamState::Detached && !self.has_spoken.load(Relaxed)
    }

    /// Ends the stream, if no client is there.
    pub(in crate::replay) fn terminate_detached(&self) {
        let state = self.lock();
        let generation = state.generation;
        let is_detached = self.state() == StreamState::Detached;
        drop(state);
        if is_detached {
            self.abandon(generation);
        }
    }

    /// Asks the client to come back after `retry`. A stream without a client is left alone.
    pub(in crate::replay) fn dismiss(&self, retry: Duration) {
        let mut state = self.lock();
        if self.state() != StreamState::Attached {
            return;
        }
        state.dismissed = Some(retry);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Looks after the stream, once per beat of the hub.
    pub(in crate::replay) fn beat(self: &Arc<Self>, now: u32) {
        let limits = self.hub.limits();
        match self.state() {
            StreamState::Attached => {
                let silence = || now.wrapping_sub(self.polled.load(Relaxed));
                let is_stalled = || limits.stall.is_some_and(|stall| silence() > stall);
                if is_stalled() {
                    // Its socket has been full for so long that nobody asks for more (C01).
                    let generation = self.lock().generation;
                    // Asked again: whoever has taken over meanwhile is no longer silent.
                    if is_stalled() {
                        tracing::debug!(stream = ?self.key, "client stalled");
                        self.hub.count_stalled();
                        self.detach(generation);
                    }
                    return;
                }
                let quiet = now.wrapping_sub(self.spoke.load(Relaxed));
                if let Some(polling) = limits.polling.filter(|polling| quiet >= polling.after)
                    && self.may_close_early
                {
                    self.dismiss(polling.retry);
                    return;
                }
                let reminded = now.wrapping_sub(self.reminded.load(Relaxed));
                let is_due = limits
                    .keep_alive
                    .is_some_and(|every| quiet.min(reminded) >= every);
                if is_due {
                    self.wants_keep_alive.store(true, Relaxed);
                }
                // A body that is polled when it is woken is not stalled, however quiet it is.
                if is_due || limits.stall.is_some_and(|stall| silence() > stall / 2) {
                    let waker = self.lock().waker.clone();
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            }
            StreamState::Detached | StreamState::Suspended => {
                let state = self.lock();
                let generation = state.generation;
                // Asked again, where it cannot change: a client may be back.
                let is_late = self.state() != StreamState::Attached
                    && now.wrapping_sub(state.since) > limits.detached;
                drop(state);
                if is_late {
                    tracing::debug!(stream = ?self.key, "nobody came back");
                    self.hub.count_lost();
                    self.abandon(generation);
                }
            }
            StreamState::Over => {}
        }
    }

    /// Drives a stream that has no client, for one turn.
    pub(in crate::replay) fn poll_alone(
        &self,
        generation: u32,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        let turn = ready!(self.poll(generation, Sink::Nobody, cx));
        let goes_on = matches!(
            turn,
            Turn::Step {
                step: Step::Data(_) | Step::Read(_) | Step::Trailers(_),
                ..
            }
        );
        if goes_on && !self.is_worth_draining(generation) {
            self.hub.count_lost();
            self.abandon(generation);
            return Poll::Ready(false);
        }
        Poll::Ready(goes_on)
    }

    /// The task that drove the stream alone is gone: ends the stream, unless it waits to be resumed, or
    /// somebody else drives it.
    pub(in crate::replay) fn release(&self, generation: u32) {
        if self.state() != StreamState::Suspended {
            self.abandon(generation);
        }
    }

    fn is_worth_draining(&self, generation: u32) -> bool {
        let state = self.lock();
        let Some(producer) = state
            .producer
            .as_ref()
            .filter(|_| state.generation == generation)
        else {
            return true;
        };
        let is_too_much = state.drained > self.hub.config.max_detached_bytes;
        producer.is_answered() || producer.outlives_client() && !is_too_much
    }
}
