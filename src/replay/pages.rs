use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;

use super::expect::{About, Expect};
use crate::{
    sse::StreamKey,
    store::{End, EventStore, Owner, Page, StoreError, StoreErrorKind},
};

/// Reads a log from a place on, page by page, and never skips anything in silence.
pub(super) struct Pages<T: EventStore> {
    store: T,
    stream: StreamKey,
    owner: Owner,
    /// The number of the last event that was handed out.
    after: u64,
    page: Option<Page>,
    about: Bytes,
    reading: Option<T::Read>,
}

/// What a read brought.
#[derive(Debug)]
pub(super) enum Read {
    /// Events, and the number of the last of them.
    Events(Bytes, u64),
    /// The events up to that number are no longer kept.
    Gap { floor: u64 },
    /// There are no more events, for now or for good.
    CaughtUp(Option<End>),
}

/// About as many bytes are read at once.
pub(super) const PAGE_BYTES: usize = 64 * 1024;

impl<T: EventStore> Pages<T> {
    /// Begins with `page`, which was read after `after`.
    pub(super) fn new(store: T, stream: StreamKey, owner: Owner, after: u64, page: Page) -> Self {
        let about = page.about().clone();
        Self {
            store,
            stream,
            owner,
            after,
            // A page that is one large event is read again when somebody asks for it: who never does
            // must not hold it meanwhile.
            page: Some(page).filter(|page| page.events().len() <= PAGE_BYTES),
            about,
            reading: None,
        }
    }

    /// The number of the last event that was handed out, or skipped.
    pub(super) const fn after(&self) -> u64 {
        self.after
    }

    pub(super) fn skip_to(&mut self, after: u64) {
        self.after = after;
    }

    pub(super) fn watch(&self) -> T::Watch {
        self.store.watch(self.stream, self.owner, self.after)
    }
}

/// [`Pages`] of any store.
pub(super) trait Backlog: Send {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, StoreError>>;

    /// Goes on after that number, whatever is missing before.
    fn skip_to(&mut self, after: u64);

    /// The requests that the stream answers.
    fn expected(&self) -> Expect;
}

impl<T: EventStore> Backlog for Pages<T> {
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Read, StoreError>> {
        let page = match self.page.take() {
            Some(page) => page,
            None => {
                let Self {
                    store,
                    stream,
                    owner,
                    after,
                    ..
                } = self;
                let reading = self
                    .reading
                    .get_or_insert_with(|| store.read(*stream, *owner, *after, PAGE_BYTES));
                let page = ready!(Pin::new(reading).poll(cx));
                self.reading = None;
                page?
            }
        };
        let next = self.after + 1;
        if page.floor() > next {
            // Read again from there: what is on this page may be gone meanwhile, too.
            return Poll::Ready(Ok(Read::Gap {
                floor: page.floor(),
            }));
        }
        let Some((first, last)) = page.first().zip(page.last()) else {
            if page.tail() != self.after {
                return Poll::Ready(Err(StoreErrorKind::Corrupt.into()));
            }
            return Poll::Ready(Ok(Read::CaughtUp(page.end())));
        };
        if first != next {
            return Poll::Ready(Err(StoreErrorKind::Corrupt.into()));
        }
        self.after = last;
        if last == page.tail() {
            // The next look need not ask the store.
            let rest = Page::new(last + 1, last).with_end(page.end());
            self.page = Some(rest);
        }
        Poll::Ready(Ok(Read::Events(page.into_events(), last)))
    }

    fn skip_to(&mut self, after: u64) {
        Self::skip_to(self, after);
    }

    fn expected(&self) -> Expect {
        About::decode(&self.about).1
    }
}
