use memchr::memchr2;

use super::{field::Field, id::RequestId, keys::Keys, text::PlainKey};

/// The ids of the responses in `data`, one message or a batch.
///
/// For what a server has sent, and a client is going to read with a parser of its own: a result that
/// is nested too deeply for us, or has a `NaN` in it, is an answer all the same. So only the keys of a
/// message are looked at, and whether brackets close.
pub(crate) fn response_ids(data: &[u8]) -> Vec<RequestId> {
    let start = data.iter().position(|byte| !byte.is_ascii_whitespace());
    let is_batch = start.is_some_and(|start| data[start] == b'[');
    let mut scan = Scan {
        data,
        outside: usize::from(is_batch),
        ..Scan::default()
    };
    scan.run();
    scan.found
}

/// Where a walk through messages is.
#[derive(Default)]
struct Scan<'a> {
    data: &'a [u8],
    /// How many brackets are around a message.
    outside: usize,
    depth: usize,
    /// The key of the message whose value comes, and where it starts.
    key: Option<Field>,
    value: usize,
    wants_key: bool,
    id: Option<RequestId>,
    is_answer: bool,
    is_call: bool,
    found: Vec<RequestId>,
}

impl Scan<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while let Some(&byte) = self.data.get(at) {
            let in_message = self.depth == self.outside + 1;
            match byte {
                b'"' => {
                    let end = self.string(at);
                    if in_message && self.wants_key {
                        self.wants_key = false;
                        self.key = self.data.get(at + 1..end).and_then(key);
                    }
                    at = end;
                    continue;
                }
                b':' if in_message && self.value == 0 => self.value = at + 1,
                b',' if in_message => {
                    self.member(at);
                    self.wants_key = true;
                }
                b'{' | b'[' => {
                    if self.depth == self.outside && byte == b'{' {
                        self.wants_key = true;
                        (self.id, self.is_answer, self.is_call) = (None, false, false);
                    }
                    self.depth += 1;
                }
                b'}' | b']' => {
                    if in_message {
                        self.member(at);
                        self.message();
                    }
                    self.depth = self.depth.saturating_sub(1);
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// The index after the string that starts at `at`.
    fn string(&self, at: usize) -> usize {
        let mut at = at + 1;
        while let Some(len) = self
            .data
            .get(at..)
            .and_then(|rest| memchr2(b'"', b'\\', rest))
        {
            at += len;
            if self.data[at] == b'"' {
                return at + 1;
            }
            at += 2;
        }
        self.data.len()
    }

    /// Takes the value that ends at `end`.
    fn member(&mut self, end: usize) {
        let start = std::mem::take(&mut self.value);
        let key = self.key.take();
        let value = self.data.get(start..end).unwrap_or_default().trim_ascii();
        match key.filter(|_| start > 0) {
            Some(Field::Id) => self.id = id(value),
            Some(Field::Result) => self.is_answer = true,
            // Some servers write both.
            Some(Field::Error) => self.is_answer |= value != b"null",
            Some(Field::Method) => self.is_call = true,
            _ => {}
        }
    }

    fn message(&mut self) {
        if self.is_answer && !self.is_call {
            self.found.extend(self.id.take());
        }
        (self.id, self.is_answer, self.is_call) = (None, false, false);
        self.wants_key = false;
    }
}

/// The key that a text up to and including its closing quote is.
fn key(text: &[u8]) -> Option<Field> {
    let written = text.strip_suffix(b"\"")?;
    if !written.contains(&b'\\') {
        return Some(Keys::Message.find(text)?.0);
    }
    Some(Keys::Message.find(PlainKey::of(written)?.exact()?)?.0)
}

/// An id as it was sent to the server; some write a number with a fraction that it did not have.
fn id(raw: &[u8]) -> Option<RequestId> {
    let raw = std::str::from_utf8(raw).ok()?;
    let whole = match raw.split_once('.') {
        Some((whole, zeros)) if zeros.bytes().all(|digit| digit == b'0') => whole,
        _ => raw,
    };
    RequestId::from_raw(whole).ok()
}
