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
    /// An event was larger than the limit.
    EventTooLarge,
    /// Another connection of the client has the stream now, or nobody any more.
    Superseded,
    /// Nobody came back for the stream, or it had too much to say to nobody.
    GivenUp,
    /// The server did not take a stream up again that it had closed early.
    NotResumed,
    /// The store could not record an event, or not read one.
    Store,
}

impl BodyError {
    pub(super) fn new(kind: BodyErrorKind, source: impl Into<BoxError>) -> Self {
        Self {
            kind,
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

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            BodyErrorKind::Inner => "the response broke off",
            BodyErrorKind::EventTooLarge => "an event of the response is too large",
            BodyErrorKind::Superseded => "the stream goes on elsewhere, or not at all",
            BodyErrorKind::GivenUp => "the stream was given up",
            BodyErrorKind::NotResumed => "the server did not take the stream up again",
            BodyErrorKind::Store => "the event store failed",
        })
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
