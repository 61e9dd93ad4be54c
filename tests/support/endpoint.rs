//! The MCP endpoint under test.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::demo;

/// An MCP endpoint on a free loopback port; dropping it shuts the server down.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    _alive: oneshot::Sender<()>,
}

/// Starts what the tests talk to. This is the one place where something goes in front of the demo.
pub(crate) async fn endpoint() -> Endpoint {
    start_demo().await
}

async fn start_demo() -> Endpoint {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("bind a free port");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let (alive, dropped) = oneshot::channel::<()>();
    tokio::spawn(demo::serve(listener, async {
        let _ = dropped.await;
    }));
    Endpoint {
        url: format!("http://{address}/mcp"),
        address,
        _alive: alive,
    }
}
