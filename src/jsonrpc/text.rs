use std::borrow::Cow;

use super::peek_error::PeekError;

/// Room for the longest key that anybody looks for, and its closing quote.
pub(super) const LONGEST_KEY: usize = 43;

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The index of the next quote, backslash or control character, or the text's length.
#[inline(always)]
pub(super) fn find_special(text: &[u8], at: usize) -> usize {
    // Most strings are short: a word or two, before a call is worth its while.
    for at in [at, at + 8] {
        if let Some(found) = first_special(text, at) {
            if found < 8 {
                return at + found;
            }
        } else {
            break;
        }
    }
    find_special_far(text, at)
}

/// Which of the eight bytes at `at` is special first, or 8; `None` if there are no eight.
///
/// Each of the three terms may also mark bytes *after* a true hit, because its subtraction
/// borrows, but never one before it, and only the lowest mark is used.
#[inline(always)]
fn first_special(text: &[u8], at: usize) -> Option<usize> {
    let word = u64::from_le_bytes(*text.get(at..)?.first_chunk()?);
    let quote = word ^ repeat(b'"');
    let slash = word ^ repeat(b'\\');
    let marks = (quote.wrapping_sub(repeat(1)) & !quote)
        | (slash.wrapping_sub(repeat(1)) & !slash)
        | (word.wrapping_sub(repeat(b' ')) & !word);
    Some(((marks & repeat(0x80)).trailing_zeros() / 8) as usize)
}

/// `find_special` for long strings and for a text's last bytes.
#[inline(never)]
fn find_special_far(text: &[u8], mut at: usize) -> usize {
    // Without an early exit from the block, which is what lets it become vector instructions.
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<64>) {
        if has_special(block) {
            break;
        }
        at += 64;
    }
    while let Some(block) = text.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        if has_special(block) {
            break;
        }
        at += 16;
    }
    while let Some(found) = first_special(text, at) {
        at += found;
        if found < 8 {
            return at;
        }
    }
    while text.get(at).is_some_and(|&byte| !is_special(byte)) {
        at += 1;
    }
    at
}

#[inline(always)]
fn has_special<const N: usize>(block: &[u8; N]) -> bool {
    let either = |any, &byte| any | is_special(byte);
    block.iter().fold(false, either)
}

#[inline(always)]
const fn is_special(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
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

/// Writes the plain form of an escaped key into `plain`, and the closing quote after it.
///
/// No allocation, so that a body full of escaped keys costs no more than any other (A63). A key
/// that does not fit, or that has an escape beyond ASCII, is none that anybody looks for, and
/// comes back empty. So does one with an escaped quote, which would pass for the closing one.
pub(super) fn unescape_key<'a>(key: &[u8], plain: &'a mut [u8; LONGEST_KEY]) -> &'a [u8] {
    let (mut at, mut len) = (0, 0);
    while let Some(&byte) = key.get(at) {
        let (byte, next) = match byte {
            b'\\' => match escape(key, at) {
                Ok((escaped, next)) if escaped.is_ascii() && escaped != '"' => {
                    (escaped as u8, next)
                }
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
    match plain.get_mut(len) {
        Some(slot) => *slot = b'"',
        None => return &[],
    }
    plain.get(..=len).unwrap_or_default()
}

/// The content of a string given as valid JSON text, borrowed unless it has escapes; `None` for
/// what is no string.
pub(super) fn content(raw: &[u8]) -> Option<Cow<'_, str>> {
    match content_bytes(raw)? {
        Cow::Borrowed(text) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        Cow::Owned(text) => String::from_utf8(text).ok().map(Cow::Owned),
    }
}

/// The same, for who compares it and does not need to know that it is UTF-8 once more.
#[inline]
pub(super) fn content_bytes(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    let inner = raw.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if !inner.contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    let text: String = serde_json::from_slice(raw).ok()?;
    Some(Cow::Owned(text.into_bytes()))
}
