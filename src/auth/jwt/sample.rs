//! A key, and what it has signed.

use super::{Issuer, Keys, jwk::Jwk};

pub(super) const JWKS: &str = r#"{"keys":[{"crv":"Ed25519","kid":"2026-11","kty":"OKP","x":"ed9c20inIhuU53p0k0U5HEsC08juNya7pTaXBQjI9l0"}]}"#;

/// Of alice, until 2100.
pub(super) const ALICE: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6IjIwMjYtMTEifQ.eyJhdWQiOiJodHRwczovL21jcC5leGFtcGxlLmNvbS9tY3AiLCJleHAiOjQxMDI0NDQ4MDAsImlzcyI6Imh0dHBzOi8vbG9naW4uZXhhbXBsZS5jb20iLCJzY29wZSI6InRvb2xzIiwic3ViIjoiYWxpY2UifQ.pMbZCbKdOooF3d32RvHeYrFaQ-Lc_zU2wEa4cKAVOBhnfKoEuSW-nBxgBsflKpeuArGaatxY3TSMM40SpxQaCA";

/// Of bob, until 2100.
pub(super) const BOB: &str = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6IjIwMjYtMTEifQ.eyJhdWQiOiJodHRwczovL21jcC5leGFtcGxlLmNvbS9tY3AiLCJleHAiOjQxMDI0NDQ4MDAsImlzcyI6Imh0dHBzOi8vbG9naW4uZXhhbXBsZS5jb20iLCJzY29wZSI6InRvb2xzIiwic3ViIjoiYm9iIn0.TzwXjOBPB2vAUbZMDMjmRMpQ6gipq4Exftnq2qdfyJ-27o5tMhBtjs5fzNL5sZpfSz-JAb2EsTgIxNJlz5twDg";

/// What alice's token says, with bob's signature.
pub(super) fn forged() -> String {
    let (message, _) = ALICE.rsplit_once('.').expect("three parts");
    let (_, signature) = BOB.rsplit_once('.').expect("three parts");
    format!("{message}.{signature}")
}

pub(super) fn jwk() -> Jwk {
    let mut jwks = Jwk::parse_set(JWKS.as_bytes()).expect("a set");
    jwks.remove(0)
}

pub(super) fn issuer() -> Issuer {
    let keys = Keys::from_jwks(JWKS).expect("a set");
    let issuer = Issuer::new(
        "https://login.example.com",
        "https://mcp.example.com/mcp",
        keys,
    );
    issuer.expect("valid")
}
