//! Reads the body of a POST once, for every layer inside.
//!
//! Policies need to know what a request *is*: its method, its tool, its id, the protocol revision
//! it follows. [`MessageLayer`] collects the body, within a limit and a deadline, reads it in one
//! pass without building a document, and puts two facts into the request's extensions:
//!
//! - [`Message`]: the body's bytes and what they say, for a POST;
//! - [`Era`](crate::protocol::Era): the rules that the request follows, for every request.
//!
//! The inner service gets the original bytes, in a [`RequestBody`](crate::body::RequestBody).
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Empty, Full};
//! use shadowcat::{
//!     body::RequestBody,
//!     message::{Message, MessageLayer},
//!     protocol::{Era, ProtocolVersion},
//! };
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! async fn inner(
//!     request: Request<RequestBody<Full<Bytes>>>,
//! ) -> Result<Response<Empty<Bytes>>, Infallible> {
//!     let message = request.extensions().get::<Message>().expect("read outside");
//!     let peek = message.peek().expect("it is JSON");
//!     let call = peek.single().expect("it is no batch");
//!     assert_eq!(call.method().as_deref(), Some("tools/call"));
//!     assert_eq!(call.name().as_deref(), Some("echo"));
//!
//!     let era = request.extensions().get::<Era>();
//!     assert_eq!(era, Some(&Era::Session(ProtocolVersion::V2025_11_25)));
//!
//!     let forwarded = request.into_body().collect().await.unwrap().to_bytes();
//!     assert_eq!(forwarded, BODY, "not a byte is changed");
//!     Ok(Response::new(Empty::new()))
//! }
//!
//! const BODY: &str =
//!     r#"{ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "echo" } }"#;
//!
//! let service = ServiceBuilder::new()
//!     .layer(MessageLayer::new().with_max_body_bytes(100))
//!     .service(service_fn(inner));
//!
//! let request = Request::post("/mcp")
//!     .header("mcp-protocol-version", "2025-11-25")
//!     .body(Full::from(BODY))
//!     .unwrap();
//! let response = service.clone().oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! let request = Request::post("/mcp").body(Full::from("x".repeat(101))).unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
//! # }
//! ```
//!
//! # What it answers
//!
//! | condition | status | JSON-RPC code |
//! |---|---|---|
//! | the body is longer than [4 MiB](MessageLayer::DEFAULT_MAX_BODY_BYTES), or says so | 413 | −31413 |
//! | the body has not arrived after [30 s](MessageLayer::DEFAULT_READ_TIMEOUT) | 408 | −31408 |
//! | the body broke off | 400 | −32600 |
//!
//! None of them has an `id`, because none was read (JRP-5). A body that arrived is forwarded,
//! whatever it says; what is wrong with it is in [`Classified::fault`].
//!
//! # Ordering
//!
//! Outside of every layer that needs the body, inside of those that can refuse without it. A layer
//! inside of another `MessageLayer` reads nothing again, whatever its own limits. Bodies of other
//! methods than POST pass unread: bound those where they are read. Over hyper's `Incoming` it also turns the
//! body into one that can be made from bytes, so there it has to be outermost of those that read.
//!
//! # Cancellation
//!
//! A future that is dropped while the body arrives has not called the inner service. The service
//! that was polled ready waits together with the body; its clone takes the next request.

#[cfg(any(feature = "message", feature = "replay", feature = "session"))]
mod arrival;
mod classify;
#[cfg(any(feature = "message", feature = "replay", feature = "session"))]
mod collect;
mod fact;
#[cfg(feature = "message")]
mod future;
#[cfg(feature = "message")]
mod layer;
#[cfg(feature = "message")]
mod service;

#[cfg(any(feature = "replay", feature = "session"))]
pub(crate) use self::arrival::{Arrival, Limits};
pub use self::{
    classify::{Classified, Fault, classify},
    fact::Message,
};
#[cfg(feature = "message")]
pub use self::{future::ResponseFuture, layer::MessageLayer, service::ReadMessage};

/// Reads a body and adds what it says to the request: the [`Message`] and the
/// [`Era`](crate::protocol::Era).
#[cfg(any(feature = "message", feature = "replay", feature = "session"))]
pub(crate) fn note(parts: &mut http::request::Parts, body: bytes::Bytes) {
    let message = Message::new(body);
    let peek = message.peek();
    let classified = classify(
        &parts.method,
        &parts.headers,
        Some(peek.as_ref().map_err(|e| *e)),
    );
    tell(&classified);
    drop(peek);
    parts.extensions.insert(classified.era);
    parts.extensions.insert(message);
}

/// Faults are refused by the validation that is still to come; until then the upstream judges.
#[cfg(any(feature = "message", feature = "replay", feature = "session"))]
fn tell(classified: &Classified) {
    if let Some(fault) = &classified.fault {
        tracing::debug!(?fault, "forwarding a malformed message");
    }
}
