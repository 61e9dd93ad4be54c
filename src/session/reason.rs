use http::StatusCode;

use crate::{
    jsonrpc::{ErrorObject, code},
    refusal::Refusal,
};

/// Why the inner service is not asked, or what it answered is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Unknown, foreign and ended look alike, byte for byte (AMB-8, B01).
    Unknown,
    /// SES-3.
    Missing,
    /// A26, AMB-31.
    Malformed,
    /// An `initialize` with an id (A31, B09).
    Misplaced,
    /// A batch in a session without (AMB-21).
    Batch,
    /// Another request of the session has the id (SE-7, A51).
    Repeated,
    /// Whoever set this up wrong is told in the log, and the client nothing (B54).
    Unauthenticated,
    /// The principal has too many (B19).
    OverQuota,
    /// All together have too many (B19), or the store does not answer. Not 404: the session may be
    /// there (SES-4).
    Unavailable,
    /// A server gives no id, or somebody else's (SES-2, B11).
    BadUpstream,
}

impl Reason {
    pub(super) fn refusal(self) -> Refusal {
        let (status, code) = match self {
            Self::Unknown => (StatusCode::NOT_FOUND, code::SESSION_NOT_FOUND),
            Self::Missing | Self::Malformed | Self::Misplaced | Self::Batch | Self::Repeated => {
                (StatusCode::BAD_REQUEST, code::INVALID_REQUEST)
            }
            Self::Unauthenticated => (StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL_ERROR),
            Self::OverQuota => (StatusCode::TOO_MANY_REQUESTS, code::TOO_MANY_REQUESTS),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, code::SERVICE_UNAVAILABLE),
            Self::BadUpstream => (StatusCode::BAD_GATEWAY, code::BAD_GATEWAY),
        };
        let message = match self {
            Self::Unknown => "there is no such session",
            Self::Missing => "a session id is required",
            Self::Malformed => "the session id is malformed",
            Self::Misplaced => "initialize opens a session and takes no session id",
            Self::Batch => "the revision of this session has no batches",
            Self::Repeated => "a request with this id is still being answered",
            Self::Unauthenticated => "internal error",
            Self::OverQuota => "there are too many sessions of yours",
            Self::Unavailable => "sessions are not available just now",
            Self::BadUpstream => "the server answered with a session that is unusable",
        };
        Refusal::new(status, ErrorObject::new(code, message))
    }
}
