#[cfg(feature = "intercept")]
use std::ops::Range;

use super::{
    field::Field,
    keys::Keys,
    peek_error::{PeekError, PeekErrorKind},
    span::Span,
    text::{self, PlainKey},
};

/// Walks JSON text once, from left to right, checking all of it and building nothing.
///
/// It never calls itself: containers that nobody looks into are bits of an integer, so the depth
/// of the input is no depth of the stack (A43).
///
/// The small steps are always inlined: between functions the position would pass through memory,
/// and every byte waits for the position.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    max_depth: usize,
    /// If so, every letter of a key is one byte, if it has no escapes.
    is_ascii: bool,
    alike: Option<Field>,
}

/// The containers that `Lexer::skip_container` is inside of, innermost in the lowest bit: 1 is an object.
#[derive(Default)]
struct Nest {
    bits: u128,
    len: usize,
}

/// The most levels that `Nest` has bits for.
pub(super) const DEEPEST: usize = 128;

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a [u8], max_depth: usize) -> Self {
        Self {
            text,
            at: 0,
            max_depth,
            is_ascii: false,
            alike: None,
        }
    }

    /// Knows that the text is ASCII, and has to look less closely at keys.
    pub(super) const fn with_ascii(mut self, is_ascii: bool) -> Self {
        self.is_ascii = is_ascii;
        self
    }

    /// Takes what was found first, since this was last called, of a key that is not looked for but
    /// equals one that is to a parser that does not tell letters by their case.
    pub(super) const fn take_alike(&mut self) -> Option<Field> {
        self.alike.take()
    }

    pub(super) const fn offset(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space, without taking it.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Option<u8> {
        self.at = blank(self.text, self.at);
        self.text.get(self.at).copied()
    }

    /// Takes `byte` if it comes next.
    #[inline(always)]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.next() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, which has to come next.
    #[inline(always)]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), PeekError> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(PeekError::syntax(self.at))
        }
    }

    /// Checks that nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), PeekError> {
        match self.next() {
            None => Ok(()),
            Some(_) => Err(PeekError::syntax(self.at)),
        }
    }

    /// Takes an opening bracket that lies inside `depth` other containers.
    #[inline(always)]
    pub(super) fn open(&mut self, depth: usize) -> Result<(), PeekError> {
        if depth >= self.max_depth {
            return Err(PeekError::new(PeekErrorKind::Depth, self.at));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes an object that lies inside `depth` containers.
    ///
    /// `member` is called after each key and its colon, and has to take the value. A key written
    /// with escapes is the plain key that it equals (A46).
    #[inline(always)]
    pub(super) fn object(
        &mut self,
        depth: usize,
        keys: Keys,
        mut member: impl FnMut(&mut Self, Option<Field>) -> Result<(), PeekError>,
    ) -> Result<Span, PeekError> {
        let text = self.text;
        let start = self.at;
        self.open(depth)?;
        if !self.take(b'}') {
            loop {
                let quote = blank(text, self.at);
                // A key that is looked for need not be searched for its end.
                let ahead = text.get(quote + 1..).unwrap_or_default();
                let field = match keys.find(ahead) {
                    Some((field, len)) if text.get(quote) == Some(&b'"') => {
                        self.at = colon(text, quote + 1 + len)?;
                        Some(field)
                    }
                    _ => {
                        let (end, escaped) = key(text, quote)?;
                        self.at = colon(text, end)?;
                        if escaped || !self.is_ascii || keys.has_one_of(end - quote - 2) {
                            self.look_again(quote, end, keys)
                        } else {
                            None
                        }
                    }
                };
                member(self, field)?;
                if self.take(b',') {
                    continue;
                }
                self.expect(b'}')?;
                break;
            }
        }
        Ok(Span::new(start, self.at))
    }

    /// Finds the key that the one between two quotes equals: in all its letters, or but for their
    /// case, which is only noted.
    #[cold]
    fn look_again(&mut self, quote: usize, end: usize, keys: Keys) -> Option<Field> {
        let key = PlainKey::of(self.text.get(quote + 1..end - 1)?)?;
        let field = key.exact().and_then(|text| keys.find(text));
        if field.is_none() && self.alike.is_none() {
            self.alike = keys.alike(&key);
        }
        Some(field?.0)
    }

    /// Takes a key and its colon, and tells where the key is, with its quotes.
    #[cfg(feature = "intercept")]
    pub(super) fn key(&mut self) -> Result<Range<usize>, PeekError> {
        let start = blank(self.text, self.at);
        let (end, _) = key(self.text, start)?;
        self.at = colon(self.text, end)?;
        Ok(start..end)
    }

    /// Takes any one value that lies inside `depth` containers.
    #[inline(always)]
    pub(super) fn skip(&mut self, depth: usize) -> Result<Span, PeekError> {
        let next = self.next();
        let start = self.at;
        match next {
            Some(b'"') => self.at = string(self.text, start)?.0,
            Some(b'{' | b'[') => self.skip_container(depth)?,
            _ => self.at = scalar(self.text, start)?,
        }
        Ok(Span::new(start, self.at))
    }

    /// Takes an array or an object, whose opening bracket comes next.
    fn skip_container(&mut self, depth: usize) -> Result<(), PeekError> {
        let text = self.text;
        // A local, because a field would be written and read again for every token.
        let mut at = self.at;
        let mut nest = Nest::default();
        'value: loop {
            at = blank(text, at);
            match text.get(at) {
                Some(b'"') => at = string(text, at)?.0,
                Some(&bracket @ (b'{' | b'[')) => {
                    if depth + nest.len >= self.max_depth {
                        return Err(PeekError::new(PeekErrorKind::Depth, at));
                    }
                    at = blank(text, at + 1);
                    let object = bracket == b'{';
                    // In ASCII, either closing bracket is its opening one plus two.
                    if text.get(at) == Some(&(bracket + 2)) {
                        at += 1;
                    } else {
                        nest.push(object);
                        if object {
                            at = colon(text, key(text, at)?.0)?;
                        }
                        continue 'value;
                    }
                }
                _ => at = scalar(text, at)?,
            }
            // A value just ended: so do all containers that close here.
            while nest.len > 0 {
                at = blank(text, at);
                match (text.get(at), nest.in_object()) {
                    (Some(b','), in_object) => {
                        at += 1;
                        if in_object {
                            at = colon(text, key(text, blank(text, at))?.0)?;
                        }
                        continue 'value;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        at += 1;
                        nest.pop();
                    }
                    _ => return Err(PeekError::syntax(at)),
                }
            }
            self.at = at;
            return Ok(());
        }
    }
}

/// The index of the next byte that is no white space.
#[inline(always)]
fn blank(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        // One comparison for what nearly every byte is.
        if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            break;
        }
        at += 1;
    }
    at
}

/// The index after the key at `at`, and whether it has escapes.
#[inline(always)]
fn key(text: &[u8], at: usize) -> Result<(usize, bool), PeekError> {
    if text.get(at) == Some(&b'"') {
        string(text, at)
    } else {
        Err(PeekError::syntax(at))
    }
}

/// The index after the colon that has to come next.
#[inline(always)]
fn colon(text: &[u8], at: usize) -> Result<usize, PeekError> {
    let at = blank(text, at);
    if text.get(at) == Some(&b':') {
        Ok(at + 1)
    } else {
        Err(PeekError::syntax(at))
    }
}

/// The index after the string whose opening quote is at `at`, and whether it has escapes.
#[inline(always)]
pub(super) fn string(text: &[u8], at: usize) -> Result<(usize, bool), PeekError> {
    let mut at = at + 1;
    let mut escaped = false;
    loop {
        at = text::find_special(text, at);
        match text.get(at) {
            Some(b'"') => return Ok((at + 1, escaped)),
            Some(b'\\') => {
                escaped = true;
                at = text::escape(text, at)?.1;
            }
            // A control character, or the end.
            _ => return Err(PeekError::syntax(at)),
        }
    }
}

/// The index after the number or the word at `at`.
#[inline]
fn scalar(text: &[u8], at: usize) -> Result<usize, PeekError> {
    let word: &[u8] = match text.get(at) {
        Some(b'-' | b'0'..=b'9') => return number(text, at),
        Some(b't') => b"true",
        Some(b'f') => b"false",
        Some(b'n') => b"null",
        _ => return Err(PeekError::syntax(at)),
    };
    if !text.get(at..).unwrap_or_default().starts_with(word) {
        return Err(PeekError::syntax(at));
    }
    Ok(at + word.len())
}

/// The index after the number at `at`, by grammar alone: its size is nobody's business here (A49).
#[inline]
pub(super) fn number(text: &[u8], mut at: usize) -> Result<usize, PeekError> {
    at += usize::from(text.get(at) == Some(&b'-'));
    at = match text.get(at) {
        Some(b'0') => at + 1,
        _ => digits(text, at)?,
    };
    if text.get(at) == Some(&b'.') {
        at = digits(text, at + 1)?;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        at += 1;
        at += usize::from(matches!(text.get(at), Some(b'+' | b'-')));
        at = digits(text, at)?;
    }
    Ok(at)
}

/// The index after one or more digits.
#[inline]
fn digits(text: &[u8], start: usize) -> Result<usize, PeekError> {
    let mut at = start;
    while text.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == start {
        return Err(PeekError::syntax(at));
    }
    Ok(at)
}

impl Nest {
    #[inline]
    const fn push(&mut self, object: bool) {
        self.bits = self.bits << 1 | object as u128;
        self.len += 1;
    }

    #[inline]
    const fn pop(&mut self) {
        self.bits >>= 1;
        self.len -= 1;
    }

    #[inline]
    const fn in_object(&self) -> bool {
        self.bits & 1 == 1
    }
}
