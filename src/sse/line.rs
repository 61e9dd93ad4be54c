use std::{fmt, iter::FusedIterator, ops::Range};

use memchr::memchr2;

pub(super) const LF: u8 = b'\n';
pub(super) const CR: u8 = b'\r';

/// What a line of an event stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// An `id` line, also one whose value contains NUL and is therefore ignored.
    Id,
    /// An `event` line.
    Event,
    /// A `data` line.
    Data,
    /// A `retry` line, also one whose value is not a number.
    Retry,
    /// A comment: the line starts with a colon.
    Comment,
    /// The empty line that ends a block.
    Blank,
    /// A field that receivers ignore.
    Other,
}

impl Field {
    /// Classifies a line without its terminator, and says where its value starts.
    ///
    /// The value is only located for the four known fields. Names are case-sensitive; a line without
    /// a colon is all name; exactly one space is removed (`SWF-4`).
    #[inline(always)]
    pub(super) fn parse(line: &[u8]) -> (Self, usize) {
        let (field, name) = match line {
            [b'd', b'a', b't', b'a', ..] => (Self::Data, 4),
            [b'i', b'd', ..] => (Self::Id, 2),
            [b'e', b'v', b'e', b'n', b't', ..] => (Self::Event, 5),
            [b'r', b'e', b't', b'r', b'y', ..] => (Self::Retry, 5),
            [b':', ..] => return (Self::Comment, 1),
            [] => return (Self::Blank, 0),
            _ => return (Self::Other, 0),
        };
        match &line[name..] {
            [b':', b' ', ..] => (field, name + 2),
            [b':', ..] => (field, name + 1),
            [] => (field, name),
            _ => (Self::Other, 0),
        }
    }
}

/// The start of the line after the terminator at `end`.
///
/// A CR that is the last byte ends its line at once (`SWF-3`).
#[inline]
pub(super) fn next_line(bytes: &[u8], end: usize) -> usize {
    let crlf = bytes[end] == CR && bytes.get(end + 1) == Some(&LF);
    end + 1 + usize::from(crlf)
}

/// One line of a [`RawEvent`](super::RawEvent).
#[derive(Clone)]
pub struct Line<'a> {
    field: Field,
    bytes: &'a [u8],
    start: usize,
    /// Where the value starts in `bytes`, if the field has one.
    value: usize,
    /// Length without the terminator.
    content: usize,
}

impl<'a> Line<'a> {
    /// What the line is.
    #[must_use]
    pub fn field(&self) -> Field {
        self.field
    }

    /// The line with its terminator.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The value of a field that [`Field::parse`] knows.
    pub(super) fn value(&self) -> &'a [u8] {
        &self.bytes[self.value..self.content]
    }

    /// The terminator alone: LF, CR or CR LF.
    #[must_use]
    pub fn terminator(&self) -> &'a [u8] {
        &self.bytes[self.content..]
    }

    /// Where the line, with its terminator, lies in the raw bytes of the event.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("field", &self.field)
            .field("range", &self.range())
            .finish_non_exhaustive()
    }
}

/// Iterator over the lines of a [`RawEvent`](super::RawEvent), made by
/// [`RawEvent::lines`](super::RawEvent::lines).
#[derive(Clone)]
pub struct Lines<'a> {
    raw: &'a [u8],
    next: usize,
}

impl<'a> Lines<'a> {
    /// Starts at `from`, which must be the start of a line.
    pub(super) fn new(raw: &'a [u8], from: usize) -> Self {
        Self { raw, next: from }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.next;
        let rest = self.raw.get(start..)?;
        let content = memchr2(CR, LF, rest)?;
        self.next = next_line(self.raw, start + content);
        let (field, value) = Field::parse(&rest[..content]);
        Some(Line {
            field,
            bytes: &rest[..self.next - start],
            start,
            value,
            content,
        })
    }
}

impl FusedIterator for Lines<'_> {}

impl fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("len", &self.raw.len())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_apart_by_their_whole_name() {
        // SWF-4, S08, S09: (line, what it is, its value).
        let table: &[(&[u8], Field, &[u8])] = &[
            (b"data: x", Field::Data, b"x"),
            (b"data:x", Field::Data, b"x"),
            (b"data:  x", Field::Data, b" x"),
            (b"data:\tx", Field::Data, b"\tx"),
            (b"data", Field::Data, b""),
            (b"data:", Field::Data, b""),
            (b"data: ", Field::Data, b""),
            (b"data::", Field::Data, b":"),
            (b"id: 1:2", Field::Id, b"1:2"),
            (b"id", Field::Id, b""),
            (b"event: ping", Field::Event, b"ping"),
            (b"retry: 10", Field::Retry, b"10"),
        ];
        for &(line, field, value) in table {
            let (parsed, start) = Field::parse(line);
            let line_text = line.escape_ascii();
            assert_eq!((parsed, &line[start..]), (field, value), "{line_text}");
        }
        for line in [
            &b"Data: x"[..],
            b"data : x",
            b" data: x",
            b"dataset: x",
            b"dat",
            b"ID: 1",
            b"idx: 1",
            b"events: x",
            b"retry2: 1",
            b"\xEF\xBB\xBFdata: x",
        ] {
            assert_eq!(
                Field::parse(line).0,
                Field::Other,
                "{}",
                line.escape_ascii()
            );
        }
        assert_eq!(Field::parse(b": data: x").0, Field::Comment);
        assert_eq!(Field::parse(b"").0, Field::Blank);
    }

    #[test]
    fn lines_partition_the_block_whatever_ends_them() {
        let raw = b"id: 1\r\ndata\r: note\nfoo\n\r\n";
        let lines: Vec<_> = Lines::new(raw, 0).collect();
        let fields: Vec<_> = lines.iter().map(Line::field).collect();
        assert_eq!(
            fields,
            [
                Field::Id,
                Field::Data,
                Field::Comment,
                Field::Other,
                Field::Blank
            ]
        );
        let ends: Vec<_> = lines.iter().map(Line::terminator).collect();
        assert_eq!(ends, [&b"\r\n"[..], b"\r", b"\n", b"\n", b"\r\n"]);
        assert!(lines.iter().all(|line| &raw[line.range()] == line.bytes()));
        assert_eq!(
            lines
                .iter()
                .flat_map(Line::bytes)
                .copied()
                .collect::<Vec<_>>(),
            raw
        );
    }
}
