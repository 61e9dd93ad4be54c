//! Reading a request: which era it is of, and whether it breaks that era's rules.
//!
//! ```
//! use http::{HeaderMap, Method, StatusCode};
//! use shadowcat::{
//!     header::MCP_PROTOCOL_VERSION,
//!     jsonrpc::peek,
//!     message::{Fault, classify},
//!     protocol::{Era, ProtocolVersion},
//! };
//!
//! let mut headers = HeaderMap::new();
//! headers.insert(MCP_PROTOCOL_VERSION, "2025-11-25".parse()?);
//! let body = peek(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
//! let request = classify(&Method::POST, &headers, Some(body.as_ref()));
//! assert_eq!(request.era, Era::Session(ProtocolVersion::V2025_11_25));
//! assert_eq!(request.fault, None);
//!
//! // Batches ended with 2025-03-26.
//! let body = peek(b"[{}]");
//! let request = classify(&Method::POST, &headers, Some(body.as_ref()));
//! assert_eq!(request.fault, Some(Fault::BatchNotAllowed));
//! assert_eq!(Fault::BatchNotAllowed.status(), StatusCode::BAD_REQUEST);
//! # Ok::<(), http::header::InvalidHeaderValue>(())
//! ```

mod classify;

pub use self::classify::{Classified, Fault, classify};
