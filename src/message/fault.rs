use std::fmt;

use http::StatusCode;

use crate::{jsonrpc::code, protocol::Era};

/// A reason to refuse a request. Its text is what the client is told.
///
/// A request with a fault still has an era, the one in which forwarding it does no harm. Either
/// its body or its method makes it a stateless request, and then session headers mean nothing and
/// are stripped (ERA-3); or it is treated as part of a session, and then the session's owner is
/// checked. What the era of each is, is said with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The version header came more than once, or as a list that joins several (AMB-31). It then
    /// counts as absent, and the body decides.
    DuplicateVersionHeader,
    /// The version header has bytes that no version has (HDR-6). It counts as unknown.
    InvalidVersionHeader,
    /// Another header that MCP defines came more than once (AMB-31): its name, or `mcp-*` for all
    /// that have no constant in [`header`](crate::header). Of the era that the body makes it.
    DuplicateHeader(&'static str),
    /// The version header is missing or differs from the body's claim (VER-4, ERA-2), or names a
    /// stateless revision where the claim names one with sessions. Of the era that the claim makes
    /// it. Also a request without any version, where only stateless ones are served (ERA-5).
    VersionMismatch,
    /// `Mcp-Method` or `Mcp-Name` differs from the body, or is missing or malformed where it has to
    /// be there (HDR-2 to HDR-6, HDR-15): its name. Of the era that the body makes it.
    HeaderMismatch(&'static str),
    /// The body is not JSON (A40 to A43), or has more levels than are read. In a session, whatever
    /// the header says.
    NotJson,
    /// The body is JSON, but no JSON-RPC 2.0 message (JRP-1, A48). Of the era that its claim makes
    /// it, or else the header.
    InvalidMessage,
    /// A key that decides something came twice (JRP-10). Of the era that the last one makes it.
    DuplicateKey(&'static str),
    /// A key that differs in upper and lower case alone from one that decides something: the server
    /// may take it for that one (JRP-10). Of the era that the right one makes it.
    AmbiguousKey(&'static str),
    /// The id is valid, but of more than 1,024 bytes (A49). Of the message's era.
    IdTooLong,
    /// A method that is empty, of more than 256 bytes, has control characters, or begins with
    /// `rpc.`, which JSON-RPC keeps for itself (A56). Of the message's era.
    InvalidMethod,
    /// A method that is a request by its definition came without an id: run as a notification, it
    /// would do its work with nobody to answer to (A50). Of the message's era.
    MissingId,
    /// The body is an empty array. In a session.
    EmptyBatch,
    /// The body is an array of more than 50 messages (A47). In a session.
    BatchTooLong,
    /// The body is an array, and the header's revision, or a message's claim, is one without
    /// batches (JRP-7), or one that is not served. In a session, since only sessions ever had them.
    BatchNotAllowed,
    /// An `initialize` within a batch (JRP-6). In a session.
    InitializeInBatch,
    /// Two messages of one kind in a batch have the same id (A47). In a session.
    DuplicateId,
    /// A response, with a modern version header (JRP-8), or where no sessions are served. In a
    /// session: that is where a server that takes it would look for its request.
    ResponseNotAllowed,
    /// A request with a modern version header and no claim in its body, or none that is a string;
    /// or with a modern claim, and no client capabilities next to it (VER-6). Stateless.
    MissingMeta,
    /// An `initialize` with a modern version header and no claim (AMB-1). In a session: should a
    /// server answer it with one, then somebody has to own it.
    InitializeHeaderMismatch,
    /// GET or DELETE with a modern version header (AMB-33). Stateless. Also without one, where no
    /// sessions are served (TRN-9).
    MethodNotAllowed,
    /// A revision that is not among the ones that are served (VER-2, VER-5). Of the message's era.
    UnsupportedVersion,
    /// An `initialize`, or another message of a revision with sessions, where no sessions are
    /// served (ERA-5, AMB-38). In a session.
    SessionsNotServed,
}

impl Fault {
    /// The HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The JSON-RPC code of the refusal to a request of that era.
    ///
    /// Revisions with sessions have no codes for what is wrong with a header: there it is an
    /// invalid request (−32600).
    #[must_use]
    pub const fn code(self, era: Era) -> i32 {
        match (self, era) {
            (Self::NotJson, _) => code::PARSE_ERROR,
            (Self::MissingMeta, _) => code::INVALID_PARAMS,
            (Self::InitializeHeaderMismatch | Self::VersionMismatch, _)
            | (
                Self::DuplicateVersionHeader
                | Self::InvalidVersionHeader
                | Self::DuplicateHeader(_)
                | Self::HeaderMismatch(_),
                Era::Stateless,
            ) => code::HEADER_MISMATCH,
            (Self::SessionsNotServed, _) | (Self::UnsupportedVersion, Era::Stateless) => {
                code::UNSUPPORTED_PROTOCOL_VERSION
            }
            _ => code::INVALID_REQUEST,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateHeader(name) => return write!(f, "{name} came more than once"),
            Self::HeaderMismatch(name) => {
                return write!(f, "{name} is missing, malformed, or not what the body says");
            }
            Self::DuplicateKey(key) => return write!(f, "the key {key} came more than once"),
            Self::AmbiguousKey(key) => {
                return write!(f, "a key differs from {key} in upper and lower case alone");
            }
            Self::DuplicateVersionHeader => "mcp-protocol-version came more than once",
            Self::InvalidVersionHeader => "mcp-protocol-version has bytes that no version has",
            Self::VersionMismatch => {
                "mcp-protocol-version is missing, or is not the version that the body claims"
            }
            Self::NotJson => "the body is not JSON",
            Self::InvalidMessage => "the body is no JSON-RPC 2.0 message",
            Self::IdTooLong => "the id is too long",
            Self::InvalidMethod => "the method is no usable name",
            Self::MissingId => "the method is a request, and has no id",
            Self::EmptyBatch => "the batch is empty",
            Self::BatchTooLong => "the batch has too many messages",
            Self::BatchNotAllowed => "this protocol version has no batches",
            Self::InitializeInBatch => "initialize must not be part of a batch",
            Self::DuplicateId => "two messages of the batch have the same id",
            Self::ResponseNotAllowed => "clients of this protocol version send no responses",
            Self::MissingMeta => {
                "params._meta lacks the protocol version or the client capabilities"
            }
            Self::InitializeHeaderMismatch => {
                "initialize belongs to protocol versions before the one in mcp-protocol-version"
            }
            Self::MethodNotAllowed => "this protocol version has no method but POST",
            Self::UnsupportedVersion => "the protocol version is not supported",
            Self::SessionsNotServed => "protocol versions with sessions are not supported",
        })
    }
}
