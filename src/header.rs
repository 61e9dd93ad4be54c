//! Names of the header fields that MCP, server-sent events and proxies add to HTTP.
//!
//! Field names are case-insensitive on the wire; the constants are in the lower case that
//! [`http`] keeps.
//!
//! ```
//! use http::Request;
//! use shadowcat::header;
//!
//! let request = Request::get("/mcp")
//!     .header("Last-Event-ID", "c2hhZG93Y2F0")
//!     .body(())
//!     .expect("the request is well formed");
//!
//! assert_eq!(request.headers()[header::LAST_EVENT_ID], "c2hhZG93Y2F0");
//! ```

use http::HeaderName;

/// Names the session a request belongs to; a secret (session eras only, SES-1…6).
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The protocol revision a request is written for (VER-1, VER-4).
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The cursor of a client that resumes an event stream (WHATWG HTML, "server-sent events"; SSE-6).
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Mirrors the body's `method` (2026-07-28, HDR-1).
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// Mirrors the tool, prompt, resource or task that a body names (2026-07-28, HDR-1).
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// What is left of a quota (draft-ietf-httpapi-ratelimit-headers-11).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// What a quota is (draft-ietf-httpapi-ratelimit-headers-11).
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// For whom a proxy asks, as nearly all proxies write it; `Forwarded` (RFC 7239) says the same.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `no` asks buffering proxies in front of us to pass each event on at once (SSE-13).
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Whether a content type is that one, whatever its parameters.
#[cfg(any(
    feature = "auth",
    feature = "intercept",
    feature = "proxy",
    feature = "rate-limit",
    feature = "replay",
    feature = "session"
))]
pub(crate) fn is_of_type(kind: &[u8], essence: &[u8]) -> bool {
    // Nearly all others differ in their first bytes.
    let Some((start, parameters)) = kind.trim_ascii_start().split_at_checked(essence.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(essence)
        && matches!(parameters.trim_ascii_start().first(), None | Some(b';'))
}
