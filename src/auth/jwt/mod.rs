//! Tokens that are signed JWTs (RFC 9068).
//!
//! A [`JwtAuthorizer`] is an [`Authorize`](super::Authorize) for the tokens of one or several
//! [`Issuer`]s: signed by a key that the issuer has now, with an algorithm that is for that key, for
//! this server, for now, for access, and of somebody.
//!
//! ```
//! use std::convert::Infallible;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::Full;
//! use shadowcat::auth::{
//!     AuthLayer, Principal,
//!     jwt::{Algorithm, Issuer, JwtAuthorizer, Keys},
//! };
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # const TOKEN: &str = concat!(
//! #     "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6IjIwMjYtMTEifQ.eyJhdWQiOiJodHRwczovL21jcC5l",
//! #     "eGFtcGxlLmNvbS9tY3AiLCJleHAiOjQxMDI0NDQ4MDAsImlzcyI6Imh0dHBzOi8vbG9naW4uZXhhbXBsZS5jb20iLCJz",
//! #     "Y29wZSI6InRvb2xzIiwic3ViIjoiYWxpY2UifQ.pMbZCbKdOooF3d32RvHeYrFaQ-Lc_zU2wEa4cKAVOBhnfKoEuSW-n",
//! #     "BxgBsflKpeuArGaatxY3TSMM40SpxQaCA",
//! # );
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Or `JwksUrl::new("https://login.example.com/keys")?`, which are fetched.
//! let keys = Keys::from_jwks(
//!     r#"{"keys": [{
//!         "kty": "OKP", "crv": "Ed25519", "kid": "2026-11",
//!         "x": "ed9c20inIhuU53p0k0U5HEsC08juNya7pTaXBQjI9l0"
//!     }]}"#,
//! )?;
//! let issuer = Issuer::new("https://login.example.com", "https://mcp.example.com/mcp", keys)?
//!     .with_algorithms([Algorithm::EdDsa, Algorithm::Es256])?;
//! let authorizer = JwtAuthorizer::new([issuer])?;
//!
//! async fn inner(request: Request<()>) -> Result<Response<Full<Bytes>>, Infallible> {
//!     let principal = request.extensions().get::<Principal>().expect("known");
//!     assert_eq!(principal.subject(), "alice");
//!     assert_eq!(principal.issuer(), Some("https://login.example.com"));
//!     assert!(principal.has_scope("tools"));
//!     Ok(Response::new(Full::from("hello")))
//! }
//!
//! let service = AuthLayer::new(authorizer.clone()).layer(service_fn(inner));
//! let call = async |token: &str| {
//!     let request = Request::get("/mcp").header("authorization", format!("Bearer {token}"));
//!     service.clone().oneshot(request.body(()).unwrap()).await.unwrap().status()
//! };
//! assert_eq!(call(TOKEN).await, StatusCode::OK);
//! assert_eq!(call(TOKEN).await, StatusCode::OK);
//! assert_eq!(call(&TOKEN.replace("pMbZ", "pMbY")).await, StatusCode::UNAUTHORIZED);
//!
//! // The second time, the verdict was known.
//! let stats = authorizer.stats();
//! assert_eq!((stats.hits_total, stats.verified_total), (1, 2));
//! # Ok(())
//! # }
//! ```
//!
//! # What is accepted
//!
//! | part | rule |
//! |---|---|
//! | the token | three parts in canonical base64url, at most 16 KiB, with at most 1,024 values each |
//! | its claims | no object has two members of one name |
//! | `alg` | on the issuer's [list](Issuer::with_algorithms), and what the key is for; never `none` or HMAC |
//! | `kid` | the exact name of one of the issuer's keys; may be missing if there is only one key |
//! | `typ` | `at+jwt`, or `JWT` without the marks of an ID, refresh or logout token; [others](Issuer::with_types) |
//! | `crit`, `b64` | none |
//! | `jku`, `x5u`, `x5c`, `jwk` | not read |
//! | `iss` | the issuer's name, byte by byte |
//! | `aud` | one of the audiences, or an array of strings that has one |
//! | `exp`, `nbf`, `iat` | numbers; the first is required and not past, the others not to come, with [60 s](Issuer::MAX_LEEWAY) of leeway |
//! | `sub` | a name that can be seen, of at most 1 KiB |
//! | `scope`, or else `scp` | words between spaces, or an array; at most 128 |
//! | `client_id`, or else `azp` | a string, if there is one |
//! | `cnf` | none: a token that is bound to a key (DPoP, mutual TLS) is no bearer token |
//!
//! The rest is neither read nor judged, and is in the [`claims`](super::Principal::claims). Whatever is
//! refused is answered with 401 and a description of which rule it breaks. Nothing that a token says is
//! in there.
//!
//! # Keys
//!
//! [`Keys`] are a value, a file, or come from a [`JwksUrl`], which says when they are fetched and from
//! which addresses. Keys of a size or exponent that is not safe are left out, and so are secrets and
//! what is for something else.
//!
//! A token that names an unknown key waits for new keys, if they may be fetched just then, and is
//! refused at once if they may not. Where there are no keys at all, tokens wait for those. If keys cannot
//! be fetched, tokens of unknown keys are answered with 503 and `Retry-After`, at once until it is tried
//! again; the last keys count on, until they are [too old](JwksUrl::with_max_stale). Tokens of known keys
//! do not wait, unless nobody has come for so long that they [may have been
//! withdrawn](JwksUrl::with_refresh). Up to 1,024 wait for the keys of one issuer; more get 503.
//! [`fetch_keys`](JwtAuthorizer::fetch_keys) gets them before the first token comes.
//!
//! # Cost
//!
//! A token that was accepted is found by a keyed hash of it the next time, until it expires or its key is
//! gone: that costs the hash, a short lock on one of 16 parts, and a reference count. [8
//! MiB](JwtAuthorizer::DEFAULT_CACHE_BYTES) of them are kept. Tokens that are refused are not: there is
//! no end of them, and they would drive the others out.
//!
//! Signatures are checked on the spot as long as that takes up to a quarter of one thread's time, 12.5 ms
//! in 50, so that a flood of bad tokens does not delay what else the thread does: that is 19,000 a second
//! with RSA of 2,048 bits, and 5,400 on P-256. Beyond that, they are checked by tokio's threads for
//! blocking work, on half as many as there are cores. Up to 1,024 wait for those; more get 503. What is
//! read of a token before counts too: no more than is judged, without an allocation for the rest. Many
//! requests that come with one token at once have its signature checked once.
//!
//! # Cancellation
//!
//! Whoever waits and goes away takes nothing along: a fetch is a task of its own, on the runtime that it
//! was needed on, and a check that waits for a thread is taken over by the next request with that token.
//!
//! # Security
//!
//! Issuers and the places of their keys are configured. No token, key or document chooses where a
//! request goes (SEC-3). An [`Issuer`] has one policy, and an authorizer a cache of its own: what was
//! accepted for one audience says nothing about another (B38).
//!
//! Tokens are not asked about at their issuer: one that is revoked counts until it expires. Let them be
//! short-lived.

mod address;
mod algorithm;
mod authorizer;
mod claims;
mod digest;
mod error;
mod fault;
mod fetch;
mod flight;
mod future;
mod issuer;
mod json;
mod jwk;
mod jwks_url;
mod key;
mod keyring;
mod keys;
mod pace;
mod pick;
#[cfg(test)]
mod sample;
mod stats;
mod token;
mod verdicts;

pub use self::{
    algorithm::Algorithm,
    authorizer::JwtAuthorizer,
    error::{JwtError, JwtErrorKind},
    future::Deciding,
    issuer::Issuer,
    jwks_url::JwksUrl,
    keys::Keys,
    stats::JwtStats,
};
