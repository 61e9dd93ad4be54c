use bytes::Bytes;
use memchr::memchr2;

/// Cuts a body into JSON texts as its bytes arrive: nearly always one, but some servers send one after
/// another, for as long as a stream would last (ICP-7).
///
/// What it cuts out need not be JSON: only brackets and strings are looked at. Nor need all be one: what is
/// between two of them may be anything, and hides nothing that comes after it.
#[derive(Debug)]
pub(super) struct Values {
    /// An unfinished value, in memory of its own.
    held: Vec<u8>,
    max: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// How much of a leading byte order mark was seen; `None` after it. It is no JSON, but clients skip it.
    bom: Option<u8>,
    /// Something came that is neither an object nor an array, and none of these has come since.
    in_junk: bool,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// White space, or the rest of [`Junk`](Self::Junk).
    Between(Bytes),
    Value(Bytes),
    /// The start of what is neither an object nor an array, up to the next of these.
    Junk(Bytes),
}

/// A value is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Values {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            held: Vec::new(),
            max,
            depth: 0,
            in_string: false,
            is_escaped: false,
            bom: Some(0),
            in_junk: false,
        }
    }

    /// Takes from the front of `chunk` what completes the next part; `None` says that it is used up.
    ///
    /// # Errors
    ///
    /// If a value is too long.
    pub(super) fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Part>, TooLong> {
        let Some(first) = chunk.first() else {
            return Ok(None);
        };
        if self.depth == 0 {
            let blanks = chunk
                .iter()
                .take_while(|byte| self.is_blank(**byte))
                .count();
            if blanks > 0 {
                return Ok(Some(Part::Between(chunk.split_to(blanks))));
            }
            if !matches!(first, b'{' | b'[') {
                let len = memchr2(b'{', b'[', chunk).unwrap_or(chunk.len());
                let junk = chunk.split_to(len);
                let is_more = std::mem::replace(&mut self.in_junk, true);
                return Ok(Some(if is_more {
                    Part::Between(junk)
                } else {
                    Part::Junk(junk)
                }));
            }
            self.in_junk = false;
        }
        let end = self.find_end(chunk);
        let len = end.unwrap_or(chunk.len());
        if self.held.len().saturating_add(len) > self.max {
            return Err(TooLong);
        }
        let part = chunk.split_to(len);
        if end.is_none() || !self.held.is_empty() {
            self.held.extend_from_slice(&part);
        }
        Ok(match end {
            None => None,
            Some(_) if self.held.is_empty() => Some(Part::Value(part)),
            Some(_) => Some(Part::Value(self.take_held())),
        })
    }

    /// Whether a byte between two values means nothing.
    fn is_blank(&mut self, byte: u8) -> bool {
        if let Some(seen) = self.bom {
            let is_next = BOM.get(usize::from(seen)) == Some(&byte);
            self.bom = is_next.then_some(seen + 1);
            if is_next {
                return true;
            }
        }
        matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
    }

    /// Whether nothing is held.
    pub(super) const fn is_clean(&self) -> bool {
        self.held.is_empty()
    }

    /// The value that was not finished.
    pub(super) fn take_held(&mut self) -> Bytes {
        Bytes::from(std::mem::take(&mut self.held).into_boxed_slice())
    }

    /// The index after the end of the value. Each byte is looked at once.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.is_escaped {
                self.is_escaped = false;
            } else if self.in_string {
                at += memchr2(b'"', b'\\', &bytes[at..])?;
                self.is_escaped = bytes[at] == b'\\';
                self.in_string = self.is_escaped;
            } else {
                match byte {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(body: &str, chunk: usize, max: usize) -> Result<Vec<String>, TooLong> {
        let mut values = Values::new(max);
        let mut found = Vec::new();
        for chunk in body.as_bytes().chunks(chunk) {
            let mut chunk = Bytes::copy_from_slice(chunk);
            while let Some(part) = values.next(&mut chunk)? {
                match part {
                    Part::Between(_) => {}
                    Part::Value(value) => {
                        found.push(String::from_utf8_lossy(&value).into_owned());
                    }
                    Part::Junk(_) => found.push("junk".to_owned()),
                }
            }
        }
        if !values.is_clean() {
            found.push(format!("held {}", values.take_held().len()));
        }
        Ok(found)
    }

    #[test]
    fn values_are_the_same_however_they_are_cut() {
        for (body, expected) in [
            ("", &[][..]),
            (" \r\n\t", &[]),
            ("{}", &["{}"]),
            (" {\"a\":[{}]} \n[1] ", &["{\"a\":[{}]}", "[1]"]),
            (r#"{"a":"}\"]\\"}{}"#, &[r#"{"a":"}\"]\\"}"#, "{}"]),
            (r#"{"a":"\\\""#, &["held 10"]),
            ("{}x{}", &["{}", "junk", "{}"]),
            ("\u{feff}{}", &["{}"]),
            ("\u{feff} {}", &["{}"]),
            ("{}\u{feff}{}", &["{}", "junk", "{}"]),
            ("\u{fe00}{}", &["junk", "{}"]),
            ("7 8\n9 {} x", &["junk", "{}", "junk"]),
            ("{]}[1]", &["{]", "junk", "[1]"]),
        ] {
            for chunk in 1..=body.len().max(1) {
                let found = values(body, chunk, 100).expect("short");
                assert_eq!(found, expected, "{body:?} by {chunk}");
            }
        }
    }

    #[test]
    fn no_more_is_held_than_may_be() {
        for chunk in 1..=6 {
            assert!(values("[1,2] [1]", chunk, 5).is_ok());
            assert_eq!(values("[1] [1,2]", chunk, 4), Err(TooLong), "{chunk}");
            assert_eq!(values("[1,2", chunk, 3), Err(TooLong), "{chunk}");
        }
    }
}
