//! Error codes.
//!
//! Our own codes lie outside the range that JSON-RPC reserves, −32768 to −32000, so that nobody
//! takes them for the server's (PGR-5). Each is −31000 minus the HTTP status of the same meaning,
//! see [`from_status`].

/// The body is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The body is JSON, but no acceptable JSON-RPC message.
pub const INVALID_REQUEST: i32 = -32600;
/// The method does not exist, or not for this caller.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The parameters are not what the method takes.
pub const INVALID_PARAMS: i32 = -32602;
/// Something broke that the caller did not cause.
pub const INTERNAL_ERROR: i32 = -32603;

/// A mirrored header is missing, malformed, or different from the body (2026-07-28).
pub const HEADER_MISMATCH: i32 = -32020;
/// The request needs a capability that the client did not declare (2026-07-28).
pub const MISSING_CLIENT_CAPABILITY: i32 = -32021;
/// The request's protocol version is not spoken here (2026-07-28).
pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

/// The caller has not said who it is, or not in a way that is believed.
pub const UNAUTHORIZED: i32 = from_status(401);
/// The session is not there, has ended, or is somebody else's.
pub const SESSION_NOT_FOUND: i32 = from_status(404);
/// The request took too long to arrive.
pub const REQUEST_TIMEOUT: i32 = from_status(408);
/// The caller may not do this, or not from there.
pub const FORBIDDEN: i32 = from_status(403);
/// The body is over the limit.
pub const PAYLOAD_TOO_LARGE: i32 = from_status(413);
/// The body is of a type, or in a coding, that is not read.
pub const UNSUPPORTED_MEDIA_TYPE: i32 = from_status(415);
/// The caller is over its quota.
pub const TOO_MANY_REQUESTS: i32 = from_status(429);
/// The request costs more than the caller's quota ever allows: to send it again is of no use. HTTP has
/// no status of that meaning; it goes with 403.
pub const NEVER_FITS: i32 = -31803;
/// The cursor is not one of a stream that the caller may resume, or is no longer kept.
pub const INVALID_CURSOR: i32 = from_status(400);
/// The upstream could not be reached, or broke off.
pub const BAD_GATEWAY: i32 = from_status(502);
/// Nothing is there to take the request just now.
pub const SERVICE_UNAVAILABLE: i32 = from_status(503);
/// The upstream took too long.
pub const GATEWAY_TIMEOUT: i32 = from_status(504);

/// Our code for a refusal that HTTP has a status for.
#[must_use]
pub const fn from_status(status: u16) -> i32 {
    -31000 - status as i32
}
