//! The process under test: the stack of the gateway example.

use std::future;
use std::time::Duration;

use http::Uri;
use tokio::net::TcpListener;

use super::proc::Result;

#[path = "../../examples/gateway/serve.rs"]
mod serve;
#[path = "../../examples/gateway/stack.rs"]
mod stack;

/// Serves the gateway on `listener` in front of `upstream`.
pub(crate) async fn serve(listener: TcpListener, upstream: Uri) -> Result<()> {
    let options = serve::Options {
        keep_alive: Duration::from_secs(15),
        grace: Duration::ZERO,
    };
    let mcp = stack::mcp(&upstream, options.keep_alive)?;
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, options, future::pending()).await?)
}
