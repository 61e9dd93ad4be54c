//! A server of some revisions of MCP, which tells clients of others which ones they are (VER-5).
//!
//! ```sh
//! cargo run --example versions
//! curl -i http://127.0.0.1:8080/mcp -H 'Content-Type: application/json' \
//!   -H 'MCP-Protocol-Version: 2027-01-01' -H 'Mcp-Method: ping' \
//!   -d '{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{
//!     "io.modelcontextprotocol/protocolVersion":"2027-01-01",
//!     "io.modelcontextprotocol/clientCapabilities":{}}}}'
//! ```
//!
//! It is told 400 and −32022, with `data.supported`; with 2026-07-28 in both places, a result.

use std::{error::Error, net::SocketAddr};

use axum::{Router, http::header, response::IntoResponse, routing::post};
use clap::Parser;
use shadowcat::{
    message::MessageLayer,
    protocol::ProtocolVersion::{V2025_11_25, V2026_07_28},
};
use tokio::net::TcpListener;

pub(crate) fn app() -> Router {
    // What the handler is made for, and nothing else: without a list it would have to look.
    let message = MessageLayer::new().with_versions(&[V2025_11_25, V2026_07_28]);
    Router::new().route("/mcp", post(mcp)).layer(message)
}

/// As much of an MCP server as the command needs.
async fn mcp() -> impl IntoResponse {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)
}

#[derive(Debug, Parser)]
struct Args {
    /// Where to serve; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(Args::parse().listen).await?;
    println!("listening on http://{}/mcp", listener.local_addr()?);
    axum::serve(listener, app()).await?;
    Ok(())
}
