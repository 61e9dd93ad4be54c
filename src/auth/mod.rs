//! Lets in who is known, and says who it is.
//!
//! An MCP endpoint on a network is an OAuth 2.1 *resource server*: it judges the tokens that others
//! give out, and is no authorization server itself (AUT-18). [`AuthLayer`] takes the bearer token of
//! each request to an [`Authorize`], which makes a [`Principal`] of it: the fact that says who a request
//! comes from, and that every layer inside goes by. Everybody else is told where tokens are to be had.
//!
//! - [`StaticTokens`] are an `Authorize` for tests and small set-ups, [`jwt`] has one for signed tokens;
//! - [`MetadataService`] serves the document that sends clients to an authorization server (RFC 9728);
//! - [`ScopeLayer`] says which scopes a method, tool, prompt or resource needs.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{BodyExt, Full};
//! use shadowcat::auth::{
//!     AuthLayer, MetadataService, Principal, ScopeLayer, Scopes, StaticTokens,
//! };
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let metadata = MetadataService::builder("https://mcp.example.com/mcp")
//!     .add_authorization_server("https://login.example.com")
//!     .with_scopes(Scopes::new(["tools"])?)
//!     .build()?;
//! let alice = Principal::builder("alice").with_scopes(["tools"]).build()?;
//! let tokens = StaticTokens::new().add_token("a-long-and-random-text", alice)?;
//!
//! async fn inner(request: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let principal = request.extensions().get::<Principal>().expect("known");
//!     assert_eq!(principal.subject(), "alice");
//!     assert!(!request.headers().contains_key("authorization"), "not for who is inside");
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! let service = ServiceBuilder::new()
//!     .layer(AuthLayer::new(tokens).with_metadata(&metadata))
//!     .layer(
//!         ScopeLayer::new()
//!             .with_metadata(&metadata)
//!             .add_method("tools/*", Scopes::new(["tools"])?)
//!             .add_tool("delete_*", Scopes::new(["admin"])?),
//!     )
//!     .service(service_fn(inner));
//! let call = async |token: Option<&str>, tool: &str| {
//!     let mut request = Request::post("/mcp").header("content-type", "application/json");
//!     if let Some(token) = token {
//!         request = request.header("authorization", format!("Bearer {token}"));
//!     }
//!     let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"TOOL"}}"#;
//!     let request = request.body(Full::from(call.replace("TOOL", tool))).unwrap();
//!     let response = service.clone().oneshot(request).await.unwrap();
//!     let challenge = response.headers().get("www-authenticate").cloned();
//!     (response.status(), challenge.map(|c| c.to_str().unwrap().to_owned()))
//! };
//!
//! let known = Some("a-long-and-random-text");
//! assert_eq!(call(known, "echo").await, (StatusCode::OK, None));
//!
//! let (status, challenge) = call(None, "echo").await;
//! assert_eq!(status, StatusCode::UNAUTHORIZED);
//! let url = metadata.url();
//! assert_eq!(url, "https://mcp.example.com/.well-known/oauth-protected-resource/mcp");
//! assert_eq!(challenge.unwrap(), format!(r#"Bearer resource_metadata="{url}""#));
//!
//! // All that a call needs is said at once.
//! let (status, challenge) = call(known, "delete_all").await;
//! assert_eq!(status, StatusCode::FORBIDDEN);
//! assert!(challenge.unwrap().contains(r#"error="insufficient_scope""#));
//!
//! // The document is a service of its own, outside of both.
//! let request = Request::get(metadata.paths()[0]).body(())?;
//! let document = metadata.clone().oneshot(request).await?.into_body().collect().await?;
//! assert!(document.to_bytes().starts_with(br#"{"authorization_servers":["https://login."#));
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! | condition | status | `error` | JSON-RPC code |
//! |---|---|---|---|
//! | no `Authorization`, or another scheme than `Bearer` | 401 | none | −31401 |
//! | a token that is malformed, expired, or not believed | 401 | `invalid_token` | −31401 |
//! | more than one `Authorization` | 400 | `invalid_request` | −32600 |
//! | a token that allows too little | 403 | `insufficient_scope` | −31403 |
//! | nobody can tell just now | 503 | – | −31503 |
//! | the inner service answers 401, and [its challenges are hidden](AuthLayer::with_hidden_unauthorized) | 502 | – | −31502 |
//! | [`ScopeLayer`]: no principal | 500 | – | −32603 |
//! | [`ScopeLayer`]: a body that is no JSON, or no JSON-RPC message | 400 | – | −32700, −32600 |
//! | [`ScopeLayer`]: a body that nobody has read, of more than 4 MiB or later than 30 s | 413, 408 | – | −31413, −31408 |
//!
//! Up to the 403, each has a `WWW-Authenticate` with the URL of the metadata and the scopes to ask for
//! (AUT-6, AUT-7); the 503 has a `Retry-After`. The error has the request's `id` where somebody outside
//! has read the body (PRX-12), and none otherwise.
//!
//! The scheme is taken in any case, with exactly one space behind it (RFC 6750 §2.1, T02). Tokens in
//! the query or the body are not used, and `access_token` is taken out of the URI (AUT-2).
//!
//! # Open streams
//!
//! A token that expires ends the event streams that were opened with it, after the event that is being
//! sent and [60 s](AuthLayer::DEFAULT_LEEWAY) of leeway (T25). The client is told by `retry` to come back
//! after [1 s](AuthLayer::DEFAULT_RETRY), with a fresh token, unless it says that it follows a revision
//! that has no resumption. An event that is not sent whole within 5 s more is cut. The time is counted
//! from when the request came, by a clock that nobody sets; other responses go on to their end. The
//! timer needs a tokio runtime; where tokens do not expire there is none.
//!
//! # Ordering
//!
//! [`AuthLayer`] inside of CORS (tower-http), which answers preflights, and of
//! [`OriginLayer`](crate::origin::OriginLayer); outside of everything that costs more than a look at the
//! head, so that those who are not let in cost little. What has to be open to all is routed past it: the
//! metadata, and health checks (AUT-1). What logs URIs outside of it sees an `access_token` in a query.
//! [`ScopeLayer`] inside of it and of [`MessageLayer`](crate::message::MessageLayer), if there is one:
//! over hyper's `Incoming` there has to be, and it also judges headers that disagree with the body.
//! [`SessionLayer`](crate::session::SessionLayer) inside of both: it binds sessions to the principal.
//!
//! # Cancellation
//!
//! A future that is dropped while a decision takes its time drops that, and has not called the inner
//! service. The service that was polled ready waits together with the request; its clone takes the
//! next one.
//!
//! # Security
//!
//! The client's `Authorization` ends here; [another credential](AuthLayer::with_upstream_credential) can
//! take its place (AUT-12). Identity travels in extensions, never in header fields, and a `Principal`
//! that is there already is replaced, or removed (B55). Each request is judged for itself: fewer scopes
//! count from the next one on (B07). No token is logged, or shown by `Debug`; nor is anything that could
//! name a person: only a digest, to tell principals apart. Where you authenticate by something else, put
//! a principal into a request only after its credentials were verified.

mod admit;
mod authorize;
mod bearer;
mod body;
mod challenge;
mod config_error;
mod credentials;
mod future;
#[cfg(feature = "jwt")]
pub mod jwt;
mod layer;
mod metadata;
mod principal;
mod query;
mod rejection;
mod scope;
mod scopes;
mod service;
mod static_tokens;
mod url;

pub use self::{
    authorize::{Authorize, Decision, Undecided},
    body::ResponseBody,
    config_error::{ConfigError, ConfigErrorKind},
    credentials::Credentials,
    future::ResponseFuture,
    layer::AuthLayer,
    metadata::{MetadataBuilder, MetadataService},
    principal::{Principal, PrincipalBuilder, PrincipalError, PrincipalErrorKind},
    rejection::{Rejection, RejectionKind},
    scope::{CheckScopes, ScopeFuture, ScopeLayer},
    scopes::{InvalidScope, Scopes},
    service::Auth,
    static_tokens::{StaticTokenError, StaticTokenErrorKind, StaticTokens},
};
