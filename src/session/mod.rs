//! Binds each session to whoever opened it.
//!
//! An `Mcp-Session-Id` is not a credential, but most servers treat it as one: whoever has it can read
//! the session's streams, answer for its client, and end it (SES-6). [`SessionLayer`] remembers which
//! [`Principal`](crate::auth::Principal) a session was given to and lets nobody else into it. Clients
//! get ids of our own, which cannot be guessed, in place of the server's, which never leave.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use shadowcat::{auth::Principal, session::SessionLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! // A server whose sessions anybody could guess.
//! async fn server(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let response = match request.headers().get("mcp-session-id") {
//!         None => Response::builder().header("mcp-session-id", "session-1"),
//!         Some(id) => {
//!             assert_eq!(id, "session-1");
//!             Response::builder()
//!         }
//!     };
//!     Ok(response.body(Full::from("{}")).unwrap())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let service = SessionLayer::default().layer(service_fn(server));
//!
//! // Whatever authenticates outside of the layer has put the principal there.
//! let request = |who: &str, session: Option<&str>, body: &'static str| {
//!     let mut request = Request::post("/mcp").header("content-type", "application/json");
//!     if let Some(session) = session {
//!         request = request.header("mcp-session-id", session);
//!     }
//!     let principal = Principal::builder(who).build().unwrap();
//!     request.extension(principal).body(Full::from(body)).unwrap()
//! };
//! const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
//! const CALL: &str = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"x"}}"#;
//!
//! let response = service.clone().oneshot(request("alice", None, INITIALIZE)).await.unwrap();
//! let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
//! assert_ne!(session, "session-1");
//!
//! let response = service.clone().oneshot(request("alice", Some(&session), CALL)).await.unwrap();
//! assert_eq!(response.status(), 200);
//!
//! // To anybody else there is no such session, whichever id they have.
//! for id in [&*session, "session-1", "session-2"] {
//!     let response = service.clone().oneshot(request("mallory", Some(id), CALL)).await.unwrap();
//!     assert_eq!(response.status(), 404);
//! }
//! # }
//! ```
//!
//! # What it answers
//!
//! | request | status | JSON-RPC code |
//! |---|---|---|
//! | of a session that is unknown, somebody else's, or has ended: the three look alike | 404 | −31404 |
//! | with an id that is none, or two of them; `initialize` with an id | 400 | −32600 |
//! | without an id, once the inner service has given one (SES-3) | 400 | −32600 |
//! | a batch in a session of a revision without (AMB-21) | 400 | −32600 |
//! | with the id of another one of the session whose response is still open (SE-7) | 400 | −32600 |
//! | without a principal, unless [that is allowed](SessionLayer::allow_anonymous) | 500 | −32603 |
//! | `initialize` of a principal who has too many sessions | 429 | −31429 |
//! | `initialize` when there are too many in all; any when the store fails or takes too long (C33) | 503 | −31503 |
//! | `initialize` that is answered with an id that is none, or another client's (SES-2, B11) | 502 | −31502 |
//! | a body that nobody outside has read, of more than 4 MiB or later than 30 s | 413, 408 | −31413, −31408 |
//!
//! All of that is said before the inner service is asked, but for 502, and for 503 where the store fails
//! to note the session that the service has given.
//!
//! # The life of a session
//!
//! An `initialize` that is answered with 2xx and an id opens one; what client and server have agreed
//! on is read from the response while it passes, and later requests follow it, whatever their header
//! says (VER-9, VER-3). It ends when a DELETE is answered with 2xx or 404, when the server answers 404
//! to any of its requests, when nobody uses it for long, or when the [`SessionHandle`] terminates it.
//! Then its event streams end, and whoever asked to be told by [`Session::on_end`] is told: a
//! [`ReplayLayer`](crate::replay::ReplayLayer) inside forgets what they said (RPL-10). A server
//! that does not know yet is sent a DELETE (SES-11): by one task per layer, on the runtime that the
//! first request came on, a few at a time, and once. The same task has the store forget what has
//! ended, until it has done so. It ends with the layer: what is left then is tried once more, for 10 s.
//! If its runtime ends first, the next request starts another one, which goes on with what the store
//! has to forget.
//!
//! A session that a server has given and no client has got, because the store did not answer in time
//! or the client was gone, is taken back. Its server is told only once the store has said that no other
//! session is called the same: a server that repeats an id would end somebody else's (B11). If the
//! store never says so, the server keeps the session until it finds out for itself.
//!
//! The id of a request belongs to it until its response is over or dropped, on this node: a second one
//! with that id would be answered in its place, or both would.
//!
//! Requests of 2026-07-28, which has no sessions, lose their `Mcp-Session-Id` and `Last-Event-ID` and
//! pass (ERA-3). A server that gives no ids is left alone, and so is HTTP with SSE (2024-11-05), whose
//! endpoints belong outside of the layer if the same server also gives sessions.
//!
//! # Ordering
//!
//! Inside of whatever authenticates, and of [`MessageLayer`](crate::message::MessageLayer), if there
//! is one: over hyper's `Incoming` there has to be. Outside of
//! [`ReplayLayer`](crate::replay::ReplayLayer), and of everything that works by session: inside, the
//! `Mcp-Session-Id` is the server's, and the [`Session`] is in the request's extensions.
//!
//! The sessions of a layer are of one server. Two servers need two layers; one layer may be on several
//! routes to the same server. The DELETE at the end of an idle session goes to the service that the
//! first request came through, at the path that the session was opened at. It carries no principal and
//! is marked as a [`Farewell`]: policies inside let it pass. Where each method of a route has a handler
//! of its own, wrap the whole route as one service.
//!
//! # Limits
//!
//! | what | default | at the limit |
//! |---|---|---|
//! | time without use, open responses not counted | [30 min](crate::store::MemorySessionStore::DEFAULT_IDLE_TIMEOUT) | it is unknown; its end is told within an eighth more, or when fewer than 4,096 servers wait to be told of others |
//! | sessions in all | [10,000](crate::store::MemorySessionStore::DEFAULT_MAX_SESSIONS) | 503 |
//! | sessions of one principal; of no principal, none | [1,000](crate::store::MemorySessionStore::DEFAULT_MAX_PER_OWNER) | 429 |
//! | keys of ended sessions | [10,000](crate::store::MemorySessionStore::DEFAULT_MAX_TOMBSTONES) | the oldest are forgotten |
//! | an id that a client sends | 256 bytes | 400 |
//! | an id that a server gives; 256 if it is passed on | 4 KiB | 502 |
//! | what is read of the response to `initialize` | 64 KiB | nothing is learned from it |
//! | servers that wait to be told of an end; at once; for each | 8,192; 16; 10 s | the oldest is not told |
//! | requests that are gone and whose store still opens a session, or learns a version; at once; for each | 8,192; 16; 10 s | the oldest is given up |
//! | what the store has to forget; at once; for each | as many as sessions; 16; 10 s | it waits |
//! | the path of an `initialize` | 1,024 bytes | its server is not told of the end |
//! | time that a request waits for the store | [5 s](SessionLayer::DEFAULT_STORE_TIMEOUT) | 503 |
//! | pause before the store is asked again to forget a session | 1 s, doubled up to 64 s | it is asked again |
//!
//! # Cancellation
//!
//! A response future that is dropped has opened no session and ended none, unless the server had
//! answered; what the store was asked by then it is asked to the end. A response body holds its
//! session until it is over, fails, or is dropped. A client that goes away ends nothing.
//!
//! # Security
//!
//! The id is 32 random bytes: half of them find the session, half are compared in constant time. A
//! session belongs to issuer and subject, not to a token, which may be refreshed; see
//! [`SessionLayer::with_binding`] for more. Every request is checked, so a session that somebody else's
//! token reaches for neither ends nor changes. **Without principals, possession of an id is all**
//! (B13): that is for loopback. Attempts at another principal's session are counted by the store, and
//! logged together. No id is shown by `Debug`, or logged.
//!
//! The layer checks who a session belongs to, not what they may do: authorization is per request (B07).

mod answer;
mod backlog;
mod begin;
mod body;
mod duty;
mod ending;
mod fact;
mod farewell;
mod flight;
mod future;
mod handle;
mod id;
mod keep;
mod layer;
mod learn;
mod lookup;
mod pending;
mod reaper;
mod reason;
mod service;

pub use self::{
    body::ResponseBody,
    fact::Session,
    farewell::Farewell,
    future::ResponseFuture,
    handle::{
        InvalidSessionTag, SessionHandle, SessionInfo, SessionList, SessionStats, SessionTag,
    },
    layer::SessionLayer,
    service::BindSession,
};
