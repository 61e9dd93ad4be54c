//! Tower layers for MCP Streamable HTTP and for server-sent events.

pub mod body;
pub mod header;
pub mod jsonrpc;
pub mod message;
pub mod outcome;
pub mod peer;
pub mod protocol;
pub mod refusal;
pub mod sse;

#[cfg(test)]
mod mock_body;
