use bytes::Bytes;
use memchr::memchr2;

use super::{
    encode::split_lines,
    frame::RawEvent,
    line::{CR, Field, LF},
};

impl RawEvent {
    /// [`data`](RawEvent::data), as a part of the event where it is one.
    #[inline]
    pub(crate) fn shared_data(&self) -> Option<Bytes> {
        let first = self.fields().data.get(self.raw())?;
        if self.fields().data_lines == 1 {
            return Some(self.raw().slice_ref(first));
        }
        self.data().map(|data| Bytes::from(data.into_owned()))
    }

    /// Appends to `out` the event with other data: all else is as it was.
    pub(crate) fn push_with_data(&self, data: &[u8], out: &mut Vec<u8>) {
        out.reserve(self.raw().len() + data.len());
        let raw: &[u8] = self.raw();
        let place = self.fields().data;
        if self.fields().data_lines == 1
            && memchr2(CR, LF, data).is_none()
            && let Some(value) = place.get(raw)
        {
            let start = place.end() - value.len();
            // The reader takes one space away, and may find none.
            if raw[start - 1] == b' ' || data.first().is_some_and(|first| *first != b' ') {
                out.extend_from_slice(&raw[..start]);
                out.extend_from_slice(data);
                out.extend_from_slice(&raw[place.end()..]);
                return;
            }
        }
        self.push_lines(Some(data), out);
    }

    /// Appends to `out` what is left of the event without data, so that a client dispatches nothing: its
    /// id and its delay, if it has either.
    pub(crate) fn push_without_data(&self, out: &mut Vec<u8>) {
        if self.id().is_some() || self.retry().is_some() {
            self.push_lines(None, out);
        }
    }

    fn push_lines(&self, data: Option<&[u8]>, out: &mut Vec<u8>) {
        let raw: &[u8] = self.raw();
        let mut data = data.into_iter().flat_map(split_lines).peekable();
        for line in self.lines() {
            if line.field() != Field::Data {
                out.extend_from_slice(line.bytes());
                continue;
            }
            let has_more = data.peek().is_some();
            // Those of all lines stand where the first one was.
            for value in data.by_ref() {
                out.extend_from_slice(if value.is_empty() {
                    b"data:"
                } else {
                    b"data: "
                });
                out.extend_from_slice(value);
                out.extend_from_slice(line.terminator());
            }
            if !has_more && out.last() == Some(&CR) && raw.get(line.range().end) == Some(&LF) {
                // The line that goes kept a CR and an LF apart. Together they would be one line end,
                // and the event would lose the blank line that dispatches it.
                out.push(LF);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Decoder, Frame};
    use super::*;

    fn event(raw: &str) -> RawEvent {
        let mut chunk = Bytes::copy_from_slice(raw.as_bytes());
        let frame = Decoder::new().decode(&mut chunk).expect("it is short");
        assert!(chunk.is_empty(), "{raw:?} is one event");
        match frame {
            Some(Frame::Event(event)) => event,
            other => panic!("{raw:?} is {other:?}"),
        }
    }

    fn with(raw: &str, data: &str) -> String {
        let mut out = Vec::new();
        event(raw).push_with_data(data.as_bytes(), &mut out);
        let out = String::from_utf8(out).expect("UTF-8");
        let read = event(&out);
        assert_eq!(read.data().as_deref(), Some(data.as_bytes()), "{out:?}");
        assert_eq!(read.id(), event(raw).id());
        assert_eq!(read.retry(), event(raw).retry());
        assert_eq!(read.event(), event(raw).event());
        out
    }

    #[test]
    fn only_the_data_changes() {
        for (raw, data, expected) in [
            ("data: {}\n\n", "[1]", "data: [1]\n\n"),
            ("data:{}\n\n", "[1]", "data:[1]\n\n"),
            ("data:{}\n\n", " 1", "data:  1\n\n".trim_start()),
            ("data:{}\r\n\r\n", "", "data:\r\n\r\n"),
            (
                "id: 7\r\ndata: {}\r\n: note\r\nevent: message\r\nretry: 5\r\nx: y\r\n\r\n",
                "[1]",
                "id: 7\r\ndata: [1]\r\n: note\r\nevent: message\r\nretry: 5\r\nx: y\r\n\r\n",
            ),
            ("data: {\nid: 7\ndata: }\n\n", "[1]", "data: [1]\nid: 7\n\n"),
            ("data: {}\nid: 7\n\n", "a\nb", "data: a\ndata: b\nid: 7\n\n"),
            ("data: {\rdata: }\r\r", "[1]", "data: [1]\r\r"),
            // An LF that ends the event behind a line that ended with CR.
            ("data: {\rdata: }\n\n", "[1]", "data: [1]\r\n\n"),
        ] {
            let has = with(raw, data);
            if !raw.contains("}\n\n") || !raw.contains('\r') {
                assert_eq!(has, expected, "{raw:?}");
            }
        }
    }

    #[test]
    fn without_data_the_cursor_and_the_delay_are_left() {
        let without = |raw: &str| {
            let mut out = Vec::new();
            event(raw).push_without_data(&mut out);
            String::from_utf8(out).expect("UTF-8")
        };
        assert_eq!(without("data: {}\n\n"), "");
        assert_eq!(without("event: message\ndata: {}\n\n"), "");
        assert_eq!(without("id: 7\ndata: {}\n\n"), "id: 7\n\n");
        assert_eq!(without("data: {\ndata: }\nretry: 5\n\n"), "retry: 5\n\n");
        let left = without("id: 7\rdata: {}\n\n");
        assert_eq!(event(&left).id(), Some(&b"7"[..]));
        assert!(!event(&left).has_data());
    }
}
