//! Who calls.
//!
//! A [`Principal`] is the fact that says who a request comes from, as it was verified: whoever
//! authenticates puts it into the request's extensions, and every layer inside goes by it.
//!
//! ```
//! use http::Request;
//! use shadowcat::auth::Principal;
//!
//! # fn main() -> Result<(), shadowcat::auth::PrincipalError> {
//! let alice = Principal::builder("alice")
//!     .with_issuer("https://login.example.com")
//!     .with_scopes(["tools:read", "tools:call"])
//!     .build()?;
//! assert_eq!(alice.subject(), "alice");
//! assert!(alice.has_scope("tools:call") && !alice.has_scope("tools"));
//!
//! // The same name at another issuer is somebody else.
//! let other = Principal::builder("alice").with_issuer("https://example.org").build()?;
//! assert_ne!(alice.owner(), other.owner());
//!
//! // Nobody has an empty name.
//! assert!(Principal::builder("").build().is_err());
//!
//! // Your own authentication tells the layers inside of it like this.
//! let mut request = Request::get("/mcp").body(()).unwrap();
//! request.extensions_mut().insert(alice);
//! # Ok(())
//! # }
//! ```
//!
//! # Security
//!
//! Put a principal into a request only after its credentials were verified. Nothing that a client
//! sends becomes one by itself (B55). `Debug` shows neither the subject nor anything else that could
//! name a person: only a digest, to tell principals apart.

mod authorize;
mod credentials;
#[cfg(feature = "jwt")]
pub mod jwt;
mod principal;
mod rejection;
mod scopes;

pub use self::{
    authorize::{Authorize, Decision, Undecided},
    credentials::Credentials,
    principal::{Principal, PrincipalBuilder, PrincipalError, PrincipalErrorKind},
    rejection::{Rejection, RejectionKind},
    scopes::{InvalidScope, Scopes},
};
