use super::{
    peek_error::{PeekError, PeekErrorKind},
    span::Span,
    text,
};

/// Walks JSON text once, from left to right, checking all of it and building nothing.
///
/// It never calls itself: containers that nobody looks into are bits of an integer, so the depth
/// of the input is no depth of the stack (A43).
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    max_depth: usize,
}

/// The containers that `Lexer::skip` is inside of, innermost in the lowest bit: 1 is an object.
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
        }
    }

    pub(super) const fn offset(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space, without taking it.
    #[inline]
    pub(super) fn next(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            // One comparison for what nearly every byte is.
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next.
    #[inline]
    pub(super) fn take(&mut self, byte: u8) -> bool {
        let found = self.next() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte`, which has to come next.
    #[inline]
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
    #[inline]
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
    /// with escapes arrives as the plain key that it equals (A46).
    #[inline]
    pub(super) fn object(
        &mut self,
        depth: usize,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<(), PeekError>,
    ) -> Result<Span, PeekError> {
        let start = self.at;
        self.open(depth)?;
        if !self.take(b'}') {
            loop {
                let (key, escaped) = self.key()?;
                if escaped {
                    let mut plain = [0; text::LONGEST_KEY];
                    member(self, text::unescape_key(key, &mut plain))?;
                } else {
                    member(self, key)?;
                }
                if self.take(b',') {
                    continue;
                }
                self.expect(b'}')?;
                break;
            }
        }
        Ok(Span::new(start, self.at))
    }

    /// Takes any one value that lies inside `depth` containers.
    pub(super) fn skip(&mut self, depth: usize) -> Result<Span, PeekError> {
        let mut nest = Nest::default();
        let mut next = self.next();
        let start = self.at;
        'value: loop {
            match next {
                Some(b'"') => {
                    self.string()?;
                }
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b'{') => {
                    self.open(depth + nest.len)?;
                    if !self.take(b'}') {
                        nest.push(true);
                        self.key()?;
                        next = self.next();
                        continue 'value;
                    }
                }
                Some(b'[') => {
                    self.open(depth + nest.len)?;
                    if !self.take(b']') {
                        nest.push(false);
                        next = self.next();
                        continue 'value;
                    }
                }
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err(PeekError::syntax(self.at)),
            }
            // A value just ended: so do all containers that close here.
            while nest.len > 0 {
                match (self.next(), nest.in_object()) {
                    (Some(b','), in_object) => {
                        self.at += 1;
                        if in_object {
                            self.key()?;
                        }
                        next = self.next();
                        continue 'value;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        nest.pop();
                    }
                    _ => return Err(PeekError::syntax(self.at)),
                }
            }
            return Ok(Span::new(start, self.at));
        }
    }

    /// Takes a key and its colon: what stands between the quotes, and whether it has escapes.
    #[inline]
    fn key(&mut self) -> Result<(&'a [u8], bool), PeekError> {
        if self.next() != Some(b'"') {
            return Err(PeekError::syntax(self.at));
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let key = self.text.get(start..self.at - 1).unwrap_or_default();
        self.expect(b':')?;
        Ok((key, escaped))
    }

    /// Takes a string, and says whether it has escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Result<bool, PeekError> {
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            at = text::find_special(self.text, at);
            match self.text.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    at = text::escape(self.text, at)?.1;
                }
                // A control character, or the end.
                _ => return Err(PeekError::syntax(at)),
            }
        }
    }

    /// Takes a number by grammar alone: its size is nobody's business here (A49).
    #[inline]
    pub(super) fn number(&mut self) -> Result<(), PeekError> {
        let mut at = self.at;
        at += usize::from(self.text.get(at) == Some(&b'-'));
        at = match self.text.get(at) {
            Some(b'0') => at + 1,
            _ => self.digits(at)?,
        };
        if self.text.get(at) == Some(&b'.') {
            at = self.digits(at + 1)?;
        }
        if matches!(self.text.get(at), Some(b'e' | b'E')) {
            at += 1;
            at += usize::from(matches!(self.text.get(at), Some(b'+' | b'-')));
            at = self.digits(at)?;
        }
        self.at = at;
        Ok(())
    }

    /// The index after one or more digits.
    #[inline]
    fn digits(&self, start: usize) -> Result<usize, PeekError> {
        let mut at = start;
        while self.text.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at == start {
            return Err(PeekError::syntax(at));
        }
        Ok(at)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), PeekError> {
        if !self.text.get(self.at..).unwrap_or_default().starts_with(word) {
            return Err(PeekError::syntax(self.at));
        }
        self.at += word.len();
        Ok(())
    }
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
