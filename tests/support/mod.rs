//! What the interoperability tests share: an endpoint, an unmodified rmcp client, a raw one.

// Not every test binary that includes this uses all of it.
#![allow(dead_code)]

pub(crate) mod client;
#[path = "../../examples/gateway/demo.rs"]
mod demo;
pub(crate) mod endpoint;
pub(crate) mod raw;
#[path = "../../examples/gateway/serve.rs"]
mod serve;
#[path = "../../examples/gateway/stack.rs"]
mod stack;
pub(crate) mod tap;

use std::future::Future;
use std::time::Duration;

/// Fails a test that hangs. No test waits for this time to pass.
///
/// Shorter than the 15 s after which rmcp's server sends a keep-alive comment, because that could
/// push on an event that somebody holds back, and hide it from the test.
pub(crate) async fn within_limit<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), test)
        .await
        .expect("the test should be over long before")
}
