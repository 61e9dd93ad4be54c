use std::{error::Error, fmt};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    Algorithm,
    algorithm::Family,
    json::{Json, NotThat, Object},
    token::is_kid,
};

/// The largest document with keys: 256 KiB (T23).
pub(super) const MAX_DOCUMENT_BYTES: usize = 256 * 1024;

/// The most keys of one document.
const MAX_KEYS: usize = 128;

/// The sizes of RSA keys: shorter ones can be broken, and longer ones keep us busy.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A public key that signs tokens, as a document describes it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Jwk {
    pub(super) kid: Option<Box<str>>,
    /// The only one that it is for.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) material: Material,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Material {
    /// Big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// A point, as its curve has it written.
    Curve { family: Family, point: Vec<u8> },
}

/// Why a document with keys is refused, or one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadKeys {
    TooLarge,
    NotJwks,
    TooMany,
    Duplicate,
    NoneUsable,
    NotPem,
    Key(BadKey),
}

/// Why a key is refused, and the others of its document are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadKey {
    Malformed,
    /// It is a secret, which everybody has who can read the document.
    Secret,
    /// It is for something else, or of a kind that is not known here.
    OtherUse,
    Weak,
}

impl Jwk {
    /// The usable keys of a JWK set (RFC 7517 §5).
    pub(super) fn parse_set(text: &[u8]) -> Result<Vec<Self>, BadKeys> {
        if text.len() > MAX_DOCUMENT_BYTES {
            return Err(BadKeys::TooLarge);
        }
        let document = Object::parse(text).ok_or(BadKeys::NotJwks)?;
        let Some(Json::Array(entries)) = document.get("keys") else {
            return Err(BadKeys::NotJwks);
        };
        if entries.len() > MAX_KEYS {
            return Err(BadKeys::TooMany);
        }
        let mut keys: Vec<Self> = Vec::with_capacity(entries.len());
        for entry in entries {
            let Json::Object(entry) = entry else {
                return Err(BadKeys::NotJwks);
            };
            match Self::parse(entry) {
                Ok(key) => {
                    // Which of the two is meant, a token cannot say.
                    if key.kid.is_some() && keys.iter().any(|other| other.kid == key.kid) {
                        return Err(BadKeys::Duplicate);
                    }
                    keys.push(key);
                }
                Err(BadKey::OtherUse) => {}
                Err(reason) => {
                    // Whoever wrote the document may have written anything.
                    let kid = entry.string("kid").ok().flatten().filter(|kid| is_kid(kid));
                    tracing::warn!(?reason, kid, "refusing a key of an issuer");
                }
            }
        }
        if keys.is_empty() {
            return Err(BadKeys::NoneUsable);
        }
        Ok(keys)
    }

    fn parse(key: &Object<'_>) -> Result<Self, BadKey> {
        let string = |name| key.string(name).map_err(|NotThat| BadKey::Malformed);
        let kty = string("kty")?.ok_or(BadKey::Malformed)?;
        if kty == "oct" || ["d", "p", "q", "k"].iter().any(|secret| key.has(secret)) {
            return Err(BadKey::Secret);
        }
        if string("use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(BadKey::OtherUse);
        }
        match key.get("key_ops") {
            None => {}
            Some(Json::Array(operations)) => {
                let is_verify = |operation: &Json<'_>| *operation == Json::String("verify".into());
                if !operations.iter().any(is_verify) {
                    return Err(BadKey::OtherUse);
                }
            }
            Some(_) => return Err(BadKey::Malformed),
        }
        let kid = string("kid")?;
        if kid.is_some_and(|kid| !is_kid(kid)) {
            return Err(BadKey::Malformed);
        }
        let material = match (kty, string("crv")?) {
            ("RSA", None) => Material::rsa(bytes(key, "n")?, bytes(key, "e")?)?,
            ("EC", Some("P-256")) => point(key, Family::P256, 32)?,
            ("EC", Some("P-384")) => point(key, Family::P384, 48)?,
            ("EC", Some("P-521")) => point(key, Family::P521, 66)?,
            ("OKP", Some("Ed25519")) => {
                let point = bytes(key, "x")?;
                Material::Curve {
                    family: Family::Ed25519,
                    point,
                }
            }
            ("RSA", Some(_)) | ("EC" | "OKP", None) => return Err(BadKey::Malformed),
            _ => return Err(BadKey::OtherUse),
        };
        let algorithm = match string("alg")? {
            None => None,
            // Not one that is known here, or not one of such a key.
            Some(name) => match Algorithm::from_name(name) {
                Some(algorithm) if algorithm.family() == material.family() => Some(algorithm),
                _ => return Err(BadKey::OtherUse),
            },
        };
        Ok(Self {
            kid: kid.map(Into::into),
            algorithm,
            material,
        })
    }
}

impl Material {
    /// A key of a size and an exponent that are safe.
    pub(super) fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, BadKey> {
        let (n, e) = (trimmed(n), trimmed(e));
        let (Some(first), Some(last)) = (n.first(), n.last()) else {
            return Err(BadKey::Malformed);
        };
        let bits = n.len() * 8 - first.leading_zeros() as usize;
        let is_odd = e.last().is_some_and(|last| last % 2 == 1);
        // 1 signs nothing; and with a long one, verifying takes as long as signing.
        let is_safe = is_odd && e != [1] && e.len() <= 4;
        if !RSA_BITS.contains(&bits) || last % 2 == 0 || !is_safe {
            return Err(BadKey::Weak);
        }
        Ok(Self::Rsa { n, e })
    }

    pub(super) const fn family(&self) -> Family {
        match self {
            Self::Rsa { .. } => Family::Rsa,
            Self::Curve { family, .. } => *family,
        }
    }
}

/// Uncompressed (SEC 1 §2.3.3). Whether it is on its curve is checked by whoever uses it.
fn point(key: &Object<'_>, family: Family, len: usize) -> Result<Material, BadKey> {
    let (x, y) = (bytes(key, "x")?, bytes(key, "y")?);
    if x.len() != len || y.len() != len {
        return Err(BadKey::Malformed);
    }
    let point = [&[4], &*x, &*y].concat();
    Ok(Material::Curve { family, point })
}

fn bytes(key: &Object<'_>, name: &str) -> Result<Vec<u8>, BadKey> {
    let text = key.string(name).ok().flatten().ok_or(BadKey::Malformed)?;
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(text);
    decoded.map_err(|_| BadKey::Malformed)
}

fn trimmed(mut number: Vec<u8>) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.drain(..zeros);
    number
}

impl fmt::Debug for Jwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kid,
            algorithm,
            material,
        } = self;
        f.debug_struct("Jwk")
            .field("kid", kid)
            .field("algorithm", algorithm)
            .field("family", &material.family())
            .finish()
    }
}

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the document is larger than 256 KiB",
            Self::NotJwks => "the document is no JSON Web Key Set",
            Self::TooMany => "the document has more than 128 keys",
            Self::Duplicate => "two keys of the document have one name",
            Self::NoneUsable => "no key of the document can verify tokens",
            Self::NotPem => "the text is not one public key in PEM",
            Self::Key(reason) => return reason.fmt(f),
        })
    }
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the key is malformed",
            Self::Secret => "the key is a secret",
            Self::OtherUse => "the key is not for verifying tokens",
            Self::Weak => "the key is too short, too long, or has an unsafe exponent",
        })
    }
}

impl Error for BadKeys {}
