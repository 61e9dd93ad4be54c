use bytes::{Bytes, BytesMut};

use super::{End, StoreError, StoreErrorKind};

/// Consecutive events of one stream, and what the stream looked like when they were read.
///
/// ```
/// use shadowcat::store::Page;
///
/// // Of a stream that has events 3 to 9.
/// let mut page = Page::new(3, 9);
/// page.push(5, b"data: five\n\n")?;
/// page.push(6, b"data: six\n\n")?;
/// assert!(page.push(8, b"data: eight\n\n").is_err(), "nothing is left out in silence");
///
/// assert_eq!(page.first(), Some(5));
/// assert_eq!(page.last(), Some(6));
/// assert_eq!(page.events(), b"data: five\n\ndata: six\n\n");
/// # Ok::<(), shadowcat::store::StoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    floor: u64,
    tail: u64,
    end: Option<End>,
    about: Bytes,
    first: u64,
    count: u64,
    events: BytesMut,
}

impl Page {
    /// A page without events, of a stream whose oldest event that is kept is number `floor`, and whose
    /// last is number `tail`: `floor` is `tail + 1` if none is kept.
    #[must_use]
    pub fn new(floor: u64, tail: u64) -> Self {
        Self {
            floor,
            tail,
            end: None,
            about: Bytes::new(),
            first: 0,
            count: 0,
            events: BytesMut::new(),
        }
    }

    /// Says that the stream has ended; `None` takes that back.
    #[must_use]
    pub fn with_end(mut self, end: impl Into<Option<End>>) -> Self {
        self.end = end.into();
        self
    }

    /// Adds what the stream was [opened](super::EventStore::open) with.
    #[must_use]
    pub fn with_about(mut self, about: impl Into<Bytes>) -> Self {
        self.about = about.into();
        self
    }

    /// Adds an event.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it does not follow the last one, or is not between floor and tail.
    pub fn push(&mut self, sequence: u64, event: &[u8]) -> Result<(), StoreError> {
        self.push_all(sequence, 1, event)
    }

    /// Adds `count` events that follow one another, as their bytes together.
    ///
    /// # Errors
    ///
    /// Like [`push`](Self::push).
    pub fn push_all(&mut self, first: u64, count: u64, events: &[u8]) -> Result<(), StoreError> {
        let follows = self.count == 0 || first == self.first + self.count;
        let is_kept = first >= self.floor
            && first
                .checked_add(count)
                .is_some_and(|end| end <= self.tail.saturating_add(1));
        if !follows || !is_kept {
            return Err(StoreErrorKind::Corrupt.into());
        }
        if self.count == 0 {
            self.first = first;
        }
        self.count += count;
        self.events.extend_from_slice(events);
        Ok(())
    }

    /// The number of the oldest event that is kept, or one more than the tail.
    #[must_use]
    pub const fn floor(&self) -> u64 {
        self.floor
    }

    /// The number of the stream's last event; 0 before the first.
    #[must_use]
    pub const fn tail(&self) -> u64 {
        self.tail
    }

    /// Why the stream has no more events than these; `None` while it may.
    #[must_use]
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// What the stream was opened with.
    #[must_use]
    pub const fn about(&self) -> &Bytes {
        &self.about
    }

    /// The number of the first event on this page.
    #[must_use]
    pub const fn first(&self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        Some(self.first)
    }

    /// The number of the last event on this page.
    #[must_use]
    pub const fn last(&self) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        Some(self.first + self.count - 1)
    }

    /// The bytes of all events.
    #[must_use]
    pub fn events(&self) -> &[u8] {
        &self.events
    }

    /// The bytes of all events.
    #[must_use]
    pub fn into_events(self) -> Bytes {
        self.events.freeze()
    }
}
