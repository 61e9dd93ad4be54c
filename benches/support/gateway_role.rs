//! The process under test.

use http::Uri;
use tokio::net::TcpListener;

use super::baseline;
use super::proc::Result;

/// Serves the gateway on `listener` in front of `upstream`.
pub(crate) async fn serve(listener: TcpListener, upstream: Uri) -> Result<()> {
    baseline::merging(listener, upstream).await
}
