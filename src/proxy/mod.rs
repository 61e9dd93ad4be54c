//! A leaf service that answers with the answer of an upstream.
//!
//! [`ReverseProxy`] is to a stack of layers what a handler is in an axum app: layers and
//! `ReverseProxy` are an MCP gateway. It streams both ways, with backpressure, and sends the head
//! of a response on as soon as it is there.
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use shadowcat::{body::RequestBody, message::MessageLayer, proxy::ReverseProxy};
//! use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::TcpListener};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // An upstream that answers one request and is gone.
//! let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
//! let url = format!("http://{}/mcp", listener.local_addr().unwrap());
//! tokio::spawn(async move {
//!     let (mut socket, _) = listener.accept().await.unwrap();
//!     drop(listener);
//!     let mut head = vec![0; 1024];
//!     let len = socket.read(&mut head).await.unwrap();
//!     assert!(head[..len].starts_with(b"POST /mcp HTTP/1.1\r\n"));
//!     let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n";
//!     socket.write_all(answer.as_bytes()).await.unwrap();
//! });
//!
//! let gateway = ServiceBuilder::new()
//!     .layer(MessageLayer::new())
//!     .service(ReverseProxy::builder(&url.parse().unwrap()).unwrap().build());
//! let request = || {
//!     let body = Full::<Bytes>::from(r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#);
//!     Request::post("/anything").header("content-type", "application/json").body(body).unwrap()
//! };
//!
//! let response = gateway.clone().oneshot(request()).await.unwrap();
//! assert_eq!(response.status(), StatusCode::OK);
//! assert_eq!(response.headers()["x-accel-buffering"], "no");
//! let body = response.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(body, "data: {}\n\n");
//!
//! // Now nobody is there: the client gets a JSON-RPC error for its request.
//! let response = gateway.oneshot(request()).await.unwrap();
//! assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
//! let body = response.into_body().collect().await.unwrap().to_bytes();
//! assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":7,"error":{"code":-31502,"#));
//! # }
//! ```
//!
//! # What is sent
//!
//! Every request goes to the one URL that the proxy was built with, whatever its own path or
//! `Host`. Its query goes along unless the upstream's URL has one of its own; an `access_token` in
//! it never does. `Host` is the upstream's, `Accept-Encoding` is `identity`, and hop-by-hop fields
//! and what clients say about forwarding (`Forwarded`, `X-Forwarded-*`) stay behind (RFC 9110
//! §7.6.1, PRX-1…3); `Via` is added. All else passes byte for byte, and so does the answer, but for
//! three things: interim responses (1xx) end here, trailers do not cross HTTP/1.1 because the
//! `Trailer` field is hop-by-hop, and an event stream is told not to be buffered
//! (`X-Accel-Buffering`, `Cache-Control`).
//!
//! # What it answers itself
//!
//! | condition | status | JSON-RPC code |
//! |---|---|---|
//! | no connection, or none within 10 s | 502, 504 | −31502, −31504 |
//! | no response head within 5 min | 504 | −31504 |
//! | the connection ended before the head was complete; it is no HTTP, or over 64 KiB or 100 fields | 502 | −31502 |
//! | a redirect or a protocol switch, which are not followed | 502 | −31502 |
//! | a `Transfer-Encoding` other than `chunked`, in a response or a request | 502, 501 | −31502, −32600 |
//! | an event stream with a `Content-Encoding` | 502 | −31502 |
//! | `Connection` names a field that policies depend on | 400 | −32600 |
//! | the request body broke off | 400 | −32600 |
//! | CONNECT or TRACE | 501 | −32600 |
//!
//! The JSON-RPC error has the request's `id` if a [`Message`](crate::message::Message) is present.
//! Once the head has been sent, a failure ends the body with a [`BodyError`]: hyper then closes
//! the connection without the response's proper end, so that no client takes the rest for whole.
//!
//! Nothing is sent twice. A kept connection that turns out to be closed before a byte of the
//! request was written to it is replaced by a new one (PRX-6); one that is closed at the same
//! moment costs the request, and is a 502.
//!
//! # Uploads
//!
//! A request may be answered before it is sent whole. Both directions then move at their own
//! pace; if the answer is over first, a request that was accepted (2xx) is sent on for up to 60 s,
//! and one that was refused is cut off. The time to the response head includes the upload.
//!
//! # Merging
//!
//! Small frames that have arrived already leave as one frame of at most 32 KiB, so that a fast
//! stream costs its client's connection one write for many events. The body drives its own
//! connection to the upstream, so it knows what has arrived: no byte waits for one that is still
//! to come, nor for a timer or another task. A frame that comes alone leaves uncopied.
//! [`ReverseProxyBuilder::with_merging`] turns it off.
//!
//! # Cancellation
//!
//! The response future and the body each hold the exchange with the upstream. Whoever drops them
//! ends it: the connection to the upstream is closed, at once and also while it is silent (CAN-3).
//! For the revisions in which that is a cancel it is the right thing; for the others it is allowed
//! unless a layer outside promises to resume the stream (SSE-9).
//!
//! # Security
//!
//! The upstream is configuration, never derived from a request (B58). What went wrong upstream is
//! logged, and answered without addresses (SEC-11). `Authorization` and `Origin` are relayed as
//! they came, for the upstream to judge, unless a layer outside takes them away.

mod alarm;
mod body;
mod body_error;
mod client;
mod connection;
mod driven;
mod exchange;
mod failure;
mod future;
mod gauges;
mod hop;
mod merge;
mod outgoing;
mod pool;
mod service;
mod target;
mod wait;

pub use self::{
    body::UpstreamBody,
    body_error::{BodyError, BodyErrorKind},
    future::ResponseFuture,
    gauges::Gauges,
    service::{ReverseProxy, ReverseProxyBuilder},
    target::{UpstreamUrlError, UpstreamUrlErrorKind},
};

#[cfg(test)]
mod tests;
