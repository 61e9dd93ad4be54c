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
        let (status, code, message) = match self {
            Self::Unknown => (404, code::SESSION_NOT_FOUND, "there is no such session"),
            Self::Missing => (400, code::INVALID_REQUEST, "a session id is required"),
            Self::Malformed => (400, code::INVALID_REQUEST, "the session id is malformed"),
            Self::Misplaced => (
                400,
                code::INVALID_REQUEST,
                "initialize opens a session and takes no session id",
            ),
            Self::Batch => (
                400,
                code::INVALID_REQUEST,
                "the revision of this session has no batches",
            ),
            Self::Unauthenticated => (500, code::INTERNAL_ERROR, "internal error"),
            Self::OverQuota => (
                429,
                code::TOO_MANY_REQUESTS,
                "there are too many sessions of yours",
            ),
            Self::Unavailable => (
                503,
                code::SERVICE_UNAVAILABLE,
                "sessions are not available just now",
            ),
            Self::BadUpstream => (
                502,
                code::BAD_GATEWAY,
                "the server answered with a session that is unusable",
            ),
        };
        // All of them are valid.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Refusal::new(status, ErrorObject::new(code, message))
    }
}
