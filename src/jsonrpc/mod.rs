//! JSON-RPC messages as a hop sees them: what is routed and judged by, and nothing more.
//!
//! [`peek`] reads a request body in one pass and builds no document. What comes out points into
//! the body, so the bytes that are forwarded are the bytes that were judged.
//!
//! ```
//! use shadowcat::jsonrpc::{Claim, ErrorObject, Kind, code, peek};
//!
//! let body = br#"{"jsonrpc":"2.0","id":9007199254740993,"method":"tools/call",
//!     "params":{"name":"weather","arguments":{"city":"Lisbon"},
//!     "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
//!
//! let peek = peek(body)?;
//! let call = peek.single().expect("not a batch");
//! assert_eq!(call.kind(), Kind::Request);
//! assert_eq!(call.method().as_deref(), Some("tools/call"));
//! assert_eq!(call.name().as_deref(), Some("weather"));
//! assert_eq!(call.claim(), Claim::Version("2026-07-28".into()));
//! assert_eq!(call.duplicate(), None);
//!
//! // An answer of our own repeats the id exactly as it came, and says whose answer it is.
//! let error = ErrorObject::new(code::TOO_MANY_REQUESTS, "over quota").add_number("retryAfter", 2);
//! assert_eq!(
//!     error.to_response(call.id().as_ref()),
//!     concat!(
//!         r#"{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-31429,"#,
//!         r#""message":"over quota","data":{"source":"shadowcat","retryAfter":2}}}"#,
//!     ),
//! );
//! # Ok::<(), shadowcat::jsonrpc::PeekError>(())
//! ```
//!
//! # Security
//!
//! A policy is worth nothing if it judges another message than the one that the server runs
//! (JRP-10). So keys are compared by what they say, however they are escaped; a key that is
//! repeated is reported by [`Envelope::duplicate`], for the caller to refuse; and text that some
//! parsers forgive (control characters in strings, half surrogates, trailing commas) is an error.
//! Keys are case-sensitive, as JSON has it; but some servers' parsers take `Method` for `method`, so
//! [`Envelope::ambiguous`] reports a key that differs in case alone from one that is read.

#[cfg(any(feature = "intercept", feature = "replay"))]
mod candidate;
mod envelope;
mod error;
mod field;
#[cfg(feature = "intercept")]
mod guise;
#[cfg(feature = "session")]
mod handshake;
mod id;
mod keys;
mod lexer;
#[cfg(feature = "intercept")]
mod members;
mod peek;
mod peek_error;
#[cfg(feature = "intercept")]
mod pointer;
#[cfg(feature = "replay")]
mod response;
mod shape;
mod span;
mod text;

pub mod code;

#[cfg(feature = "replay")]
pub(crate) use self::candidate::may_be_response;
#[cfg(feature = "session")]
pub(crate) use self::handshake::Handshake;
#[cfg(feature = "replay")]
pub(crate) use self::response::response_ids;
pub(crate) use self::shape::Shape;
#[cfg(feature = "intercept")]
pub(crate) use self::shape::Spans;
#[cfg(feature = "intercept")]
pub(crate) use self::{
    candidate::may_answer,
    guise::Guise,
    members::Members,
    pointer::{Pointer, cut_members, splice},
};
pub use self::{
    envelope::{Claim, Envelope, Kind},
    error::ErrorObject,
    id::{InvalidRequestId, RequestId},
    peek::{Peek, peek, peek_within},
    peek_error::{PeekError, PeekErrorKind},
    shape::Limits,
};
