//! Keys that sign tokens.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use shadowcat::auth::jwt::Algorithm;

/// Made once: it takes a while.
static RSA: LazyLock<RsaKeyPair> =
    LazyLock::new(|| RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"));

pub(crate) struct Signer {
    pub(crate) kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    pair: Pair,
}

enum Pair {
    Rsa(&'static RsaKeyPair),
    Ec(&'static str, usize, EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// A key of that name. All RSA keys of a process are the same one.
    pub(crate) fn new(algorithm: Algorithm, kid: &str) -> Self {
        let ec = |curve, len, algorithm: &'static EcdsaSigningAlgorithm| {
            Pair::Ec(
                curve,
                len,
                EcdsaKeyPair::generate(algorithm).expect("a key"),
            )
        };
        let pair = match algorithm {
            Algorithm::Es256 => ec("P-256", 32, &ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::Es384 => ec("P-384", 48, &ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::Es512 => ec("P-521", 66, &ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDsa => Pair::Ed(Ed25519KeyPair::generate().expect("a key")),
            _ => Pair::Rsa(&RSA),
        };
        let kid = Some(kid.to_owned());
        Self {
            kid,
            algorithm,
            pair,
        }
    }

    /// One that is made fast.
    pub(crate) fn ed(kid: &str) -> Self {
        Self::new(Algorithm::EdDsa, kid)
    }

    pub(crate) fn unnamed(mut self) -> Self {
        self.kid = None;
        self
    }

    pub(crate) fn public_key(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ec(_, _, pair) => pair.public_key().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// The public key as a JWK, with all that says what it is for.
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk["key_ops"] = json!(["verify"]);
        jwk
    }

    pub(crate) fn bare_jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let n = encode(key.modulus().big_endian_without_leading_zero());
                let e = encode(key.exponent().big_endian_without_leading_zero());
                json!({"kty": "RSA", "n": n, "e": e})
            }
            Pair::Ec(curve, len, pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(*len);
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Pair::Ed(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())})
            }
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = (**kid).into();
        }
        jwk
    }

    /// The public key in PEM.
    pub(crate) fn pem(&self) -> String {
        use aws_lc_rs::encoding::AsDer;

        let der = match &self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Pair::Ec(_, _, pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_der().expect("DER").as_ref().to_vec(),
        };
        let body = BASE64_STANDARD.encode(der);
        let lines: Vec<_> = body
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            lines.join("\n")
        )
    }

    pub(crate) fn header(&self) -> Value {
        let mut header = json!({"typ": "at+jwt", "alg": self.algorithm.name()});
        if let Some(kid) = &self.kid {
            header["kid"] = (**kid).into();
        }
        header
    }

    /// A token of this key that says so.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header(), claims)
    }

    /// A token with another header than the key's own.
    pub(crate) fn token_of(&self, header: &Value, claims: &Value) -> String {
        self.token_of_texts(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn token_of_texts(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(self.algorithm, message.as_bytes());
        format!("{message}.{}", encode(signature))
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let padding = padding(algorithm);
                pair.sign(padding, &random, message, &mut signature)
                    .expect("a signature");
                signature
            }
            Pair::Ec(_, _, pair) => {
                let signature = pair.sign(&random, message).expect("a signature");
                signature.as_ref().to_vec()
            }
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        other => panic!("{other} is not of RSA"),
    }
}
