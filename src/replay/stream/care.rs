use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use super::{Sink, Step, Stream, StreamState, Turn, held::Held};
use crate::replay::drain;

/// What others do with a stream than its driver.
impl Stream {
    /// The client of that generation is gone: goes on alone, if that has a purpose.
    pub(in crate::replay) fn detach(self: &Arc<Self>, generation: u32) {
        let held = self.lock();
        if held.generation == generation {
            self.leave(held);
        }
    }

    /// Goes on without the client, if that has a purpose.
    fn leave(self: &Arc<Self>, mut held: Held<'_>) {
        let state = &mut *held;
        let Some(producer) = &mut state.producer else {
            return;
        };
        if producer.suspended_at().is_some() {
            return;
        }
        if state.is_polling || !producer.outlives_client() || self.hub.closing().is_some() {
            return held.end();
        }
        if self.hub.may_wait(&self.owner) {
            self.drain(held, StreamState::Detached);
        } else {
            self.give_up(held);
        }
    }

    /// Lets go of the server, and tells whoever comes back.
    fn give_up(self: &Arc<Self>, mut held: Held<'_>) {
        let state = &mut *held;
        let Some(producer) = &mut state.producer else {
            return;
        };
        self.hub.count_lost();
        producer.as_mut().give_up();
        // At once, if the store can; a task for the rest.
        let mut cx = Context::from_waker(Waker::noop());
        state.is_polling = true;
        while let Poll::Ready(step) = producer.as_mut().poll_produce(Sink::Nobody, &mut cx) {
            if matches!(step, Step::Ended | Step::Failed(_) | Step::Suspended) {
                return held.end();
            }
        }
        state.is_polling = false;
        self.drain(held, StreamState::Closing);
    }

    /// Makes a task the driver.
    fn drain(self: &Arc<Self>, mut held: Held<'_>, mode: StreamState) {
        held.generation += 1;
        held.since = self.hub.now();
        held.drained = 0;
        self.dismissed.store(0, Relaxed);
        self.set_mode(mode);
        let generation = held.generation;
        drop(held);
        self.wake();
        self.hub.note_detached(self);
        self.runtime
            .spawn(drain::drain(Arc::clone(self), generation));
    }

    /// Whether no client can have a cursor of this stream, and none is there.
    pub(in crate::replay) fn is_unheard(&self) -> bool {
        self.state() == StreamState::Detached && !self.has_spoken.load(Relaxed)
    }

    /// Ends the stream, if no client is there.
    pub(in crate::replay) fn terminate_detached(&self) {
        let held = self.lock();
        if self.state() == StreamState::Detached {
            held.end();
        }
    }

    /// Asks the client to come back after `retry`. False if there is none.
    pub(in crate::replay) fn dismiss(&self, retry: Duration) -> bool {
        if self.state() != StreamState::Attached {
            return false;
        }
        let millis = u32::try_from(retry.as_millis()).unwrap_or(u32::MAX);
        self.dismissed.store(millis.saturating_add(1), Relaxed);
        self.wake();
        true
    }

    /// Looks after the stream, once per beat of the hub.
    pub(in crate::replay) fn beat(self: &Arc<Self>, now: u32) {
        match self.state() {
            StreamState::Attached => self.beat_attached(now),
            StreamState::Detached | StreamState::Suspended | StreamState::Closing => {
                self.beat_alone(now);
            }
            StreamState::Over => {}
        }
    }

    fn beat_attached(self: &Arc<Self>, now: u32) {
        let limits = self.hub.limits();
        let silence = || now.wrapping_sub(self.polled.load(Relaxed));
        if limits.stall.is_some_and(|stall| silence() > stall) {
            // Its socket has been full for so long that nobody asks for more (C01). Asked again,
            // because whoever has taken over meanwhile is not silent.
            let held = self.lock();
            if self.state() == StreamState::Attached
                && limits.stall.is_some_and(|stall| silence() > stall)
            {
                tracing::debug!(stream = ?self.key, "client stalled");
                self.hub.count_stalled();
                self.leave(held);
            }
            return;
        }
        let since = |time: u32| now.wrapping_sub(time);
        let polling = limits.polling.filter(|_| self.may_close_early);
        if let Some(polling) = polling
            && since(self.heard.load(Relaxed)) >= polling.after
        {
            self.dismiss(polling.retry);
            return;
        }
        let quiet = since(self.spoke.load(Relaxed)).min(since(self.reminded.load(Relaxed)));
        let is_due = limits.keep_alive.is_some_and(|every| quiet >= every);
        if is_due {
            self.wants_keep_alive.store(true, Relaxed);
        }
        // A body that is polled when it is woken is not stalled, however quiet it is.
        if is_due || limits.stall.is_some_and(|stall| silence() > stall / 2) {
            self.wake();
        }
    }

    fn beat_alone(self: &Arc<Self>, now: u32) {
        let held = self.lock();
        let Some(producer) = &held.producer else {
            return;
        };
        if now.wrapping_sub(held.since) <= self.hub.limits().detached {
            return;
        }
        match self.state() {
            StreamState::Attached | StreamState::Over => {}
            StreamState::Closing => held.end(),
            StreamState::Detached | StreamState::Suspended => {
                if !producer.is_answered() {
                    tracing::debug!(stream = ?self.key, "nobody came back");
                    self.give_up(held);
                }
            }
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
        if goes_on {
            self.limit(generation);
        }
        Poll::Ready(goes_on)
    }

    /// Gives a stream up that is not worth more, or cannot be recorded.
    fn limit(&self, generation: u32) {
        let mut held = self.lock();
        let state = &mut *held;
        if state.generation != generation {
            return;
        }
        let Some(producer) = &mut state.producer else {
            return;
        };
        if self.hub.closing().is_some() || !producer.is_recording() {
            held.end();
        } else if state.drained > self.hub.config.max_detached_bytes && !producer.is_answered() {
            self.hub.count_lost();
            state.drained = 0;
            producer.as_mut().give_up();
        }
    }

    /// The task that drove the stream alone is gone. Ends a stream whose last response was all that was
    /// worth waiting for, and one whose body has panicked (C54). One whose runtime shuts down waits for
    /// its client, as one does that the server has suspended.
    pub(in crate::replay) fn release(&self, generation: u32, is_done: bool) {
        let held = self.lock();
        let is_over = held.is_polling || is_done && self.state() != StreamState::Suspended;
        if held.generation == generation && is_over {
            held.end();
        }
    }
}
