//! The MCP endpoint under test.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::{demo, serve, stack};

/// An MCP endpoint on a free loopback port; dropping it shuts both servers down.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    _alive: watch::Sender<()>,
}

/// Starts what the tests talk to: the gateway of the example, in front of its demo server.
pub(crate) async fn endpoint() -> Endpoint {
    let (alive, dropped) = watch::channel(());
    let (demo_listener, demo) = bind().await;
    tokio::spawn(demo::serve(demo_listener, closed(dropped.clone())));

    let (listener, address) = bind().await;
    let upstream = format!("http://{demo}/mcp").parse().expect("a URL");
    let options = serve::Options {
        keep_alive: Duration::from_secs(15),
        grace: Duration::from_secs(1),
    };
    let window = stack::Window::DEFAULT;
    let (mcp, _) = stack::mcp(&upstream, window, options.keep_alive).expect("a usable upstream");
    tokio::spawn(serve::serve(
        listener,
        stack::Routes::new(mcp),
        options,
        closed(dropped),
    ));
    Endpoint {
        url: format!("http://{address}/mcp"),
        address,
        _alive: alive,
    }
}

async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    (listener, address)
}

/// Completes when the sender is dropped.
async fn closed(mut dropped: watch::Receiver<()>) {
    while dropped.changed().await.is_ok() {}
}
