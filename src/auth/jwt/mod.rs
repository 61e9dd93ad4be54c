//! Tokens that are signed JWTs.

mod address;
mod algorithm;
mod authorizer;
mod claims;
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
