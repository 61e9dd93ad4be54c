use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{net::TcpListener, sync::mpsc};
use tower::Service;

use super::Wire;

/// A hyper server in front of a service, for what only shows on the wire.
#[derive(Debug)]
pub(crate) struct Front {
    address: SocketAddr,
    ended: mpsc::UnboundedReceiver<Result<(), hyper::Error>>,
}

impl Front {
    pub(crate) async fn start<S, B>(service: S) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: std::error::Error + Send + Sync,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: std::error::Error + Send + Sync,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let address = listener.local_addr().expect("a bound socket has one");
        let (tx, ended) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                let tx = tx.clone();
                tokio::spawn(async move {
                    let connection =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = tx.send(connection.await);
                });
            }
        });
        Self { address, ended }
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Waits until the server has done with a connection, and all that belongs to it.
    pub(crate) async fn ended(&mut self) -> Result<(), hyper::Error> {
        self.ended.recv().await.expect("the server runs")
    }
}

/// A request as it is on the wire.
pub(crate) fn raw_post(body: &str) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: front\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
