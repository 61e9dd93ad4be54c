use std::{error::Error, fmt};

use crate::BoxError;

/// Tokens cannot be verified like that: what is configured is not valid, or there are no keys.
///
/// It is told to whoever sets up or operates the server, never to a client.
#[derive(Debug)]
pub struct JwtError {
    kind: JwtErrorKind,
    source: Option<BoxError>,
}

/// The kinds of [`JwtError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JwtErrorKind {
    /// An issuer is no `https` URL, or two are the same, or there are none.
    Issuer,
    /// An audience is empty.
    Audience,
    /// No algorithm is accepted.
    Algorithms,
    /// The leeway is too long.
    Leeway,
    /// The URL of the keys is no `https` URL, or leads to an address that is not allowed.
    Url,
    /// What should have keys in it has none that are usable, or has them in a wrong way.
    Keys,
    /// The file with the keys cannot be read.
    File,
    /// There are no root certificates to verify the keys' server with, or they are not readable.
    Certificates,
    /// The keys cannot be fetched.
    Fetch,
    /// The system has no random bytes.
    Random,
}

impl JwtError {
    pub(super) fn new(kind: JwtErrorKind, source: impl Into<BoxError>) -> Self {
        Self {
            kind,
            source: Some(source.into()),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> JwtErrorKind {
        self.kind
    }
}

impl From<JwtErrorKind> for JwtError {
    fn from(kind: JwtErrorKind) -> Self {
        Self { kind, source: None }
    }
}

impl fmt::Display for JwtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            JwtErrorKind::Issuer => "an issuer is no https URL, is there twice, or there is none",
            JwtErrorKind::Audience => "an audience is empty",
            JwtErrorKind::Algorithms => "no algorithm is accepted",
            JwtErrorKind::Leeway => "the leeway is longer than a minute",
            JwtErrorKind::Url => "the URL of the keys cannot be used",
            JwtErrorKind::Keys => "there are no usable keys",
            JwtErrorKind::File => "the file with the keys cannot be read",
            JwtErrorKind::Certificates => "there are no usable root certificates",
            JwtErrorKind::Fetch => "the keys cannot be fetched",
            JwtErrorKind::Random => "the system has no random bytes",
        })
    }
}

impl Error for JwtError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.source {
            Some(source) => Some(source.as_ref()),
            None => None,
        }
    }
}
