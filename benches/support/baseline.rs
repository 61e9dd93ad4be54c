//! What the gateway is compared with: a pass-through that does nothing, and one that only merges.

use http::uri::{Parts, PathAndQuery};
use http::{Request, Uri};
use http_body::Body;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::merging::Merging;
use super::proc::{Error, Result};

/// Forwards every frame as it comes.
pub(crate) async fn bare(listener: TcpListener, upstream: Uri) -> Result<()> {
    pass_through(listener, upstream, |body| body).await
}

/// Forwards what has come while the connection to the upstream could read on.
pub(crate) async fn merging(listener: TcpListener, upstream: Uri) -> Result<()> {
    pass_through(listener, upstream, Merging::new).await
}

async fn pass_through<F, B>(listener: TcpListener, upstream: Uri, map: F) -> Result<()>
where
    F: Fn(Incoming) -> B + Copy + Send + 'static,
    B: Body<Data = Bytes, Error = hyper::Error> + Send + 'static,
{
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (client, upstream) = (client.clone(), upstream.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            *request.uri_mut() = target(&upstream, request.uri());
            let response = client.request(request);
            async move { Ok::<_, Error>(response.await?.map(map)) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::spawn(connection);
    }
}

fn target(upstream: &Uri, requested: &Uri) -> Uri {
    let mut parts = Parts::default();
    parts.scheme = upstream.scheme().cloned();
    parts.authority = upstream.authority().cloned();
    parts.path_and_query = requested
        .path_and_query()
        .cloned()
        .or(Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}
