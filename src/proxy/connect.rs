use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;
use tower_service::Service;

use super::stream::UpstreamStream;
use crate::BoxError;

/// Connects within a time that includes the name's resolution.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    http: HttpConnector,
    timeout: Duration,
}

/// A connection was not there in time.
#[derive(Debug)]
pub(super) struct ConnectTimeout(());

impl fmt::Display for ConnectTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was not there in time")
    }
}

impl Error for ConnectTimeout {}

impl Connector {
    pub(super) fn new(timeout: Duration, keep_alive: Duration) -> Self {
        let mut http = HttpConnector::new();
        // An event is a small write that somebody waits for.
        http.set_nodelay(true);
        // A stream may be silent for hours: whether its peer is still there, TCP has to find out.
        http.set_keepalive(Some(keep_alive));
        http.set_keepalive_interval(Some(keep_alive));
        http.set_keepalive_retries(Some(3));
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        http.set_tcp_user_timeout(Some(keep_alive * 4));
        Self { http, timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = UpstreamStream;
    type Error = BoxError;
    // One box per connection, which hyper-util's own connector has as well.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.http.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = timeout(self.timeout, self.http.call(uri));
        Box::pin(async move {
            match connecting.await {
                Ok(connected) => Ok(UpstreamStream::new(connected?)),
                Err(_elapsed) => Err(ConnectTimeout(()).into()),
            }
        })
    }
}
