use std::{error::Error, fmt};

/// Why a body could not be read as JSON, and where.
///
/// Only a body that is no JSON at all, or that is over a limit, is an error; JSON that is no
/// JSON-RPC message becomes an envelope of kind [`Invalid`](super::Kind::Invalid).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeekError {
    kind: PeekErrorKind,
    // Small enough for a register, which the scanner's inner functions return it in.
    offset: u32,
}

/// The kinds of [`PeekError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeekErrorKind {
    /// Not JSON: an unexpected byte, or an unexpected end.
    Syntax,
    /// Not UTF-8.
    Utf8,
    /// More arrays and objects inside each other than [`Limits::with_max_depth`] allows.
    ///
    /// [`Limits::with_max_depth`]: super::Limits::with_max_depth
    Depth,
    /// A batch of more messages than [`Limits::with_max_messages`] allows.
    ///
    /// [`Limits::with_max_messages`]: super::Limits::with_max_messages
    TooManyMessages,
    /// A body longer than 4 GiB, whose offsets do not fit.
    TooLarge,
}

impl PeekError {
    // The scanner reaches this at most once, on its way out.
    #[cold]
    #[allow(clippy::cast_possible_truncation, reason = "no longer body is scanned")]
    pub(super) const fn new(kind: PeekErrorKind, offset: usize) -> Self {
        Self {
            kind,
            offset: offset as u32,
        }
    }

    #[cold]
    pub(super) const fn syntax(offset: usize) -> Self {
        Self::new(PeekErrorKind::Syntax, offset)
    }

    /// What was wrong.
    #[must_use]
    pub const fn kind(&self) -> PeekErrorKind {
        self.kind
    }

    /// The index of the byte that was wrong, which for an unexpected end is the body's length.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset as usize
    }
}

impl fmt::Display for PeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            PeekErrorKind::Syntax => "not JSON",
            PeekErrorKind::Utf8 => "not UTF-8",
            PeekErrorKind::Depth => "nested too deep",
            PeekErrorKind::TooManyMessages => "too many messages in one batch",
            PeekErrorKind::TooLarge => "body too large",
        };
        write!(f, "{what} at byte {}", self.offset)
    }
}

impl Error for PeekError {}
