//! Gives everybody a fair share: of requests, and of streams that stay open.
//!
//! [`RateLimitLayer`] charges each request to a key ([`RateKey`]): to whoever has been verified, to the
//! address that it comes from, to a tool, or to several of them together. A key spends units that come
//! back one by one ([`Quota`]), and keeps only so many streams and calls open at a time
//! ([`LocalLimiter::with_max_streams`]). What it has open is held by the response body, until that ends,
//! fails or is dropped: a stream of an hour counts for an hour.
//!
//! ```
//! use std::{convert::Infallible, num::NonZeroU16};
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use shadowcat::{
//!     auth::Principal,
//!     message::MessageLayer,
//!     rate_limit::{ByPrincipal, LocalLimiter, Quota, RateLimitLayer},
//! };
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), shadowcat::rate_limit::QuotaError> {
//! // One unit each two seconds, and up to ten at once.
//! let quota = Quota::per_minute(30)?.with_burst(10)?;
//! let limiter = LocalLimiter::new(quota).with_max_streams(NonZeroU16::MIN);
//! let limit = RateLimitLayer::with_limiter(ByPrincipal, limiter)
//!     .add_tool_cost("crawl", 8);
//! let handle = limit.handle();
//!
//! # async fn inner<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
//! #     Ok(Response::new(Full::from("done")))
//! # }
//! let service = ServiceBuilder::new()
//!     .layer(MessageLayer::new())
//!     .layer(limit)
//!     .service(service_fn(inner));
//!
//! // An `AuthLayer` outside says who it is.
//! let call = |who: &str| {
//!     const CALL: &str =
//!         r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crawl"}}"#;
//!     let mut request = Request::post("/mcp")
//!         .header("content-type", "application/json")
//!         .body(Full::from(CALL))
//!         .unwrap();
//!     request.extensions_mut().insert(Principal::builder(who).build().unwrap());
//!     service.clone().oneshot(request)
//! };
//! let response = call("alice").await.unwrap();
//! assert_eq!(response.status(), 200);
//! assert_eq!(handle.stats().limiter.open, 1);
//! response.into_body().collect().await.unwrap();
//! assert_eq!(handle.stats().limiter.open, 0);
//!
//! // Two units are left, and six are back in twelve seconds.
//! let refused = call("alice").await.unwrap();
//! assert_eq!(refused.status(), 429);
//! assert_eq!(refused.headers()["retry-after"], "12");
//! assert_eq!(refused.headers()["ratelimit"], r#""default";r=2;t=2"#);
//! let body = refused.into_body().collect().await.unwrap().to_bytes();
//! assert!(body.starts_with(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-31429,"#));
//! assert_eq!(call("bob").await.unwrap().status(), 200);
//!
//! tokio::time::sleep(std::time::Duration::from_secs(12)).await;
//! assert_eq!(call("alice").await.unwrap().status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # What it answers
//!
//! | condition | status | JSON-RPC code |
//! |---|---|---|
//! | the key has not enough units left | 429 | −31429 |
//! | too many streams, or calls, of the key are open | 429 | −31429 |
//! | the request costs more than the key ever has | 403 | −31803 |
//! | there is nothing to make a key of, or no message to tell by what it costs or keeps open | 500 | −32603 |
//!
//! A 429 has `Retry-After`, in whole seconds, never too few and never zero, and `data.retryAfterMs`, which
//! is exact: whoever waits that long and is alone is let in (RL-2). Nobody knows when somebody else's
//! stream will end: of those it says one second.
//!
//! `RateLimit-Policy` tells the quota: `q` units, which are all back after `w` seconds. `RateLimit` tells
//! that `r` of them are left, and that there is one more in `t` seconds: for so long a client can use no
//! more than these, which is what the draft calls the effective window. Where none is missing there is no
//! `t`, and where nobody has looked, as with a 403, no `RateLimit`. Names and meanings are those of
//! draft-ietf-httpapi-ratelimit-headers-11, §3 and §4. They also go with other responses, [if
//! wanted](RateLimitLayer::with_fields_in_all).
//!
//! A refusal has the request's `id` where a
//! [`MessageLayer`](crate::message) outside has read it, and a batch gets one for each of its requests;
//! [`with_on_refuse`](RateLimitLayer::with_on_refuse) may answer otherwise. Whoever is refused has spent
//! nothing, and nobody inside has heard of it.
//!
//! # What is charged
//!
//! A request costs one unit, or what [a rule](RateLimitLayer::add_method_cost) says; a batch costs the sum
//! of its messages, all of it or nothing (RL-3).
//!
//! Nothing is charged for what somebody waits for who holds what the key would have to wait for (RL-4):
//! responses to the server's requests, `notifications/cancelled` and `notifications/initialized`; a DELETE
//! that names a session, inside of a `MessageLayer`; and a preflight. Whether there is such a session is
//! for the layers inside to say, so count those who guess outside of it (B08). *Exempt* means without any limit, of their number and of how many are under
//! way at once, and `exempt_total` counts them. Who may not be trusted with that is bounded by another
//! layer outside of the `MessageLayer`, where all of these are requests like others; and by a limit of
//! connections.
//!
//! Coming back for a stream [has a quota of its own](LocalLimiter::with_resumes): clients give up after a
//! few refusals, and those who come back in a storm are better told to wait by `retry` in the stream
//! (RL-6). It is for each GET for an event stream, or with `Last-Event-ID`, that a layer outside has found
//! to be of a revision of MCP with such streams. Elsewhere they are requests like others, unless that
//! quota is set.
//!
//! Open are streams and calls, each up to [the same number](LocalLimiter::with_max_streams). A *stream*
//! is a GET for one, or `subscriptions/listen`; a *call* is any other request from when it is let in until
//! its response has ended, whether that is a stream or not. A GET with `Last-Event-ID` is counted apart,
//! and may be one too many: the stream that it takes over may still be held by a connection that nobody
//! knows to be dead. What is done with a connection after a 101 is not counted: its response has ended.
//!
//! # Ordering
//!
//! Inside of whoever finds out what the key is made of: of an [`AuthLayer`](crate::auth) for
//! [`ByPrincipal`], of a [`SessionLayer`](crate::session) for [`BySession`], of a `MessageLayer` for
//! [`ByMethod`], [`ByTool`] and costs. It reads no body itself. Without a `MessageLayer` it works too, but
//! then cannot tell a response to the server from a request, so that every POST costs one unit; and where
//! it counts what is open, a POST with a field of MCP gets 500, because the response that a call waits for
//! would have to wait for the end of that call.
//!
//! [`ByPeer`] also belongs outermost, with a generous quota and no limit of streams, to keep those away
//! who are still to be verified, and who guess tokens or the ids of sessions (B08). Several layers in one
//! stack each count for themselves; [name](RateLimitLayer::with_name) them.
//!
//! # Memory
//!
//! The [`LocalLimiter`] tells [100,000 keys](LocalLimiter::DEFAULT_MAX_KEYS) apart, in 7 MiB, whatever
//! comes. A key that has all its units and nothing open is as good as forgotten, and may be if somebody
//! else needs its place. Where there is none, new keys share one account until there is room; those that
//! are there notice nothing. A key that gets a place of its own owes there what it has spent of that
//! account, and little of what others have. So no key gets new units by making the table forget it (R05). There is
//! nothing to clean up, and no task that does.
//!
//! A flood of made-up keys takes nothing from a key that is in debt, or has something open. Nor does it
//! from one that comes again while it is there, and then at least once a minute, or as often as all its
//! units come back if that takes longer: such keys keep their places, five of seven in each part of the
//! table, and those that were used last before others (R04). What a flood can do:
//!
//! - Keep those away who are new. Each key that it makes up has a place until its units are back, so that
//!   the default table, which has room for 200,000, is full at as many requests per second if a unit takes
//!   a second, and at 56 if it takes an hour. It takes fewer if each of them comes twice, because it then
//!   has its place for a minute at least. Those who find none share one quota with the flood.
//! - Push out a key that is whole just now, if each of its own comes twice. With as many keys as the table
//!   is for, between two requests of that one, it does so once in ten times, and with three times as many
//!   nearly always: with the default table these are 200,000 and 600,000 requests.
//!
//! So have keys that nobody makes up at will: a principal, or a [network](ByPeer::with_ipv6_prefix).
//!
//! A key is known by 64 bits of a keyed hash, whose own key is random.
//!
//! # Why not governor
//!
//! What [governor](https://docs.rs/governor) calls a cell is a few lines ([`Quota`] has them). Its keyed
//! stores never forget unless told to go through all keys; they cannot hold what is open of a key next to
//! what is left of it, so that a request could be charged with both or with neither; and its default
//! clock cannot be moved by a test. tower_governor, which builds on it, counts requests only, makes one
//! type of body a part of the stack, and rounds `Retry-After` down.
//!
//! # Cancellation
//!
//! A request that is let in is charged, whether its client waits for the answer or not. What it has open
//! is given back when its future is dropped. With a [`Limiter`] that takes its time, the service that was
//! polled ready waits for the verdict together with the request.
//!
//! # Security
//!
//! A key must be made of what was verified, or a client has as many as it likes: nothing here goes by a
//! header field, but for what [trusted proxies](ByPeer::with_trusted_proxies) write. A session is no
//! principal: whoever may open several has several accounts. Of methods and tools those have accounts
//! that are listed, because clients can make up others.

mod account;
mod admit;
mod body;
mod bucket;
mod by;
mod charge;
mod clock;
mod cost;
mod fields;
mod forwarded;
mod future;
mod handle;
mod key;
mod layer;
mod limiter;
mod local;
mod network;
mod overflow;
mod peer;
mod quota;
mod refuse;
mod service;
mod table;

#[cfg(feature = "auth")]
pub use self::by::ByPrincipal;
#[cfg(feature = "session")]
pub use self::by::BySession;
pub use self::{
    body::ResponseBody,
    by::{ByMethod, ByTool, Subject},
    charge::{Budget, Charge, Hold},
    clock::{Clock, MonotonicClock},
    future::ResponseFuture,
    handle::{LimitHandle, LimitStats},
    key::{Caller, KeyError, KeyFn, Or, OrKey, RateKey, key_fn},
    layer::{NameError, RateLimitLayer},
    limiter::{
        Admission, Decision, Limiter, LimiterStats, Rejection, RejectionKind, Unneeded, Verdict,
    },
    local::{LocalLimiter, LocalSlot},
    network::{Network, NetworkError},
    peer::{ByPeer, ForwardedField},
    quota::{Quota, QuotaError, QuotaErrorKind},
    service::RateLimit,
};
