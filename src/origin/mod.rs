//! Lets in what means this server, and comes from a page that may use it.
//!
//! A server on loopback, or in a private network, is reached by every page that a browser there
//! shows. Such a page can send requests of its own ("cross-site"), or have its own name resolve to
//! this machine ("DNS rebinding") and then be of the same origin as the server. MCP requires every
//! server to look (ORG-1): the first kind is told by its `Origin`, the second by its `Host`.
//!
//! [`OriginLayer`] has a list of each, and no way to say "any":
//!
//! - [`OriginLayer::loopback`] allows this machine's own names, which suits a server that listens on
//!   loopback only;
//! - [`OriginLayer::new`] allows nothing until it is listed.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use shadowcat::origin::OriginLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), shadowcat::origin::ConfigError> {
//! async fn inner(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     assert!(!request.headers().contains_key("origin"), "it has done its work");
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! let layer = OriginLayer::new()
//!     .add_host("mcp.example.com")?
//!     .add_origin("https://app.example.com")?;
//! let service = ServiceBuilder::new().layer(layer).service(service_fn(inner));
//! let status = async |host: &str, origin: Option<&str>| {
//!     let mut request = Request::get("/mcp").header("host", host);
//!     if let Some(origin) = origin {
//!         request = request.header("origin", origin);
//!     }
//!     let response = service.clone().oneshot(request.body(()).unwrap()).await;
//!     response.unwrap().status()
//! };
//!
//! assert_eq!(status("mcp.example.com", Some("https://app.example.com")).await, StatusCode::OK);
//! // What is no browser sends no `Origin`.
//! assert_eq!(status("mcp.example.com:443", None).await, StatusCode::OK);
//! let evil = Some("https://app.example.com.evil.example");
//! assert_eq!(status("mcp.example.com", evil).await, StatusCode::FORBIDDEN);
//! assert_eq!(status("evil.example", None).await, StatusCode::FORBIDDEN);
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! | condition | status | JSON-RPC code |
//! |---|---|---|
//! | no host at all, two of them, one that is none, or a `Host` other than the URI's | 400 | −32600 |
//! | a host that is not allowed | 403 | −31403 |
//! | an `Origin` that is not allowed, or two of them | 403 | −31403 |
//!
//! The error has no `id`: nothing was read. The host is the authority of the request's URI (HTTP/2,
//! or the absolute form of HTTP/1), or else the `Host` field. Neither "the origin equals the host"
//! nor any `X-Forwarded-Host` counts: in a rebinding attack the first is true, and the second is
//! whatever the sender writes.
//!
//! An `Origin` is compared as scheme, host and port, without regard to case, the default port being
//! the same as none. Those of other schemes, such as `vscode-webview://…`, and `null` are compared
//! whole. A host may end in a dot, as names in DNS do; an origin may not. A request without an
//! `Origin` passes, unless [told otherwise](OriginLayer::with_required_origin).
//!
//! # Ordering
//!
//! Outermost of this crate's layers, before auth: whoever must not be here need not be asked who
//! they are. Only CORS (tower-http) has to be outside: it answers a page's preflights, which carry no
//! credentials, lets the page read what is refused here, and needs the `Origin`, which is removed
//! here (ORG-5, ORG-6). A preflight that gets here all the same is judged like any other request.
//! CORS is no substitute: it decides what a page may *read*, after the server has done the work.
//! What has to be open to all, such as health checks and RFC 9728 metadata, is routed past it.
//!
//! # Deployment caveat
//!
//! Behind a proxy that rewrites `Host`, list what the proxy writes, and have the proxy check what
//! clients wrote. A layer does not know what its server listens on: `loopback()` on a server that
//! others reach refuses them, but does not authenticate those that are on this machine.

mod allowed;
mod authority;
mod error;
mod future;
mod layer;
mod reason;
mod service;

pub use self::{
    error::{ConfigError, ConfigErrorKind},
    future::ResponseFuture,
    layer::OriginLayer,
    service::CheckOrigin,
};
