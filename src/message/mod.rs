//! Reads the body of a POST once, judges it, and tells every layer inside what it is.
//!
//! Policies need to know what a request *is*: its method, its tool, its id, the protocol revision
//! it follows. [`MessageLayer`] collects the body, within a limit and a deadline, reads it in one
//! pass without building a document, refuses what two hops could read in two ways, and puts two
//! facts into the request's extensions:
//!
//! - [`Message`]: the body's bytes and what they say, for a POST;
//! - [`Era`](crate::protocol::Era): the rules that the request follows, for every request. A message
//!   has it with it; [`Era::of`](crate::protocol::Era::of) tells it in either case.
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
//!     let era = Era::of(request.extensions());
//!     assert_eq!(era, Some(Era::Session(ProtocolVersion::V2025_11_25)));
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
//!     .header("content-type", "application/json")
//!     .header("mcp-protocol-version", "2025-11-25")
//!     .body(Full::from(BODY))
//!     .unwrap();
//! let response = service.clone().oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::OK);
//!
//! // Which of the two would the server run, and which did a policy see?
//! let request = Request::post("/mcp")
//!     .header("content-type", "application/json")
//!     .body(Full::from(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"x"}"#))
//!     .unwrap();
//! let response = service.oneshot(request).await.unwrap();
//! assert_eq!(response.status(), StatusCode::BAD_REQUEST);
//! let refusal = response.into_body().collect().await.unwrap().to_bytes();
//! assert!(refusal.starts_with(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"#));
//! # }
//! ```
//!
//! # What it answers
//!
//! | condition | status | JSON-RPC code |
//! |---|---|---|
//! | the content type is not `application/json`, or the body is compressed | 415 | −31415 |
//! | the body is longer than [4 MiB](MessageLayer::DEFAULT_MAX_BODY_BYTES), or says so | 413 | −31413 |
//! | the body has not arrived after [30 s](MessageLayer::DEFAULT_READ_TIMEOUT) | 408 | −31408 |
//! | the body broke off | 400 | −32600 |
//! | it is not JSON, or has more than 127 levels | 400 | −32700 |
//! | it is no JSON-RPC message, repeats a key, has a senseless id or method | 400 | −32600 |
//! | a key that differs in case alone from one that decides, as `Method` does | 400 | −32600 |
//! | a batch where the revision has none, or of more than 50 messages | 400 | −32600 |
//! | 2026-07-28: no claim or no client capabilities in `params._meta` | 400 | −32602 |
//! | a version header that is missing, repeated, or not the body's claim | 400 | −32020 |
//! | `Mcp-Method` or `Mcp-Name` missing, or not what the body says, if anything | 400 | −32020 |
//! | a version that is [not served](MessageLayer::with_versions) | 400 | −32022 |
//! | GET or DELETE of 2026-07-28 | 405 | −32600 |
//!
//! In revisions with sessions, what is wrong with a header is −32600, and headers that mirror the
//! body need not be there, but must not contradict it. [`Fault`] names every condition, in the
//! words that the client is told.
//!
//! The error has the request's `id` where one was read, and otherwise none, never `null` (JRP-5);
//! it tells a client that speaks both eras apart from a server that speaks the older one only
//! (PRX-12). A batch gets an error for each of its requests, unless batches are what is wrong.
//! Notifications and responses get the status alone (JRP-3).
//!
//! What passes is forwarded byte for byte: unknown methods, `Mcp-Param-*` that nobody here knows
//! the tool of (HDR-7, HDR-11), versions that nobody has heard of yet. Only a stateless request
//! loses its `Mcp-Session-Id` and `Last-Event-ID` (ERA-3).
//!
//! # Ordering
//!
//! Outside of every layer that needs the body, inside of those that can refuse without it. A layer
//! inside of another one, or of a layer that has read the body itself, reads nothing again,
//! whatever its own limits; it judges all the same. Bodies of other methods than POST pass unread:
//! bound those where they are read. Over hyper's `Incoming` it also turns the body into one that can
//! be made from bytes, so there it has to be outermost of those that read.
//!
//! # Cancellation
//!
//! A future that is dropped while the body arrives has not called the inner service. The service
//! that was polled ready waits together with the body; its clone takes the next request.

#[cfg(feature = "message")]
mod admit;
#[cfg(any(
    feature = "auth",
    feature = "intercept",
    feature = "message",
    feature = "replay",
    feature = "session"
))]
mod arrival;
mod classify;
#[cfg(any(
    feature = "auth",
    feature = "intercept",
    feature = "message",
    feature = "replay",
    feature = "session"
))]
mod collect;
mod fact;
mod fault;
mod fields;
#[cfg(feature = "message")]
mod future;
#[cfg(feature = "message")]
mod layer;
#[cfg(feature = "message")]
mod media;
mod mirror;
mod policy;
#[cfg(feature = "message")]
mod service;
#[cfg(any(feature = "replay", feature = "session"))]
mod unread;
mod version;

#[cfg(any(
    feature = "auth",
    feature = "intercept",
    feature = "replay",
    feature = "session"
))]
pub(crate) use self::arrival::{Arrival, Limits};
#[cfg(feature = "intercept")]
pub(crate) use self::mirror::mirrored;
#[cfg(any(feature = "replay", feature = "session"))]
pub(crate) use self::unread::is_unread;
pub use self::{
    classify::{Classified, classify},
    fact::Message,
    fault::Fault,
};
#[cfg(feature = "message")]
pub use self::{future::ResponseFuture, layer::MessageLayer, service::ReadMessage};

/// Adds what a body says to the request, for a layer that has read it itself: the [`Message`], with
/// the era.
///
/// It refuses nothing: whoever wants messages judged has a [`MessageLayer`] outside.
#[cfg(any(
    feature = "auth",
    feature = "intercept",
    feature = "replay",
    feature = "session"
))]
pub(crate) fn note(parts: &mut http::request::Parts, body: bytes::Bytes) {
    let message = Message::new(body);
    let peek = message.peek();
    let classified = classify(
        &parts.method,
        &parts.headers,
        Some(peek.as_ref().map_err(|e| *e)),
    );
    if let Some(fault) = &classified.fault {
        tracing::debug!(?fault, "forwarding a malformed message");
    }
    drop(peek);
    parts.extensions.insert(message.in_era(classified.era));
}
