use std::{error::Error, fmt};

/// Why a store did not do what it was asked for.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What is wrong, for the caller to decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is no such stream or session, or it is somebody else's: the two look alike (`B24`).
    NotFound,
    /// The event does not follow the last one, or the stream is closed: the caller is not, or no
    /// longer, its one writer. Or somebody else has that session.
    Conflict,
    /// Something is stored that cannot be read.
    Corrupt,
    /// The owner has as many as one may have.
    OverQuota,
    /// The store is full, down or slow. It may be tried again.
    Unavailable,
}

impl StoreError {
    /// An error with a cause.
    #[must_use]
    pub fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::NotFound => "no such stream or session",
            StoreErrorKind::Conflict => "somebody else has it",
            StoreErrorKind::Corrupt => "what is stored cannot be read",
            StoreErrorKind::OverQuota => "its owner has too many",
            StoreErrorKind::Unavailable => "the store is not available",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
