use std::{iter, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr2;

use super::{
    event::Event,
    line::{CR, LF, next_line},
};

impl Event {
    /// The event as the bytes of one block, with LF line ends.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.encoded_len());
        self.put(&mut out);
        out.freeze()
    }

    /// Appends to `out` what [`encode`](Self::encode) returns.
    pub fn encode_into(&self, out: &mut BytesMut) {
        out.reserve(self.encoded_len());
        self.put(out);
    }

    fn encoded_len(&self) -> usize {
        let Self {
            id,
            name,
            retry,
            data,
        } = self;
        let line = |name: &[u8], value: &[u8]| {
            let colon = if value.is_empty() { 1 } else { 2 };
            name.len() + colon + value.len() + 1
        };
        let mut len = 1;
        len += id.as_ref().map_or(0, |id| line(b"id", id));
        len += name.as_ref().map_or(0, |name| line(b"event", name));
        len += retry.map_or(0, |millis| {
            b"retry: \n".len() + millis.checked_ilog10().unwrap_or(0) as usize + 1
        });
        if let Some(data) = data {
            len += split_lines(data)
                .map(|value| line(b"data", value))
                .sum::<usize>();
        }
        len
    }

    fn put(&self, out: &mut BytesMut) {
        let Self {
            id,
            name,
            retry,
            data,
        } = self;
        if let Some(id) = id {
            put_line(b"id", id, out);
        }
        if let Some(name) = name {
            put_line(b"event", name, out);
        }
        if let Some(millis) = retry {
            put_line(b"retry", millis.to_string().as_bytes(), out);
        }
        if let Some(data) = data {
            for value in split_lines(data) {
                put_line(b"data", value, out);
            }
        }
        out.put_u8(LF);
    }
}

/// A comment, one line for each line of `text`.
///
/// There is no blank line after it, so it cannot end an event, not even one that is unfinished. Send
/// it between events all the same: there it keeps an idle connection open (`S29`).
#[must_use]
pub fn comment(text: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(text.len() + b": \n".len());
    for line in split_lines(text.as_bytes()) {
        put_line(b"", line, &mut out);
    }
    out.freeze()
}

/// A block that only sets how long the client waits before it reconnects.
#[must_use]
pub fn retry(delay: Duration) -> Bytes {
    Event::retry(delay).encode()
}

/// Writes a value that starts with a space after one more, which the reader removes.
fn put_line(name: &[u8], value: &[u8], out: &mut BytesMut) {
    out.put_slice(name);
    out.put_slice(if value.is_empty() { b":" } else { b": " });
    out.put_slice(value);
    out.put_u8(LF);
}

/// The lines of `text`, without their terminators. An empty text is one empty line, and so is what
/// follows a terminator at the end.
pub(super) fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let Some(end) = memchr2(CR, LF, text) else {
            return rest.take();
        };
        rest = Some(&text[next_line(text, end)..]);
        Some(&text[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_reserved_exactly() {
        for data in ["", "x", "x\r\ny", "\n\r\r\n"] {
            for millis in [0, 9, 10, 1000, u64::MAX] {
                let event = Event::new("", data).and_then(|event| event.with_id("a"));
                let event = event.expect("legal id");
                let event = event.with_retry(Duration::from_millis(millis));
                assert_eq!(event.encode().len(), event.encoded_len());
            }
        }
        let event = Event::retry(Duration::ZERO);
        assert_eq!(event.encode().len(), event.encoded_len());
    }
}
