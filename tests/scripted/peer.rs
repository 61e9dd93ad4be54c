use std::{
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    task::Poll,
};

use http::Uri;
use tokio::net::TcpListener;

use super::Wire;

/// An upstream without a mind of its own: the test accepts, reads, writes and closes.
#[derive(Debug)]
pub(crate) struct ScriptedPeer {
    address: SocketAddr,
    listener: TcpListener,
    accepted: usize,
}

impl ScriptedPeer {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        Self {
            address: listener.local_addr().expect("a bound socket has one"),
            listener,
            accepted: 0,
        }
    }

    /// A URL where nobody listens.
    pub(crate) async fn nobody() -> Uri {
        Self::bind().await.uri()
    }

    pub(crate) fn authority(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn uri(&self) -> Uri {
        let url = format!("http://{}/mcp", self.address);
        url.parse().expect("a valid URL")
    }

    pub(crate) async fn accept(&mut self) -> Wire {
        let (stream, _) = self.listener.accept().await.expect("a connection");
        self.accepted += 1;
        Wire::new(stream)
    }

    /// How many connections there have been, with those that wait to be accepted.
    pub(crate) async fn connections(&mut self) -> usize {
        while let Some(connection) = self.waiting().await {
            drop(connection);
        }
        self.accepted
    }

    async fn waiting(&mut self) -> Option<Wire> {
        let accepted = poll_fn(|cx| match self.listener.poll_accept(cx) {
            Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
            Poll::Pending => Poll::Ready(None),
        });
        let (stream, _) = accepted.await?.expect("a connection");
        self.accepted += 1;
        Some(Wire::new(stream))
    }
}
