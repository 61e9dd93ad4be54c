use std::{error::Error, fmt, time::Duration};

use crate::BoxError;

/// The response of the upstream broke off.
///
/// hyper's server ends the client's connection without a clean end of the response, so the client
/// can tell.
#[derive(Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    source: Option<BoxError>,
}

/// How the response of the upstream broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyErrorKind {
    /// The connection failed, or its framing was wrong.
    Broken,
    /// Nothing came for this long.
    Idle(Duration),
}

impl BodyError {
    pub(super) fn broken(source: impl Into<BoxError>) -> Self {
        Self {
            kind: BodyErrorKind::Broken,
            source: Some(source.into()),
        }
    }

    pub(super) const fn idle(timeout: Duration) -> Self {
        Self {
            kind: BodyErrorKind::Idle(timeout),
            source: None,
        }
    }

    /// How the response broke off.
    #[must_use]
    pub const fn kind(&self) -> BodyErrorKind {
        self.kind
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            BodyErrorKind::Broken => f.write_str("the upstream's response broke off"),
            BodyErrorKind::Idle(timeout) => {
                write!(f, "the upstream was silent for {} ms", timeout.as_millis())
            }
        }
    }
}

impl Error for BodyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
