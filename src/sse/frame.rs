use std::{borrow::Cow, fmt};

use bytes::{Bytes, BytesMut};

use super::{
    event::EventError,
    fields::Fields,
    line::{Field, Lines},
    rewrite,
};

/// What a [`Decoder`](super::Decoder) cuts an event stream into.
///
/// The raw bytes of all frames, one after another, are the stream without its byte order mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Bytes between events: whole comment lines, blank lines, and the LF of a CR LF whose CR was
    /// the last byte of the previous frame. A receiver does nothing on them.
    Comment(Bytes),
    /// A block of lines up to and including the blank line that ends it.
    Event(RawEvent),
}

impl Frame {
    /// The bytes as they were received.
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        match self {
            Self::Comment(raw) => raw,
            Self::Event(event) => event.raw(),
        }
    }

    /// The bytes as they were received.
    #[must_use]
    pub fn into_raw(self) -> Bytes {
        match self {
            Self::Comment(raw) => raw,
            Self::Event(event) => event.into_raw(),
        }
    }
}

/// A complete event, as the bytes that were received and where its fields lie in them.
///
/// The first line is a field line, the last one is blank; comments and unknown fields between them
/// are kept. A block without a `data` line is an event here too: it may carry an id or a delay
/// (`SWF-8`). Nothing is inherited from earlier events (`SWF-6`).
#[derive(Clone, PartialEq, Eq)]
pub struct RawEvent {
    raw: Bytes,
    fields: Fields,
}

impl RawEvent {
    #[inline]
    pub(super) fn new(raw: Bytes, fields: Fields) -> Self {
        Self { raw, fields }
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The bytes as they were received, including the blank line.
    #[inline]
    #[must_use]
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// The bytes as they were received, including the blank line.
    #[inline]
    #[must_use]
    pub fn into_raw(self) -> Bytes {
        self.raw
    }

    /// The last `id` whose value does not contain NUL.
    ///
    /// `Some(b"")` is an explicit empty id, which makes a client forget its cursor.
    #[inline]
    #[must_use]
    pub fn id(&self) -> Option<&[u8]> {
        self.fields.id.get(&self.raw)
    }

    /// The last `event`, even if it is empty.
    #[inline]
    #[must_use]
    pub fn event(&self) -> Option<&[u8]> {
        self.fields.event.get(&self.raw)
    }

    /// Whether a client hands this to its `message` listeners: the type is absent, empty or
    /// `message` (`SWF-10`). It may still be without data.
    #[inline]
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(self.event(), None | Some(b"" | b"message"))
    }

    /// Whether there is a `data` line. A client dispatches nothing for an event without one.
    #[inline]
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.fields.data_lines > 0
    }

    /// The values of the `data` lines, joined by LF; `None` if there is no such line.
    ///
    /// The value of a single line is borrowed. The bytes are not checked to be UTF-8.
    #[inline]
    #[must_use]
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let first = self.fields.data.get(&self.raw)?;
        if self.fields.data_lines == 1 {
            return Some(Cow::Borrowed(first));
        }
        Some(Cow::Owned(self.join_data()))
    }

    #[cold]
    fn join_data(&self) -> Vec<u8> {
        let mut joined = Vec::with_capacity(self.raw.len());
        let lines = Lines::new(&self.raw, self.data_line().unwrap_or_default());
        let data = lines.filter(|line| line.field() == Field::Data);
        for (nth, line) in data.enumerate() {
            if nth > 0 {
                joined.push(b'\n');
            }
            joined.extend_from_slice(line.value());
        }
        joined
    }

    /// Where the first `data` line starts.
    pub(super) fn data_line(&self) -> Option<usize> {
        let span = self.fields.data;
        self.has_data().then(|| span.line_start(&self.raw, b"data"))
    }

    /// The last `retry` whose value is a number, in milliseconds.
    ///
    /// Anything but ASCII digits is ignored (`SWF-7`); a number that does not fit is `u64::MAX`, so
    /// that a delay is never lowered (`S07`).
    #[must_use]
    pub fn retry(&self) -> Option<u64> {
        let digits = self.fields.retry.get(&self.raw)?;
        Some(digits.iter().fold(0, |millis: u64, digit| {
            let digit = u64::from(digit.wrapping_sub(b'0'));
            millis.saturating_mul(10).saturating_add(digit)
        }))
    }

    /// The lines, up to and including the blank one. Their bytes add up to [`raw`](Self::raw).
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        Lines::new(&self.raw, 0)
    }

    /// The same event under another id.
    ///
    /// The id stands where the first `id` line was, else before the first `data` line, else in
    /// front; further `id` lines are gone. Its line ends as its neighbour's does. All other bytes
    /// are as they were.
    ///
    /// # Errors
    ///
    /// Fails if `id` contains CR, LF or NUL.
    pub fn with_id(&self, id: &[u8]) -> Result<Bytes, EventError> {
        let mut out = BytesMut::new();
        self.write_with_id(id, &mut out)?;
        Ok(out.freeze())
    }

    /// Appends to `out` what [`with_id`](Self::with_id) returns.
    ///
    /// # Errors
    ///
    /// Fails if `id` contains CR, LF or NUL; `out` is then unchanged.
    pub fn write_with_id(&self, id: &[u8], out: &mut BytesMut) -> Result<(), EventError> {
        rewrite::write_with_id(self, id, out)
    }

    /// Appends to `out` what [`with_id`](Self::with_id) returns, for an id that is a legal one
    /// by its type.
    #[cfg(feature = "replay")]
    #[inline]
    pub(crate) fn push_with_id(&self, id: &[u8; super::EventId::LEN], out: &mut Vec<u8>) {
        rewrite::put_with_id(self, id, out);
    }

    /// Appends to `out` the event without its id.
    #[cfg(feature = "replay")]
    pub(crate) fn push_without_id(&self, out: &mut Vec<u8>) {
        rewrite::put_without_id(self, out);
    }

    /// The length of what [`push_with_id`](Self::push_with_id) appends, if the event has no id.
    #[cfg(feature = "replay")]
    #[inline]
    pub(crate) fn len_with_id(&self) -> usize {
        self.raw.len() + rewrite::overhead(&[0; super::EventId::LEN]) - 1
    }
}

/// Shows what the event is, not what it says.
impl fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawEvent")
            .field("len", &self.raw.len())
            .field("event", &self.event().map(String::from_utf8_lossy))
            .field("has_id", &self.id().is_some())
            .field("data_lines", &self.fields.data_lines)
            .finish_non_exhaustive()
    }
}
