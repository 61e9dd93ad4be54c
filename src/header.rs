//! The names of the headers that MCP adds to HTTP.

use http::HeaderName;

/// The session that a request belongs to; a secret.
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The protocol version that a request follows.
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Where a client wants a stream to go on.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The method that the body names.
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// The tool, prompt, resource or task that the body names.
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Asks other proxies not to hold a stream back.
pub const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
