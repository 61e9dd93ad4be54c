//! The processes under test: the stack of the gateway example, with and without replay.

use std::future;
use std::time::Duration;

use http::Uri;
use shadowcat::message::MessageLayer;
use shadowcat::origin::OriginLayer;
use shadowcat::proxy::ReverseProxy;
use shadowcat::replay::ReplayLayer;
use tokio::net::TcpListener;
use tower::ServiceBuilder;

use super::proc::Result;

#[path = "../../examples/gateway/serve.rs"]
mod serve;
// Of its own stack, each role leaves out or adds what it compares.
#[allow(dead_code)]
#[path = "../../examples/gateway/stack.rs"]
mod stack;

const OPTIONS: serve::Options = serve::Options {
    keep_alive: Duration::from_secs(15),
    grace: Duration::ZERO,
};

/// Serves the gateway on `listener` in front of `upstream`.
pub(crate) async fn whole(listener: TcpListener, upstream: Uri) -> Result<()> {
    let (mcp, _) = stack::mcp(
        &upstream,
        None,
        OriginLayer::loopback(),
        stack::Window::DEFAULT,
        OPTIONS.keep_alive,
    )?;
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// The same without a guard, and without sessions.
pub(crate) async fn replaying(listener: TcpListener, upstream: Uri) -> Result<()> {
    let proxy = ReverseProxy::builder(&upstream)?
        .with_tcp_keep_alive(OPTIONS.keep_alive)
        .build();
    let window = stack::Window::DEFAULT;
    let replay = ReplayLayer::new(window.store())
        .with_max_detached_for(window.time)
        .with_keep_alive(Some(OPTIONS.keep_alive));
    let mcp = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(replay)
        .service(proxy);
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}

/// The same without replay.
pub(crate) async fn proxying(listener: TcpListener, upstream: Uri) -> Result<()> {
    let proxy = ReverseProxy::builder(&upstream)?
        .with_tcp_keep_alive(OPTIONS.keep_alive)
        .build();
    let mcp = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .service(proxy);
    let routes = stack::Routes::new(mcp);
    Ok(serve::serve(listener, routes, OPTIONS, future::pending()).await?)
}
