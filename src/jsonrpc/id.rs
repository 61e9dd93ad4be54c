use std::{
    borrow::Cow,
    error::Error,
    fmt,
    hash::{Hash, Hasher},
};

use smol_str::SmolStr;

use super::{lexer, text};

/// The id of a request: a string or an integer, kept as the JSON text it was written as.
///
/// Nothing is rendered anew, so an id of any length comes back byte for byte (JRP-2). Two ids are
/// equal if a peer must take them for the same: strings by their content, however it is escaped,
/// and integers by their text. A string never equals an integer.
#[derive(Clone)]
pub struct RequestId {
    raw: SmolStr,
}

/// The JSON text was neither a string nor an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRequestId(());

impl RequestId {
    /// Takes the JSON text of a string (with its quotes) or of an integer.
    ///
    /// # Errors
    ///
    /// For anything else: null, a boolean, a number with a fraction or an exponent, an array, an
    /// object (JRP-1), and also for white space around it.
    pub fn from_raw(raw: &str) -> Result<Self, InvalidRequestId> {
        let text = raw.as_bytes();
        let end = match text.first() {
            Some(b'"') => lexer::string(text, 0).map(|(end, _)| end),
            _ => lexer::number(text, 0),
        };
        if end != Ok(text.len()) || !is_valid(text) {
            return Err(InvalidRequestId(()));
        }
        Ok(Self::from_valid(raw))
    }

    pub(super) fn from_valid(raw: &str) -> Self {
        Self { raw: raw.into() }
    }

    /// The JSON text.
    #[must_use]
    pub fn as_raw(&self) -> &str {
        &self.raw
    }

    /// What a string says, or `None` for an integer.
    fn content(&self) -> Option<Cow<'_, str>> {
        text::content(self.raw.as_bytes())
    }
}

/// Whether a valid JSON text is one of the two types that an id can have.
pub(super) fn is_valid(raw: &[u8]) -> bool {
    match raw.first() {
        Some(b'"') => true,
        Some(b'-' | b'0'..=b'9') => !raw.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')),
        _ => false,
    }
}

impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
            || self
                .content()
                .is_some_and(|content| other.content() == Some(content))
    }
}

impl Eq for RequestId {}

impl Hash for RequestId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.content() {
            Some(content) => (true, content).hash(state),
            None => (false, &self.raw).hash(state),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Escaped once more, because a raw id may hold anything that a string may, bar control
        // characters.
        f.debug_tuple("RequestId").field(&self.raw).finish()
    }
}

impl fmt::Display for InvalidRequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("neither a string nor an integer")
    }
}

impl Error for InvalidRequestId {}
