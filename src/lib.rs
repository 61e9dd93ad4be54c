//! Tower layers for MCP Streamable HTTP and for server-sent events.

pub mod body;
pub mod header;
pub mod jsonrpc;
pub mod message;
pub mod outcome;
pub mod peer;
pub mod protocol;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod refusal;
pub mod sse;

#[cfg(test)]
mod mock_body;

/// Any error, where its type cannot be named.
#[cfg(feature = "proxy")]
type BoxError = Box<dyn std::error::Error + Send + Sync>;
