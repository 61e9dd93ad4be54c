use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::{
    BodyError, BodyErrorKind,
    expect::{About, Expect},
    pages::{Backlog as _, Pages, Read},
    produce::{Produce, Sink, Step},
    source::Connect,
    synthetic::{self, GapReason},
};
use crate::{
    sse::{Decoder, Frame},
    store::{End, EventStore, StoreError, StoreErrorKind},
};

/// Reads a stream that is over, or that somebody else drives, from its log alone.
pub(super) struct Tail<T: EventStore> {
    pages: Pages<T>,
    watching: Option<T::Watch>,
    about: About,
    expect: Expect,
    is_over: bool,
}

impl<T: EventStore> Tail<T> {
    pub(super) const fn new(pages: Pages<T>, about: About, expect: Expect) -> Self {
        Self {
            pages,
            watching: None,
            about,
            expect,
            is_over: false,
        }
    }

    /// What is missing, said in the stream; the end, if that means that the response is missing.
    fn gap(&mut self, floor: u64) -> Step {
        let from = self.pages.after() + 1;
        if self.about.awaits_response() {
            return self.forgotten();
        }
        self.pages.skip_to(floor - 1);
        Step::Data(synthetic::gap(from, Some(floor), GapReason::Evicted))
    }

    fn failed(&mut self, error: StoreError) -> Step {
        if error.kind() != StoreErrorKind::NotFound {
            return Step::Failed(BodyError::new(BodyErrorKind::Store, error));
        }
        // Forgotten as a whole while it was read. Of a session that is over, nobody gets this far.
        if self.about.awaits_response() {
            return self.forgotten();
        }
        self.is_over = true;
        let from = self.pages.after() + 1;
        Step::Data(synthetic::gap(from, None, GapReason::Evicted))
    }

    /// The end, for a client that waits for responses: an error for each that it has not had.
    fn forgotten(&mut self) -> Step {
        self.is_over = true;
        let errors = synthetic::forgotten(self.expect.ids());
        if errors.is_empty() {
            return Step::Ended;
        }
        Step::Data(errors)
    }

    /// Takes note of the responses among `events`: who has those is not told that they are missing.
    fn note(&mut self, events: &Bytes) {
        let mut decoder = Decoder::new();
        let mut events = events.clone();
        while self.expect.is_open()
            && let Ok(Some(frame)) = decoder.decode(&mut events)
        {
            if let Frame::Event(event) = frame
                && let Some(data) = event.data()
            {
                self.expect.note(&data);
            }
        }
    }

    fn cut_short(&mut self) -> Step {
        self.is_over = true;
        if self.about.awaits_response() {
            let errors = synthetic::broken_off(self.expect.ids());
            if errors.is_empty() {
                return Step::Ended;
            }
            return Step::Data(errors);
        }
        let from = self.pages.after() + 1;
        Step::Data(synthetic::gap(from, None, GapReason::Lost))
    }
}

/// Nothing in it is pinned: the futures of a store need not be.
impl<T: EventStore> Unpin for Tail<T> {}

impl<T: EventStore> Produce for Tail<T> {
    fn poll_produce(mut self: Pin<&mut Self>, _: Sink, cx: &mut Context<'_>) -> Poll<Step> {
        loop {
            if self.is_over {
                return Poll::Ready(Step::Ended);
            }
            if let Some(watch) = &mut self.watching {
                let watched = ready!(Pin::new(watch).poll(cx));
                self.watching = None;
                if let Err(error) = watched {
                    return Poll::Ready(self.failed(error));
                }
            }
            match ready!(self.pages.poll_read(cx)) {
                Ok(Read::Events(events, _)) => {
                    self.note(&events);
                    return Poll::Ready(Step::Data(events));
                }
                Ok(Read::Gap { floor }) => return Poll::Ready(self.gap(floor)),
                Ok(Read::CaughtUp(None)) => {
                    let watch = self.pages.watch();
                    self.watching = Some(watch);
                }
                Ok(Read::CaughtUp(Some(end))) => {
                    if end == End::Lost {
                        return Poll::Ready(self.cut_short());
                    }
                    self.is_over = true;
                    if end == End::Failed && !self.about.awaits_response() {
                        // As it was for those who were there.
                        let error = BodyErrorKind::Inner.into();
                        return Poll::Ready(Step::Failed(error));
                    }
                }
                Err(error) => return Poll::Ready(self.failed(error)),
            }
        }
    }

    fn recorded(&self) -> u64 {
        self.pages.after()
    }

    fn has_log(&self) -> bool {
        true
    }

    fn outlives_client(&self) -> bool {
        false
    }

    fn is_answered(&self) -> bool {
        false
    }

    fn is_recording(&self) -> bool {
        true
    }

    fn give_up(self: Pin<&mut Self>) {}

    fn suspended_at(&self) -> Option<&[u8]> {
        None
    }

    fn reopen(self: Pin<&mut Self>, _: Connect) {}
}
