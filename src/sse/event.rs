use std::{error::Error, fmt, time::Duration};

use bytes::Bytes;
use memchr::{memchr, memchr2};

/// The longest event type that [`Event::new`] takes, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// An event to write.
///
/// It has at least one field, and encodes to exactly one block: what cannot be written is refused
/// when it is set (`S21`). Data may hold any bytes; each line of it becomes a `data` line (`S20`).
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    pub(super) id: Option<Bytes>,
    pub(super) name: Option<Bytes>,
    pub(super) retry: Option<u64>,
    pub(super) data: Option<Bytes>,
}

impl Event {
    const EMPTY: Self = Self {
        id: None,
        name: None,
        retry: None,
        data: None,
    };

    /// An event of the default type.
    #[must_use]
    pub fn message(data: impl Into<Bytes>) -> Self {
        Self {
            data: Some(data.into()),
            ..Self::EMPTY
        }
    }

    /// An event of type `name`.
    ///
    /// # Errors
    ///
    /// Fails if `name` contains CR, LF or NUL, or is longer than 1 KiB (`S12`).
    pub fn new(name: impl Into<Bytes>, data: impl Into<Bytes>) -> Result<Self, EventError> {
        let name = name.into();
        if name.len() > MAX_NAME_BYTES {
            return Err(EventErrorKind::NameTooLong.into());
        }
        if !is_writable(&name) {
            return Err(EventErrorKind::InvalidName.into());
        }
        Ok(Self {
            name: Some(name),
            ..Self::message(data)
        })
    }

    /// An event that gives the client a cursor before there is anything to say: an id with an empty
    /// data line, without which some clients lose the id (`SWF-8`).
    ///
    /// # Errors
    ///
    /// Fails if `id` contains CR, LF or NUL.
    pub fn priming(id: impl Into<Bytes>) -> Result<Self, EventError> {
        Self::message(Bytes::new()).with_id(id)
    }

    /// A block that only sets how long the client waits before it reconnects. It has no data, so
    /// the client dispatches nothing.
    #[must_use]
    pub fn retry(delay: Duration) -> Self {
        Self::EMPTY.with_retry(delay)
    }

    /// Replaces the id.
    ///
    /// # Errors
    ///
    /// Fails if `id` contains CR, LF or NUL.
    pub fn with_id(mut self, id: impl Into<Bytes>) -> Result<Self, EventError> {
        let id = id.into();
        check_id(&id)?;
        self.id = Some(id);
        Ok(self)
    }

    /// Replaces the reconnection delay, which is written in whole milliseconds.
    #[must_use]
    pub fn with_retry(mut self, delay: Duration) -> Self {
        self.retry = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

/// Shows what the event is, not what it says.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            name,
            retry,
            data,
        } = self;
        f.debug_struct("Event")
            .field("has_id", &id.is_some())
            .field("name", name)
            .field("retry", retry)
            .field("data_len", &data.as_ref().map(Bytes::len))
            .finish()
    }
}

fn is_writable(value: &[u8]) -> bool {
    memchr2(b'\r', b'\n', value).is_none() && memchr(0, value).is_none()
}

pub(super) fn check_id(id: &[u8]) -> Result<(), EventError> {
    if is_writable(id) {
        Ok(())
    } else {
        Err(EventErrorKind::InvalidId.into())
    }
}

/// A field that cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventError {
    kind: EventErrorKind,
}

/// What is wrong with the field of an [`EventError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventErrorKind {
    /// The id contains CR, LF or NUL.
    InvalidId,
    /// The event type contains CR, LF or NUL.
    InvalidName,
    /// The event type is longer than 1 KiB.
    NameTooLong,
}

impl EventError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> EventErrorKind {
        self.kind
    }
}

impl From<EventErrorKind> for EventError {
    fn from(kind: EventErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            EventErrorKind::InvalidId => "event id contains CR, LF or NUL",
            EventErrorKind::InvalidName => "event type contains CR, LF or NUL",
            EventErrorKind::NameTooLong => "event type is longer than 1 KiB",
        })
    }
}

impl Error for EventError {}
