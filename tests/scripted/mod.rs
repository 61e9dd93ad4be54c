//! What the proxy's fault tests share: an upstream and clients that are raw TCP, and do what the
//! test says, byte for byte and nothing of their own accord.

// Not every test binary that includes this uses all of it.
#![allow(dead_code, unused_imports)]

mod body;
mod canned;
mod front;
mod peer;
mod wire;

use std::{future::Future, time::Duration};

use bytes::Bytes;
use http::{Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use shadowcat::{
    body::{RequestBody, ResponseBody},
    message::{MessageLayer, ReadMessage},
    proxy::{Gauges, ReverseProxy, ReverseProxyBuilder, UpstreamBody},
};
use tower::Layer;

pub(crate) use self::{
    body::{End, Relayed, read_exactly, relayed},
    canned::Canned,
    front::{Front, raw_post},
    peer::ScriptedPeer,
    wire::{Received, Wire},
};

/// The proxy behind the layer that reads messages, as a server of type `B` bodies sees it.
pub(crate) type Stack<B> = ReadMessage<ReverseProxy<RequestBody<B>>>;

/// The response body of a [`Stack`].
pub(crate) type StackBody = ResponseBody<ResponseBody<UpstreamBody>>;

/// A request of a client, with an id that no other test data has.
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":"call-7","method":"tools/call","params":{"name":"echo"}}"#;

/// Fails a test that hangs. No test waits for this time to pass.
pub(crate) async fn guarded<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), test)
        .await
        .expect("the test should be over long before")
}

pub(crate) fn builder(peer: &ScriptedPeer) -> ReverseProxyBuilder {
    builder_to(&peer.uri())
}

pub(crate) fn builder_to(upstream: &Uri) -> ReverseProxyBuilder {
    ReverseProxy::builder(upstream).expect("a usable upstream")
}

/// A proxy to `peer`, and its gauges.
pub(crate) fn proxy(peer: &ScriptedPeer) -> (ReverseProxy<Full<Bytes>>, Gauges) {
    let proxy = builder(peer).build();
    let gauges = proxy.gauges();
    (proxy, gauges)
}

/// A proxy to `peer` behind the layer that reads messages, and the proxy's gauges.
pub(crate) fn stack(builder: ReverseProxyBuilder) -> (Stack<Full<Bytes>>, Gauges) {
    let proxy = builder.build();
    let gauges = proxy.gauges();
    (MessageLayer::new().layer(proxy), gauges)
}

pub(crate) fn post(body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post("/mcp")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body.into()))
        .expect("a valid request")
}

/// What the gauges say: in flight, completed, failed, cancelled.
pub(crate) fn outcomes(gauges: &Gauges) -> [u64; 4] {
    [
        gauges.in_flight(),
        gauges.completed(),
        gauges.failed(),
        gauges.cancelled(),
    ]
}

pub(crate) const COMPLETE: [u64; 4] = [0, 1, 0, 0];
pub(crate) const FAILED: [u64; 4] = [0, 0, 1, 0];
pub(crate) const CANCELLED: [u64; 4] = [0, 0, 0, 1];

/// Lets every task run that can run without anything coming from outside.
///
/// For what becomes so in a task of the proxy, without an event that a test could await:
/// a connection's return into the pool.
pub(crate) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
