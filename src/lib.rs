//! Tower layers for MCP Streamable HTTP and for server-sent events.
//!
//! Each concern is an independent [`Layer`](tower_layer::Layer) with its own service, response
//! future and response body. Stack the ones you want on any axum app or hyper service, next to
//! tower-http's CORS and trace. [`ReverseProxy`](proxy::ReverseProxy) is a leaf service: layers
//! and `ReverseProxy` are an MCP gateway, in front of a server you need not control.
//!
//! ```text
//!  request ▼                                    response body ▲
//!  tower-http Trace, Cors
//!  origin::OriginLayer         Host and Origin allow-lists               400 403
//!  auth::AuthLayer             verifies a token → Principal              400 401 403 502 503
//!  message::MessageLayer       reads the POST body once → Message, Era   400 405 408 413 415
//!  auth::ScopeLayer            scopes per method, tool, resource         400 403
//!  session::SessionLayer       owner check, id mapping → Session         400 404
//!  rate_limit::RateLimitLayer  by principal, method, tool; open streams  429 403
//!  replay::ReplayLayer         event ids, event log, Last-Event-ID       400
//!  intercept::InterceptLayer   changes, refuses, answers, holds messages 400 403 500
//!  proxy::ReverseProxy         or any service of yours                   502 504
//! ```
//!
//! Nothing here blocks a runtime thread, buffers a stream, or grows without bound. Facts about a
//! request travel in its extensions: [`PeerAddr`](peer::PeerAddr),
//! [`Principal`](auth::Principal), [`Message`](message::Message), [`Era`](protocol::Era),
//! [`Session`](session::Session).
//!
//! # On an axum app
//!
//! ```
//! use axum::{Extension, Router, routing::post};
//! use shadowcat::message::{Message, MessageLayer};
//!
//! async fn handler(
//!     Extension(message): Extension<Message>,
//! ) -> String {
//!     let era = message.era().expect("told by the layer");
//!     let peek = message.peek().ok();
//!     let method = peek.and_then(|peek| peek.single()?.method().map(|m| m.into_owned()));
//!     format!("{era:?} {method:?}")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let app = Router::<()>::new()
//!     .route("/mcp", post(handler))
//!     .layer(MessageLayer::new());
//! # let body = axum::body::Body::from(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
//! # let request = http::Request::post("/mcp").header("content-type", "application/json");
//! # let request = request.body(body).unwrap();
//! # let response = tower::ServiceExt::oneshot(app, request).await.unwrap();
//! # let text = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
//! # assert_eq!(text, r#"Session(V2025_03_26) Some("ping")"#);
//! # }
//! ```
//!
//! # As a gateway
//!
//! See [`proxy`] for a stack in a test, `examples/hyper_service.rs` for one on hyper without axum,
//! and `examples/gateway/` for all of it with connection handling and a clean stop.
//!
//! # Modules
//!
//! | module | what it is | feature | default |
//! |---|---|---|---|
//! | [`auth`] | [`AuthLayer`](auth::AuthLayer): who calls; [`ScopeLayer`](auth::ScopeLayer): what they may do | `auth` | yes |
//! | [`auth::jwt`] | [`JwtAuthorizer`](auth::jwt::JwtAuthorizer): signed tokens, and the keys they are signed with | `jwt` | no |
//! | [`intercept`] | [`InterceptLayer`](intercept::InterceptLayer): sees, changes, refuses, answers and holds messages | `intercept` | yes |
//! | [`message`] | [`MessageLayer`](message::MessageLayer): reads and judges each message; [`classify`](message::classify) | `message` | yes |
//! | [`origin`] | [`OriginLayer`](origin::OriginLayer): who may use a server from a browser | `origin` | yes |
//! | [`rate_limit`] | [`RateLimitLayer`](rate_limit::RateLimitLayer): how much everybody may do, and keep open | `rate-limit` | yes |
//! | [`replay`] | [`ReplayLayer`](replay::ReplayLayer): streams that can be resumed | `replay` | yes |
//! | [`session`] | [`SessionLayer`](session::SessionLayer): whose a session is | `session` | yes |
//! | [`proxy`] | [`ReverseProxy`](proxy::ReverseProxy) | `proxy` | no |
//! | [`store`] | where events and sessions are kept; in memory with `replay` and `session` | – | – |
//! | [`sse`] | incremental decoder, encoder | – | – |
//! | [`jsonrpc`] | one-pass reader, exact ids, errors | – | – |
//! | [`protocol`] | revisions of MCP, and what each allows | – | – |
//! | [`body`], [`refusal`], [`outcome`], [`header`], [`peer`] | what layers are made of | – | – |
//!
//! `full` turns on all features.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "auth")]
pub mod auth;
pub mod body;
#[cfg(any(
    feature = "auth",
    feature = "intercept",
    feature = "message",
    feature = "proxy",
    feature = "replay"
))]
mod deadline;
pub mod header;
#[cfg(feature = "intercept")]
pub mod intercept;
pub mod jsonrpc;
pub mod message;
#[cfg(feature = "origin")]
pub mod origin;
pub mod outcome;
#[cfg(any(feature = "auth", feature = "intercept", feature = "rate-limit"))]
mod pattern;
pub mod peer;
pub mod protocol;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "rate-limit")]
pub mod rate_limit;
pub mod refusal;
#[cfg(feature = "replay")]
pub mod replay;
#[cfg(any(feature = "intercept", feature = "rate-limit", feature = "session"))]
mod seldom;
#[cfg(feature = "session")]
pub mod session;
pub mod sse;
pub mod store;

#[cfg(all(test, any(feature = "rate-limit", feature = "session")))]
mod captured_log;
#[cfg(test)]
mod mock_body;

/// The README's code must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Any error, where its type cannot be named.
#[cfg(any(
    feature = "intercept",
    feature = "jwt",
    feature = "proxy",
    feature = "replay"
))]
type BoxError = Box<dyn std::error::Error + Send + Sync>;
