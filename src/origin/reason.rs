use http::StatusCode;

use crate::{
    jsonrpc::{ErrorObject, code},
    refusal::Refusal,
};

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    NoHost,
    /// More than one `Host`, or another than the URI's: two hops may take two hosts for the one
    /// that is meant (A16).
    AmbiguousHost,
    MalformedHost,
    ForeignHost,
    NoOrigin,
    /// Of two, none is allowed, whatever they are (AMB-31).
    RepeatedOrigin,
    ForeignOrigin,
}

impl Reason {
    /// What was sent is not repeated: it may be meant for whoever reads the error (B49).
    pub(super) fn refusal(self) -> Refusal {
        let (status, code, message) = match self {
            Self::NoHost => (
                StatusCode::BAD_REQUEST,
                code::INVALID_REQUEST,
                "the request names no host",
            ),
            Self::AmbiguousHost => (
                StatusCode::BAD_REQUEST,
                code::INVALID_REQUEST,
                "the request names more than one host",
            ),
            Self::MalformedHost => (
                StatusCode::BAD_REQUEST,
                code::INVALID_REQUEST,
                "the request's host is none",
            ),
            Self::ForeignHost => (
                StatusCode::FORBIDDEN,
                code::FORBIDDEN,
                "the request's host is not allowed",
            ),
            Self::NoOrigin => (
                StatusCode::FORBIDDEN,
                code::FORBIDDEN,
                "the request has no origin",
            ),
            Self::RepeatedOrigin => (
                StatusCode::FORBIDDEN,
                code::FORBIDDEN,
                "the request has more than one origin",
            ),
            Self::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                code::FORBIDDEN,
                "the request's origin is not allowed",
            ),
        };
        Refusal::new(status, ErrorObject::new(code, message))
    }
}
