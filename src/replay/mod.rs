//! Makes event streams resumable: event ids, an event log, and `Last-Event-ID`.
//!
//! Connections break; calls should not. [`ReplayLayer`] gives each event of a stream an id, records
//! it before it leaves, and goes on reading the stream when its client is gone. A client that comes
//! back with the id of the last event it saw gets everything after that, once and in order, and then
//! whatever comes. The inner service need not know: it may be a handler, or a proxy to a server that
//! nobody here controls.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use shadowcat::replay::ReplayLayer;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! async fn inner(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let response = Response::builder().header("content-type", "text/event-stream");
//!     Ok(response.body(Full::from("data: one\n\ndata: two\n\n")).unwrap())
//! }
//!
//! let service = ReplayLayer::default().layer(service_fn(inner));
//!
//! let request = Request::get("/events").body(Full::default()).unwrap();
//! let response = service.clone().oneshot(request).await.unwrap();
//! let events = response.into_body().collect().await.unwrap().to_bytes();
//! let events = std::str::from_utf8(&events).unwrap();
//! let ids: Vec<_> = events.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
//! assert_eq!(ids.len(), 2);
//!
//! // The client lost its connection after the first event.
//! let request = Request::get("/events").header("last-event-id", ids[0]);
//! let request = request.body(Full::default()).unwrap();
//! let response = service.clone().oneshot(request).await.unwrap();
//! let rest = response.into_body().collect().await.unwrap().to_bytes();
//! assert_eq!(rest, format!("id: {}\ndata: two\n\n", ids[1]));
//!
//! // Nobody else's id, and no other text, is a place to go on from.
//! let request = Request::get("/events").header("last-event-id", "2");
//! let response = service.oneshot(request.body(Full::default()).unwrap()).await.unwrap();
//! assert_eq!(response.status(), 400);
//! # }
//! ```
//!
//! # What is tracked
//!
//! Responses to GET and POST with status 200 and type `text/event-stream`, unless their bytes are
//! encoded. All others pass as they are. What a stream is treated as follows from its request, see
//! [`Era`](crate::protocol::Era):
//!
//! | request | ids, log, resumption | the client goes away |
//! |---|---|---|
//! | MCP 2025-03-26 to 2025-11-25, by POST or GET | yes | the stream goes on, and is recorded |
//! | MCP 2026-07-28 | no: the revision has none (SSE-15) | the inner body is dropped at once (CAN-3) |
//! | MCP 2024-11-05, and a GET stream that begins with its `endpoint` event | no | dropped |
//! | anything else: an `EventSource`, the tokens of a language model | yes, by GET to the same service | goes on, recorded |
//!
//! Bytes pass unchanged, but for the `id` lines. Every event is numbered, whether it had an id or not;
//! a server's own ids do not leave. Keep-alive comments are sent between events when a stream is quiet.
//!
//! # What a client with a cursor gets
//!
//! | what follows `Last-Event-ID` | answer |
//! |---|---|
//! | is kept | exactly that, then what comes |
//! | comes from a server that closed early (SSE-4) | what is kept, then a GET goes to the server with its own id |
//! | is no longer kept, of a POST | 400, −31400: the response may be among it |
//! | is no longer kept, of a GET | an event of type `gap` with `{"from", "first_available", "reason"}`, then what is kept |
//! | cannot be known: forged, foreign, malformed, of another process | 400, −31400, always the same |
//! | was never recorded: the stream was given up, or the store failed | a JSON-RPC error for each request that waits; a `gap` for others |
//! | is nothing, of a stream that has ended | MCP: a new stream of the server for a GET stream, and no more for a POST; else 204, which stops a browser |
//!
//! A stream whose server fails before its response ends with a JSON-RPC error for each request that
//! waits, −31502, live and when it is replayed. The newest client has the stream: the response of the
//! one before it, be it half open, breaks off, because a clean end might look like the whole.
//!
//! A successful DELETE that names a session ends the session's streams and forgets them. Inside of a
//! `SessionLayer` every end does: DELETE, expiry, and termination alike (RPL-10).
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | events and bytes per stream, per owner, in all | the store's, see [`MemoryStore`](crate::store::MemoryStore) | the oldest are forgotten |
//! | one event | [16 MiB](crate::sse::DEFAULT_MAX_EVENT_BYTES) | the stream fails |
//! | a client does not read | [30 s](ReplayLayer::DEFAULT_STALL_TIMEOUT) after its connection last had room, and up to a quarter more | it is detached, and its response breaks off |
//! | a stream without a client: time | [5 min](ReplayLayer::DEFAULT_MAX_DETACHED_FOR), and up to a quarter more | it is given up |
//! | … bytes | [64 MiB](ReplayLayer::DEFAULT_MAX_DETACHED_BYTES) | it is given up |
//! | … number | [16,384](ReplayLayer::DEFAULT_MAX_DETACHED), [1,024](ReplayLayer::DEFAULT_MAX_DETACHED_PER_OWNER) of one owner | it is given up with its client |
//! | a request body that nobody outside has read, if it may be MCP | 4 MiB in 30 s | 413, 408 |
//!
//! # Ordering
//!
//! Outside of layers that change events, because the log has to hold what the client saw. Inside of
//! [`MessageLayer`](crate::message::MessageLayer), if there is one; over hyper's `Incoming` there has
//! to be, because a body that was read has to be made anew. Inside of whatever authenticates. Compression
//! outside of it has to flush each event.
//!
//! # Cancellation
//!
//! A dropped response future has resumed nothing. A dropped body detaches its client, see above; the
//! task that goes on reading runs where the request was served, on a tokio runtime with a timer. A panic
//! of the inner body ends its stream with an error for whoever resumes it.
//!
//! # Security
//!
//! A stream belongs, in this order, to
//!
//! - the `session::Session` in the extensions of the request that opened it, which a `SessionLayer`
//!   outside has put there: to its principal and the session together, and ends with it;
//! - the [`Owner`](crate::store::Owner) in the extensions;
//! - the `auth::Principal` in the extensions and the `Mcp-Session-Id`, or either;
//! - whoever has the id of one of its events, which holds 128 random bits.
//!
//! The session of an `initialize` is the one that it is answered with. Without a session, a stream of
//! it belongs to what is left of the list.
//!
//! **A server that knows its users by other means, a cookie say, has to put an `Owner` into the
//! extensions**, or one user's id opens the stream to another. Where there are sessions without a
//! `SessionLayer`, make it of the user *and* the session.

mod asked;
mod body;
mod body_error;
mod drain;
mod expect;
mod future;
mod handle;
mod hub;
mod inert;
mod layer;
#[cfg(not(feature = "session"))]
mod no_session;
mod pages;
mod produce;
mod producer;
mod purge;
mod record;
mod resume;
mod service;
mod source;
mod stream;
mod subscriber;
mod synthetic;
mod tail;
mod whose;

pub use self::{
    body::ResponseBody,
    body_error::{BodyError, BodyErrorKind},
    future::ResponseFuture,
    handle::{ReplayHandle, ReplayStats, StreamInfo},
    layer::{ReplayLayer, StoreFailure},
    service::Replay,
    stream::StreamState,
};
