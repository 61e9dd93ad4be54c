use std::borrow::Cow;

use super::peek_error::PeekError;

/// The longest key that anybody looks for, `io.modelcontextprotocol/protocolVersion`.
pub(super) const LONGEST_KEY: usize = 40;

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The index of the next quote, backslash or control character, or the text's length.
///
/// Eight bytes at a time. Each of the three terms may also mark bytes *after* a true hit, because
/// its subtraction borrows, but never one before it, and the lowest mark is the one that is used.
#[inline]
pub(super) fn find_special(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ repeat(b'"');
        let slash = word ^ repeat(b'\\');
        let marks = (quote.wrapping_sub(repeat(1)) & !quote)
            | (slash.wrapping_sub(repeat(1)) & !slash)
            | (word.wrapping_sub(repeat(b' ')) & !word);
        let marks = marks & repeat(0x80);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte < b' ' || byte == b'"' || byte == b'\\' {
            break;
        }
        at += 1;
    }
    at
}

/// Reads the escape whose backslash is at `at`: its character, and the index after it.
///
/// A surrogate without its other half is no character, and refused (A42).
pub(super) fn escape(text: &[u8], at: usize) -> Result<(char, usize), PeekError> {
    let refused = || PeekError::syntax(at);
    let plain = match text.get(at + 1).ok_or_else(refused)? {
        b'u' => {
            let high = hex(text, at + 2).ok_or_else(refused)?;
            if let Some(plain) = char::from_u32(high) {
                return Ok((plain, at + 6));
            }
            let low = match text.get(at + 6..at + 8) {
                Some(b"\\u") if high < 0xDC00 => hex(text, at + 8).ok_or_else(refused)?,
                _ => return Err(refused()),
            };
            if !(0xDC00..0xE000).contains(&low) {
                return Err(refused());
            }
            let pair = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            return Ok((char::from_u32(pair).ok_or_else(refused)?, at + 12));
        }
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        &byte @ (b'"' | b'\\' | b'/') => char::from(byte),
        _ => return Err(refused()),
    };
    Ok((plain, at + 2))
}

fn hex(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &digit| {
        Some(value << 4 | char::from(digit).to_digit(16)?)
    })
}

/// Writes the plain form of an escaped key into `plain`.
///
/// No allocation, so that a body full of escaped keys costs no more than any other (A63). A key
/// that does not fit, or is not ASCII, is none that anybody looks for and comes back empty.
pub(super) fn unescape_key<'a>(key: &[u8], plain: &'a mut [u8; LONGEST_KEY]) -> &'a [u8] {
    let (mut at, mut len) = (0, 0);
    while let Some(&byte) = key.get(at) {
        let (byte, next) = match byte {
            b'\\' => match escape(key, at) {
                Ok((escaped, next)) if escaped.is_ascii() => (escaped as u8, next),
                _ => return &[],
            },
            byte => (byte, at + 1),
        };
        match plain.get_mut(len) {
            Some(slot) => *slot = byte,
            None => return &[],
        }
        (at, len) = (next, len + 1);
    }
    plain.get(..len).unwrap_or_default()
}

/// The content of a string given as JSON text, borrowed unless it has escapes; `None` for what is
/// no string.
pub(super) fn content(raw: &[u8]) -> Option<Cow<'_, str>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inner).is_none() {
        return std::str::from_utf8(inner).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(raw).ok().map(Cow::Owned)
}
