//! What went wrong upstream, as an answer (PRX-4, PRX-7).

use std::{error::Error, fmt};

use http::StatusCode;

use super::connection::ConnectError;
use crate::{
    BoxError,
    jsonrpc::{ErrorObject, code},
    refusal::Refusal,
};

/// Why there is no answer of the upstream to relay.
///
/// Addresses and error texts go to the log, never to the client (SEC-11).
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection.
    Connect(BoxError),
    /// No connection in time.
    ConnectTimeout,
    /// A connection, but no head in time.
    HeadTimeout,
    /// The connection ended, or said something that is not HTTP, before the head was complete.
    NoHead(hyper::Error),
    /// The client's request body broke off while it was forwarded.
    RequestBody(hyper::Error),
    /// A redirect, which the proxy does not follow.
    Redirect,
    /// A switch of protocols that nobody asked for.
    Switch,
    /// An event stream in an encoding that nobody asked for.
    Encoded,
    /// A response in another transfer coding than chunks.
    ResponseCoding,
    /// A request in another transfer coding than chunks.
    RequestCoding,
    /// `Connection` names a field that is not the client's to remove.
    NamesProtected,
    /// CONNECT or TRACE.
    Method,
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Failed(error) => Self::Connect(error),
            ConnectError::TimedOut => Self::ConnectTimeout,
        }
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        // The only user in this is the request's body.
        if error.is_user() {
            Self::RequestBody(error)
        } else {
            Self::NoHead(error)
        }
    }
}

impl Failure {
    /// The status, the JSON-RPC code and the words that a client gets.
    const fn answer(&self) -> (StatusCode, i32, &'static str) {
        const BAD_GATEWAY: (StatusCode, i32) = (StatusCode::BAD_GATEWAY, code::BAD_GATEWAY);
        const TIMEOUT: (StatusCode, i32) = (StatusCode::GATEWAY_TIMEOUT, code::GATEWAY_TIMEOUT);
        const NOT_IMPLEMENTED: (StatusCode, i32) =
            (StatusCode::NOT_IMPLEMENTED, code::INVALID_REQUEST);
        const BAD_REQUEST: (StatusCode, i32) = (StatusCode::BAD_REQUEST, code::INVALID_REQUEST);
        let ((status, code), message) = match self {
            Self::Connect(_) => (BAD_GATEWAY, "the upstream cannot be reached"),
            Self::ConnectTimeout => (TIMEOUT, "the upstream did not accept a connection in time"),
            Self::HeadTimeout => (TIMEOUT, "the upstream did not answer in time"),
            Self::NoHead(_) => (BAD_GATEWAY, "the upstream gave no valid answer"),
            Self::RequestBody(_) => (BAD_REQUEST, "the request body broke off"),
            Self::Redirect => (BAD_GATEWAY, "the upstream answered with a redirect"),
            Self::Switch => (BAD_GATEWAY, "the upstream switched to another protocol"),
            Self::Encoded => (BAD_GATEWAY, "the upstream encoded an event stream"),
            Self::ResponseCoding => (BAD_GATEWAY, "the upstream encoded the transfer"),
            Self::RequestCoding => (
                NOT_IMPLEMENTED,
                "the transfer coding of the request is not understood",
            ),
            Self::NamesProtected => (
                BAD_REQUEST,
                "the Connection field names a field that it must not remove",
            ),
            Self::Method => (NOT_IMPLEMENTED, "the method is not proxied"),
        };
        (status, code, message)
    }
}

impl Failure {
    /// Whether it is the client's doing.
    pub(super) const fn is_of_client(&self) -> bool {
        matches!(
            self,
            Self::RequestBody(_) | Self::RequestCoding | Self::NamesProtected | Self::Method
        )
    }
}

impl From<&Failure> for Refusal {
    fn from(failure: &Failure) -> Self {
        let (status, code, message) = failure.answer();
        Self::new(status, ErrorObject::new(code, message))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (_, _, message) = self.answer();
        f.write_str(message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) => Some(error.as_ref()),
            Self::NoHead(error) | Self::RequestBody(error) => Some(error),
            _ => None,
        }
    }
}
