use std::{error::Error, fmt, mem};

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
    /// The unfinished event or comment line: own memory, because a slice would keep the whole
    /// transport buffer alive. Every byte in here has been scanned.
    held: Vec<u8>,
    /// What the whole lines of the event in `held` contain.
    fields: Fields,
    /// Where its unfinished line starts in `held`; like the cap, it has 32 bits.
    line: u32,
    /// How many bytes of a leading byte order mark were seen; `None` after it.
    bom: Option<u8>,
    max_event_bytes: u32,
    failed: bool,
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
            held: Vec::new(),
            fields: Fields::NONE,
            line: 0,
            bom: Some(0),
            max_event_bytes: if max < CEILING { max as u32 } else { u32::MAX },
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
        if self.held.is_empty() {
            self.start(chunk)
        } else {
            self.resume(chunk)
        }
    }

    /// How many bytes of an unfinished event or comment line are held: at most the cap.
    #[must_use]
    pub fn partial_len(&self) -> usize {
        self.held.len() + self.bom.map_or(0, usize::from)
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
        self.fields = fields;
        self.line = line as u32;
        self.hold(chunk, chunk.len())?;
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
            self.hold(chunk, chunk.len())?;
            return Ok(None);
        }
        Ok(Some(Frame::Comment(chunk.split_to(end))))
    }

    /// Something is held: `chunk` continues it. Each byte is scanned and copied once (`S16`).
    fn resume(&mut self, chunk: &mut Bytes) -> Result<Option<Frame>, DecodeError> {
        // An event starts with a field line, so a colon in front is a comment between events.
        let is_comment = self.held.first() == Some(&b':');
        if self.held.last() == Some(&CR) && chunk.first() == Some(&LF) {
            // SWF-3, S02: not an empty line, but the rest of the last terminator.
            self.hold(chunk, 1)?;
            self.line = self.held.len() as u32;
        }
        while !chunk.is_empty() {
            let Some(len) = memchr2(CR, LF, chunk) else {
                self.hold(chunk, chunk.len())?;
                break;
            };
            let next = next_line(chunk, len);
            if is_comment {
                self.check(self.held.len() + len)?;
                self.append(chunk, next);
                return Ok(Some(Frame::Comment(self.take_held())));
            }
            if len == 0 && self.line as usize == self.held.len() {
                self.append(chunk, next);
                let raw = self.take_held();
                return Ok(Some(Frame::Event(RawEvent::new(raw, self.fields))));
            }
            self.hold(chunk, next)?;
            let end = self.held.len() - (next - len);
            self.fields.record(&self.held, self.line as usize, end);
            self.line = self.held.len() as u32;
        }
        Ok(None)
    }

    /// Moves `len` bytes from `chunk` to `held`, if the cap allows.
    fn hold(&mut self, chunk: &mut Bytes, len: usize) -> Result<(), DecodeError> {
        self.check(self.held.len().saturating_add(len))?;
        self.append(chunk, len);
        Ok(())
    }

    fn append(&mut self, chunk: &mut Bytes, len: usize) {
        if self.held.capacity() - self.held.len() < len {
            self.grow(len);
        }
        self.held.extend_from_slice(&chunk[..len]);
        chunk.advance(len);
    }

    /// Doubles, for linear time, but not beyond the cap.
    #[cold]
    fn grow(&mut self, more: usize) {
        let double = self.held.capacity().saturating_mul(2).max(256);
        let needed = self.held.len() + more;
        let target = double.min(self.cap()).max(needed);
        self.held.reserve_exact(target - self.held.len());
    }

    /// Hands out what is held, in memory of just that size.
    fn take_held(&mut self) -> Bytes {
        Bytes::from(mem::take(&mut self.held).into_boxed_slice())
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
                self.hold(&mut Bytes::from_static(BOM), usize::from(seen))?;
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
        self.held = Vec::new();
        Err(self.error())
    }

    #[cold]
    fn error(&self) -> DecodeError {
        DecodeError { limit: self.cap() }
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
