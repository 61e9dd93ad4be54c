use std::borrow::Cow;

use super::peek_error::PeekError;

/// Room for the longest key that anybody looks for, and its closing quote.
pub(super) const LONGEST_KEY: usize = 43;

/// What equals an ASCII letter where case makes no difference: by Unicode's folding, as in Go, or
/// because it has that letter as its other case, as in Java.
const FORMS: [(char, u8); 4] = [
    ('\u{17f}', b's'),
    ('\u{212a}', b'k'),
    ('\u{130}', b'i'),
    ('\u{131}', b'i'),
];

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

/// A key as the most forgiving of parsers may read it: without its escapes, and in ASCII.
///
/// No allocation, so that a body full of such keys costs no more than any other (A63).
pub(super) struct PlainKey {
    text: [u8; LONGEST_KEY],
    /// How much of it is text; a quote follows.
    len: usize,
    is_exact: bool,
}

impl PlainKey {
    /// Reads the key between two quotes.
    ///
    /// `None` if it does not fit, or has a character that is no ASCII letter's other form: nobody
    /// looks for such a key. The same goes for an escaped quote, which would pass for the closing
    /// one.
    pub(super) fn of(key: &[u8]) -> Option<Self> {
        let mut plain = Self {
            text: [0; LONGEST_KEY],
            len: 0,
            is_exact: true,
        };
        let mut at = 0;
        while let Some(&byte) = key.get(at) {
            let (letter, next) = match byte {
                b'\\' => escape(key, at).ok()?,
                0..=0x7f => (char::from(byte), at + 1),
                _ => {
                    let rest = key.get(at..)?;
                    let forms = FORMS.iter().map(|(form, _)| *form);
                    let mut forms = forms
                        .filter(|form| rest.starts_with(form.encode_utf8(&mut [0; 4]).as_bytes()));
                    let form = forms.next()?;
                    (form, at + form.len_utf8())
                }
            };
            let letter = match letter {
                '"' => return None,
                '\0'..='\x7f' => letter as u8,
                _ => {
                    plain.is_exact = false;
                    FORMS.iter().find(|(form, _)| *form == letter)?.1
                }
            };
            *plain.text.get_mut(plain.len)? = letter;
            (at, plain.len) = (next, plain.len + 1);
        }
        *plain.text.get_mut(plain.len)? = b'"';
        Some(plain)
    }

    /// The key and its closing quote, if that is what it says for every parser.
    pub(super) fn exact(&self) -> Option<&[u8]> {
        self.text.get(..=self.len).filter(|_| self.is_exact)
    }

    /// What it says for some parser.
    pub(super) fn text(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or_default()
    }
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
    if !has_escape(raw) {
        return Some(Cow::Borrowed(inner));
    }
    let text: String = serde_json::from_slice(raw).ok()?;
    Some(Cow::Owned(text.into_bytes()))
}

/// Whether a string has a backslash, a word at a time.
#[inline]
fn has_escape(raw: &[u8]) -> bool {
    let has = |word: &[u8; 8]| {
        let slash = u64::from_le_bytes(*word) ^ repeat(b'\\');
        slash.wrapping_sub(repeat(1)) & !slash & repeat(0x80) != 0
    };
    match raw.last_chunk() {
        // Which overlaps the last whole word, and is all that is left after it.
        Some(last) => has(last) || raw.as_chunks().0.iter().any(has),
        None => raw.contains(&b'\\'),
    }
}
