//! Has interceptors look at every message: to see it, change it, refuse it, answer it, or hold it.
//!
//! An [`Interceptor`] says which messages it is interested in, and gives a [`Verdict`] on each of them:
//! on the requests, notifications and responses that clients POST, on JSON replies, and on every single event
//! of a stream. [`InterceptLayer`] asks one after another and does what they say.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use shadowcat::{
//!     intercept::{InterceptLayer, Interest, Redact, ToolFilter, Verdict, sync_fn},
//!     message::MessageLayer,
//! };
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), shadowcat::intercept::EditError> {
//! let tools = ToolFilter::deny(["drop_*"]);
//! let secrets = Redact::new(Interest::responses("tools/call")).add_pointer("/result/token")?;
//! let small = sync_fn(Interest::requests("tools/call"), |_, message| {
//!     match message.get("/params/arguments/n") {
//!         Some(n) if n.len() > 3 => Verdict::refuse("not that many"),
//!         _ => Verdict::Continue,
//!     }
//! });
//! let layer = InterceptLayer::new((tools, small, secrets));
//! let handle = layer.handle();
//!
//! // A server that streams its answer.
//! async fn inner<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     const EVENTS: &str = "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\
//!         \"result\":{\"n\":1.00,\"token\":\"s3cret\"}}\n\n";
//!     let response = Response::builder().header("content-type", "text/event-stream");
//!     Ok(response.body(Full::from(EVENTS)).unwrap())
//! }
//!
//! let service = ServiceBuilder::new()
//!     .layer(MessageLayer::new())
//!     .layer(layer)
//!     .service(service_fn(inner));
//! let call = async |tool: &str, n: u32| {
//!     let body = format!(
//!         r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"n":{n}}}}}}}"#
//!     );
//!     let request = Request::post("/mcp")
//!         .header("content-type", "application/json")
//!         .body(Full::from(body))
//!         .unwrap();
//!     let response = service.clone().oneshot(request).await.unwrap();
//!     response.into_body().collect().await.unwrap().to_bytes()
//! };
//!
//! // Nothing but the token has changed.
//! assert_eq!(
//!     call("search", 5).await,
//!     "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"n\":1.00,\"token\":\"[redacted]\"}}\n\n",
//! );
//! assert_eq!(
//!     call("drop_table", 5).await,
//!     r#"{"jsonrpc":"2.0","id":7,"error":{"code":-31403,"message":"the tool is not allowed","data":{"source":"shadowcat"}}}"#,
//! );
//! assert!(call("search", 5_000).await.ends_with(br#""not that many","data":{"source":"shadowcat"}}}"#));
//! assert_eq!(handle.stats().refused_total, 2);
//! # Ok(())
//! # }
//! ```
//!
//! Ready-made are [`ToolFilter`], [`Redact`] and [`AuditLog`]; [`sync_fn`] and [`async_fn`] make an
//! interceptor of a function. Those whose types are not known before the program runs go into a [`Chain`].
//!
//! # Verdicts
//!
//! | on | [`Refuse`](Verdict::Refuse) | [`Respond`](Verdict::Respond) |
//! |---|---|---|
//! | a client's request | 200 with a JSON-RPC error, or a result with `isError` (ICP-3); the server is not asked | 200 with that result; the server is not asked |
//! | a client's notification | 403 (A54) | 202, and no more |
//! | a client's response | an error with its id goes to the server | that result goes to the server |
//! | a response of the server | an error with its id takes its place, in the same event (ICP-4) | that result takes its place |
//! | a notification of the server | it is gone | it is gone |
//! | a request of the server | it is gone: there is no way back to the server from here | the interceptor has failed |
//!
//! [`Replace`](Verdict::Replace) puts another text in a message's place, which has to be of the same kind,
//! method and id (IC-4). [`Delay`](Verdict::Delay) and [`Pause`](Verdict::Pause) let it wait, and what comes
//! after it in its stream too: each stream has one message in hand, and its server is not read meanwhile.
//! Other streams go on.
//!
//! Messages go to the server through the interceptors from the first to the last, and come back from the
//! last to the first, through each once (IC-3). What is answered on the way comes back through those that it
//! has been through. In a batch each message is judged for itself; if one of them does not go on, the batch
//! is answered whole, with an error for each request that was not answered otherwise (ICP-5).
//!
//! # What stays as it is
//!
//! A message that nobody changes leaves as the bytes that came. Of one that is changed by an [`Edit`],
//! everything else stays: numbers that no float holds, keys that nobody knows, white space, and in an event
//! the id, the type, the delay, comments and line ends. A request that was changed has the right
//! `Content-Length`, `Mcp-Name` (HDR-14) and [`Message`](crate::message::Message); `Mcp-Param-*` stay as they
//! were, because only the tool's schema says what they mirror. A response that is looked at has no
//! `Content-Length`, `ETag` or digest (RFC 9530), not even in its trailers, and is asked for uncompressed.
//!
//! Only what somebody is [interested](Interest) in is read. Events of other types than `message`, those
//! without data, and comments pass (ICP-2, S11, S12). A JSON reply is looked at message by message as it
//! comes, so that one that lasts, line by line, is not held to its end (ICP-7). An event that is not finished
//! when the stream ends is dropped (SWF-9).
//!
//! A response that is looked at keeps the body of its request and a clone of its extensions until it is
//! over, because interceptors [may ask](Context) for them. Whoever is interested in responses has that done
//! for every request, whatever its method: its stream may have a response to another one in it.
//!
//! # What counts as a response
//!
//! Clients differ in what they look at. So where somebody is interested in responses, whatever has a `result`
//! or an `error` is judged as one: also next to the other one, to a method, or without an id. Some servers
//! write `null` for what they do not mean; if its result and its error are that, a call is judged as a call.
//! What cannot be judged so that every client reads the same ends the response: a member that is there
//! twice or in other letters, such as `Result`, an id that is none, such as `7.0`, a result next to a method
//! where somebody is interested in calls too, more than 127 levels or 1,000 messages, and all that is no JSON
//! but has such a member, because many clients read that (JRP-10).
//!
//! In an event stream, responses are known by their ids, whatever request the stream belongs to, as clients
//! know them. One to a request that did not come with it is of no known method, and matters to everybody who
//! is interested in responses. In 2026-07-28, requests of a server are dropped from responses that somebody is
//! interested in, and counted (S25).
//!
//! # Failures
//!
//! An interceptor that panics, wherever, returns an error, takes longer than [5 s](Options::DEFAULT_TIMEOUT),
//! or says something that is not the same message, has failed. Then the message is refused, with code −32603 and,
//! for a request, status 500 (IC-2); the log says why, and the client is not told. Those who only watch may
//! [let it pass](Interceptor::pass_on_failure) instead.
//!
//! | condition | what happens |
//! |---|---|
//! | a request that is no JSON, no JSON-RPC message, or can be read in two ways, if somebody is interested in anything, in either direction (B52) | 400, −32700 or −32600 |
//! | what clients may take for a response, and nobody can judge, if somebody is interested in responses | the response ends, with −32603 for whoever waits |
//! | something else in a response that is no JSON-RPC message | it passes (S22), or [ends the response](InterceptLayer::with_unreadable_refused) with −32603 for whoever waits |
//! | a response that is compressed, or of several types one of which is an event stream | 502, −32603 |
//! | a response of another type than JSON or an event stream | it passes, or 502 if [nothing unreadable may](InterceptLayer::with_unreadable_refused) |
//! | a JSON reply of which nothing is left | −31403 for whoever waits |
//! | a message of more than [16 MiB](InterceptLayer::DEFAULT_MAX_MESSAGE_BYTES) in a response, if somebody is interested | the response ends, with −32603 for whoever waits |
//! | a replacement of more than that | the interceptor has failed |
//! | more than [1,024](InterceptLayer::DEFAULT_MAX_HELD) messages would be held, or more than [64 MiB](InterceptLayer::DEFAULT_MAX_HELD_BYTES), or more than [a quarter of them](InterceptLayer::with_max_held_per_owner) for one client | it is treated as if its deadline had passed |
//! | a request body that nobody outside has read | 413 beyond 4 MiB, 408 after 30 s |
//!
//! # Holding messages
//!
//! A [`PauseHandle`] lists what is held, releases, replaces or refuses it, and tells of
//! [changes](PauseHandle::changed). Each message has a deadline, [5 min](Pause::DEFAULT_DEADLINE) by default,
//! after which nobody can decide any more, and it is refused, or released if the verdict says so: also if
//! its client has not read anything meanwhile. Of a request that is held, nobody hears anything; while an event is, its client is sent comments
//! every [15 s](InterceptLayer::DEFAULT_KEEP_ALIVE).
//!
//! # Ordering
//!
//! Directly outside of the server or the [`ReverseProxy`](crate::proxy), inside of everything that refuses
//! for less. In particular inside of a [`ReplayLayer`](crate::replay): its log then holds what clients were
//! sent, so that a message is judged once, and nothing that was redacted is stored. Inside of a
//! [`MessageLayer`](crate::message) if there is one; over hyper's `Incoming` there has to be.
//!
//! # Cancellation
//!
//! A future that is dropped while a verdict is due has not called the inner service. A body that is dropped
//! drops the decision that it waits for, and what it holds; with a `ReplayLayer` outside, the body goes on
//! without its client, and so do both. No task is spawned and no thread blocked: whoever polls the response
//! polls the interceptor.
//!
//! # Memory
//!
//! An exchange that somebody is interested in keeps the body of its request and a clone of its extensions
//! until its response is over, for [`Context`]: of a stream, as long as that lasts. A message that is held
//! keeps the body or the event that it came in.
//!
//! # Security
//!
//! A policy is worth nothing if it judges another message than the one that the server runs, or does not see
//! all of them. Requests are judged whatever their content type is. A `tools/call` without an id is a
//! notification, and a server may run it nevertheless: [`Interest::requests`] is not about those. Responses are judged by all that a client
//! may [take for one](#what-counts-as-a-response), whatever their status is; only a JSON reply to a request
//! of a method that nobody is interested in is left alone. What is neither JSON nor an event stream is not
//! judged by default, but passes, and so does what nobody takes for a response: where secrets must not leave,
//! have it [refused](InterceptLayer::with_unreadable_refused). `Debug` output and logs show no arguments or
//! results;
//! [`HeldMessage::preview`] does, as the interceptors before have left them.

mod answer;
mod audit;
mod begin;
mod body;
mod body_error;
mod chain;
mod context;
mod deliberate;
mod edit;
mod error;
mod failure;
mod framing;
mod function;
mod future;
mod handle;
mod inspect;
mod interceptor;
mod interest;
mod judge;
mod layer;
mod links;
mod message;
mod options;
mod output;
mod pause;
mod reading;
mod redact;
mod ruling;
mod service;
mod state;
mod synthetic;
mod tools;
mod unit;
mod values;
mod verdict;
mod work;

pub use self::{
    audit::AuditLog,
    body::ResponseBody,
    body_error::{BodyError, BodyErrorKind},
    chain::Chain,
    context::{Context, Direction},
    edit::{Edit, EditError, EditErrorKind},
    error::InterceptError,
    function::{AsyncFn, SyncFn, async_fn, sync_fn},
    future::ResponseFuture,
    handle::{HeldMessage, InterceptHandle, PauseError, PauseHandle, PauseId},
    interceptor::{Decision, Interceptor, Unneeded},
    interest::Interest,
    layer::InterceptLayer,
    links::Links,
    message::Message,
    options::{Configured, Options},
    redact::Redact,
    service::Intercept,
    state::InterceptStats,
    tools::ToolFilter,
    verdict::{Denial, Judgement, Pause, Verdict},
};
