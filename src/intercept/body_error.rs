use std::{error::Error, fmt};

use crate::BoxError;

/// A response body broke off.
///
/// A server ends the connection without a clean end of the response, so the client can tell.
#[derive(Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    source: Option<BoxError>,
}

/// Why a response body broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// The inner service's body failed.
    Inner,
    /// A message was larger than the limit, and nobody waited for an answer who could have been told.
    MessageTooLarge,
    /// Something could not be read, and may not pass: clients may take it for
    /// [a response](super#what-counts-as-a-response), or
    /// [nothing may](super::InterceptLayer::with_unreadable_refused).
    /// Nobody waited for an answer who could have been told.
    Unreadable,
    /// Something has panicked while the body was polled, and it was polled again: what it had in hand is
    /// lost.
    Panicked,
}

impl BodyError {
    pub(super) fn inner(source: impl Into<BoxError>) -> Self {
        Self {
            kind: BodyErrorKind::Inner,
            source: Some(source.into()),
        }
    }

    /// Why the body broke off.
    #[must_use]
    pub const fn kind(&self) -> BodyErrorKind {
        self.kind
    }
}

impl From<BodyErrorKind> for BodyError {
    fn from(kind: BodyErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl BodyErrorKind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Inner => "the response broke off",
            Self::MessageTooLarge => "a message of the response is too large to be inspected",
            Self::Unreadable => "the response cannot be inspected",
            Self::Panicked => "something panicked in the response",
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
