use std::{error::Error, fmt};

use bytes::{Buf, Bytes};
use memchr::memchr2;

use super::{
    fields::Fields,
    frame::{Frame, RawEvent},
    line::{CR, LF, next_line},
};

/// The cap of [`Decoder::new`]: 16 MiB.
pub const DEFAULT_MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// Cuts an event stream into [`Frame`]s, as its bytes arrive.
///
/// See the [module docs](super). One decoder serves one stream; at the end of the stream drop it,
/// and with it the unfinished event, which must never be dispatched (`SWF-9`).
pub struct Decoder {
    partial: Option<Box<Partial>>,
    max_event_bytes: u32,
    /// How many bytes of a leading byte order mark were seen; `None` after it.
    bom: Option<u8>,
    failed: bool,
}

/// An unfinished event or comment line, which is not empty.
///
/// Boxed, because most events come whole, and each open stream would have to keep the place.
struct Partial {
    /// Own memory, because a slice would keep the whole transport buffer alive. Every byte in here has
    /// been scanned.
    bytes: Vec<u8>,
    /// What the whole lines of the event in `bytes` contain.
    fields: Fields,
    /// Where its unfinished line starts; like the cap, it has 32 bits.
    line: u32,
}

impl Decoder {
    /// A decoder that takes events of up to [`DEFAULT_MAX_EVENT_BYTES`].
    #[must_use]
    pub const fn new() -> Self {
        Self::with_max_event_bytes(DEFAULT_MAX_EVENT_BYTES)
    }

    /// A decoder that takes events of up to `max` bytes, but no more than `u32::MAX`.
    ///
    /// Counted are all raw bytes of the event, comments in it too, without the blank line that ends
    /// it. Between events, each comment line counts alone, without its terminator.
    #[must_use]
    pub const fn with_max_event_bytes(max: usize) -> Self {
        const CEILING: usize = u32::MAX as usize;
        Self {
            partial: None,
            max_event_bytes: if max < CEILING { max as u32 } else { u32::MAX },
            bom: Some(0),
            failed: false,
        }
    }

    /// Lets go of what is held, for another stream.
    #[cfg(feature = "replay")]
    pub(crate) fn reset(&mut self) {
        *self = Self::with_max_event_bytes(self.cap());
    }

    #[inline]
    const fn cap(&self) -> usize {
        self.max_event_bytes as usize
    }

    /// Takes from the front of `chunk` what completes the next frame.
    ///
    /// `None` says that `chunk` is used up. A frame that lies wholly in `chunk` is a slice of it;
    /// one that began in an earlier chunk is put together in memory of its own.
    ///
    /// # Errors
    ///
    /// Fails once an event, or a comment line, is larger than the cap. The decoder lets go of what
    /// it held, and every later call fails as well.
    #[inline]
    pub fn decode(&mut self, chunk: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
        if self.failed {
            return Err(self.error());
        }
        if self.bom.is_some() {
            self.skip_bom(chunk)?;
        }
        match self.partial.take() {
            None => self.start(chunk),
            Some(partial) => self.resume(partial, chunk),
        }
    }

    /// How many bytes of an unfinished event or comment line are held: at most the cap.
    #[must_use]
    pub fn partial_len(&self) -> usize {
        let held = self.partial.as_ref();
        held.map_or(0, |partial| partial.bytes.len()) + self.bom.map_or(0, usize::from)
    }

    /// Whether nothing is held, so that the stream may end here without losing anything.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.partial_len() == 0
    }

    /// Nothing is held: the next frame starts where `chunk` does.
    fn start(&mut self, chunk: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
        let bytes: &[u8] = chunk;
        if let Some(b':' | &CR | &LF) = bytes.first() {
            return self.take_comments(chunk);
        }
        let mut fields = Fields::NONE;
        let mut line = 0;
        while let Some(&first) = bytes.get(line) {
            if first == LF || first == CR {
                let next = next_line(bytes, line);
                self.check(line)?;
                let raw = chunk.split_to(next);
                return Ok(Some(Frame::Event(RawEvent::new(raw, fields))));
            }
            let Some(len) = memchr2(CR, LF, &bytes[line..]) else {
                break;
            };
            fields.record(bytes, line, line + len);
            line = next_line(bytes, line + len);
        }
        self.hold(chunk, fields, line as u32)?;
        Ok(None)
    }

    /// Takes the comments and blank lines at the front of `chunk`. An LF may also be the rest of a
    /// terminator whose CR has left already; that changes nothing.
    fn take_comments(&mut self, chunk: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
        let bytes: &[u8] = chunk;
        let mut end = 0;
        loop {
            match bytes.get(end) {
                Some(&(CR | LF)) => end = next_line(bytes, end),
                Some(b':') => match memchr2(CR, LF, &bytes[end..]) {
                    Some(len) if len <= self.cap() => end = next_line(bytes, end + len),
                    // Unfinished, or too long: the lines before it leave first.
                    _ => break,
                },
                _ => break,
            }
        }
        if end == 0 {
            self.hold(chunk, Fields::NONE, 0)?;
            return Ok(None);
        }
        Ok(Some(Frame::Comment(chunk.split_to(end))))
    }

    /// Holds all of `chunk`, whose first lines contain `fields`, if the cap allows.
    fn hold(&mut self, chunk: &mut Bytes, fields: Fields, line: u32) -> Result<(), DecodeError> {
        self.check(chunk.len())?;
        if !chunk.is_empty() {
            let mut partial = Box::new(Partial {
                bytes: Vec::new(),
                fields,
                line,
            });
            partial.append(chunk, chunk.len(), self.cap());
            self.partial = Some(partial);
        }
        Ok(())
    }

    /// Something was held: `chunk` continues it. Each byte is scanned and copied once (`S16`).
    fn resume(
        &mut self,
        mut partial: Box<Partial>,
        chunk: &mut Bytes,
    ) -> Result<Option<Frame>, DecodeError> {
        let cap = self.cap();
        // An event starts with a field line, so a colon in front is a comment between events.
        let is_comment = partial.bytes.first() == Some(&b':');
        if partial.bytes.last() == Some(&CR) && chunk.first() == Some(&LF) {
            // SWF-3, S02: not an empty line, but the rest of the last terminator.
            self.check(partial.bytes.len() + 1)?;
            partial.append(chunk, 1, cap);
            partial.line = partial.bytes.len() as u32;
        }
        while !chunk.is_empty() {
            let held = partial.bytes.len();
            let Some(len) = memchr2(CR, LF, chunk) else {
                self.check(held.saturating_add(chunk.len()))?;
                partial.append(chunk, chunk.len(), cap);
                break;
            };
            let next = next_line(chunk, len);
            if is_comment {
                self.check(held + len)?;
                partial.append(chunk, next, cap);
                return Ok(Some(Frame::Comment(partial.into_bytes())));
            }
            if len == 0 && partial.line as usize == held {
                partial.append(chunk, next, cap);
                let fields = partial.fields;
                let raw = partial.into_bytes();
                return Ok(Some(Frame::Event(RawEvent::new(raw, fields))));
            }
            self.check(held.saturating_add(next))?;
            partial.append(chunk, next, cap);
            let end = held + len;
            let Partial {
                bytes,
                fields,
                line,
            } = &mut *partial;
            fields.record(bytes, *line as usize, end);
            *line = bytes.len() as u32;
        }
        self.partial = Some(partial);
        Ok(None)
    }

    /// Skips a byte order mark, which may be split over chunks (`SWF-2`, `S03`).
    #[cold]
    fn skip_bom(&mut self, chunk: &mut Bytes) -> Result<(), DecodeError> {
        while let Some(seen) = self.bom
            && let Some(&byte) = chunk.first()
        {
            if byte == BOM[usize::from(seen)] {
                chunk.advance(1);
                self.bom = Some(seen + 1).filter(|&seen| usize::from(seen) < BOM.len());
            } else {
                // What looked like one is the start of a line.
                self.bom = None;
                let start = &BOM[..usize::from(seen)];
                self.hold(&mut Bytes::from_static(start), Fields::NONE, 0)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn check(&mut self, len: usize) -> Result<(), DecodeError> {
        if len <= self.cap() {
            return Ok(());
        }
        self.failed = true;
        self.bom = None;
        self.partial = None;
        Err(self.error())
    }

    #[cold]
    fn error(&self) -> DecodeError {
        DecodeError { limit: self.cap() }
    }
}

impl Partial {
    fn append(&mut self, chunk: &mut Bytes, len: usize, cap: usize) {
        if self.bytes.capacity() - self.bytes.len() < len {
            self.grow(len, cap);
        }
        self.bytes.extend_from_slice(&chunk[..len]);
        chunk.advance(len);
    }

    /// Doubles, for linear time, but not beyond the cap.
    #[cold]
    fn grow(&mut self, more: usize, cap: usize) {
        let double = self.bytes.capacity().saturating_mul(2).max(256);
        let needed = self.bytes.len() + more;
        let target = double.min(cap).max(needed);
        self.bytes.reserve_exact(target - self.bytes.len());
    }

    /// The bytes, in memory of just that size.
    fn into_bytes(self) -> Bytes {
        Bytes::from(self.bytes.into_boxed_slice())
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder")
            .field("partial_len", &self.partial_len())
            .field("max_event_bytes", &self.max_event_bytes)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

/// An event was larger than the cap of its [`Decoder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    limit: usize,
}

impl DecodeError {
    /// The cap in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server-sent event is larger than {} bytes", self.limit)
    }
}

impl Error for DecodeError {}

#[cfg(test)]
mod tests;
