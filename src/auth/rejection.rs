use std::{error::Error, fmt, time::Duration};

use super::Scopes;

/// Why credentials are not accepted, as their client is told.
///
/// It has nothing in it that came with the request: no token, and no claim of one (SEC-11).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a rejection does nothing by itself"]
pub struct Rejection {
    kind: RejectionKind,
}

/// The kinds of [`Rejection`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The token is expired, revoked, malformed, for another server, or unknown: 401, `invalid_token`
    /// and the description.
    InvalidToken(&'static str),
    /// The token is valid, and allows too little: 403, `insufficient_scope` and all scopes that are
    /// needed.
    InsufficientScope(Scopes),
    /// Nobody can tell just now, for instance because keys cannot be had: 503, to be asked again after
    /// that time.
    Unavailable(Duration),
}

impl Rejection {
    /// The token is expired, revoked, malformed, for another server, or unknown.
    ///
    /// The description is for whoever has to find out why a client does not get in. Characters that
    /// have no place there (RFC 6750 §3: quotes, backslashes, all but printable ASCII) are left out.
    pub const fn invalid_token(description: &'static str) -> Self {
        Self {
            kind: RejectionKind::InvalidToken(description),
        }
    }

    /// The token is valid, and allows too little. `scopes` are all that are needed, those too that the
    /// token has (AUT-7).
    pub const fn insufficient_scope(scopes: Scopes) -> Self {
        Self {
            kind: RejectionKind::InsufficientScope(scopes),
        }
    }

    /// Nobody can tell just now. The client is told to ask again after that time, in whole seconds,
    /// rounded up, and at least one.
    pub const fn unavailable(retry_after: Duration) -> Self {
        Self {
            kind: RejectionKind::Unavailable(retry_after),
        }
    }

    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> &RejectionKind {
        &self.kind
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RejectionKind::InvalidToken(description) => f.write_str(description),
            RejectionKind::InsufficientScope(scopes) => {
                write!(f, "the token lacks a scope of: {scopes}")
            }
            RejectionKind::Unavailable(_) => f.write_str("tokens cannot be verified just now"),
        }
    }
}

impl Error for Rejection {}
