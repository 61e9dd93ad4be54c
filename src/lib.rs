//! Tower layers for MCP Streamable HTTP and for server-sent events.

pub mod header;
pub mod jsonrpc;
pub mod message;
pub mod protocol;
pub mod sse;
