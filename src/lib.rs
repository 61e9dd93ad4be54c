//! Tower layers for MCP Streamable HTTP and for server-sent events.

pub mod jsonrpc;
pub mod sse;
