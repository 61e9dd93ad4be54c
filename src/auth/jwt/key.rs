use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use aws_lc_rs::{
    rsa,
    signature::{ParsedPublicKey, RsaPublicKeyComponents},
};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};

use super::{
    Algorithm,
    algorithm::Family,
    fault::Fault,
    jwk::{BadKey, BadKeys, Jwk, Material},
};

/// A key that tokens are verified with, ready to use.
pub(super) struct Key {
    jwk: Jwk,
    /// One for each algorithm that the key may be used with.
    verifiers: Vec<(Algorithm, ParsedPublicKey)>,
    /// Whether its issuer has it still. What it has verified is believed no longer than that (T27).
    is_live: AtomicBool,
}

impl Key {
    /// A key for those of `algorithms` that it is made for.
    pub(super) fn new(jwk: &Jwk, algorithms: &[Algorithm]) -> Result<Self, BadKey> {
        let family = jwk.material.family();
        let is_fit = |algorithm: &&Algorithm| {
            algorithm.family() == family && jwk.algorithm.is_none_or(|only| only == **algorithm)
        };
        let mut verifiers = Vec::new();
        for algorithm in algorithms.iter().filter(is_fit) {
            verifiers.push((*algorithm, parsed(*algorithm, &jwk.material)?));
        }
        Ok(Self {
            jwk: jwk.clone(),
            verifiers,
            is_live: AtomicBool::new(true),
        })
    }

    pub(super) const fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    pub(super) fn kid(&self) -> Option<&str> {
        self.jwk.kid.as_deref()
    }

    /// Checks a signature. This takes long, as things go here: 13 µs with RSA of 2,048 bits, 200 µs
    /// with 8,192.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        message: &str,
        signature: &[u8],
    ) -> Result<(), Fault> {
        let mut verifiers = self.verifiers.iter();
        // The key says what it is for, not the token (T07).
        let (_, verifier) = verifiers
            .find(|(fit, _)| *fit == algorithm)
            .ok_or(Fault::Algorithm)?;
        let verified = verifier.verify_sig(message.as_bytes(), signature);
        verified.map_err(|_| Fault::Signature)
    }

    #[inline]
    pub(super) fn is_live(&self) -> bool {
        self.is_live.load(Relaxed)
    }
}

fn parsed(algorithm: Algorithm, material: &Material) -> Result<ParsedPublicKey, BadKey> {
    let parsed = match (material, algorithm.rsa(), algorithm.curve()) {
        (Material::Rsa { n, e }, Some(parameters), None) => {
            RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters)
        }
        (Material::Curve { point, .. }, None, Some(curve)) => ParsedPublicKey::new(curve, point),
        _ => return Err(BadKey::OtherUse),
    };
    parsed.map_err(|_| BadKey::Malformed)
}

/// The keys of an issuer at one time.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Arc<Key>>,
}

impl KeySet {
    /// The keys that can be used with one of `algorithms`.
    pub(super) fn new(jwks: &[Jwk], algorithms: &[Algorithm]) -> Result<Self, BadKeys> {
        Self::default().next(jwks, algorithms)
    }

    /// The keys that come after these. Those that are in both stay what they are, and so do the
    /// verdicts that they have given.
    pub(super) fn next(&self, jwks: &[Jwk], algorithms: &[Algorithm]) -> Result<Self, BadKeys> {
        let mut keys = Vec::with_capacity(jwks.len());
        for jwk in jwks {
            if let Some(same) = self.keys.iter().find(|key| key.jwk() == jwk) {
                keys.push(Arc::clone(same));
                continue;
            }
            match Key::new(jwk, algorithms) {
                Ok(key) if key.verifiers.is_empty() => {}
                Ok(key) => keys.push(Arc::new(key)),
                Err(reason) => {
                    let kid = jwk.kid.as_deref();
                    tracing::warn!(?reason, kid, "refusing a key of an issuer");
                }
            }
        }
        if keys.is_empty() {
            return Err(BadKeys::NoneUsable);
        }
        Ok(Self { keys })
    }

    /// The key of that name. The only key there is may be meant by a token that names none, and if it
    /// has no name, by any (T09).
    pub(super) fn find(&self, kid: Option<&str>) -> Option<&Arc<Key>> {
        let named = kid.and_then(|kid| self.keys.iter().find(|key| key.kid() == Some(kid)));
        named.or_else(|| match &*self.keys {
            [only] if kid.is_none() || only.kid().is_none() => Some(only),
            _ => None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Puts `next` in their place. Nobody believes any more what was verified with one that is gone.
    pub(super) fn replace(&mut self, next: Self) {
        for key in &self.keys {
            key.is_live.store(false, Relaxed);
        }
        // Also those that were too old to be believed when these were made of them.
        for key in &next.keys {
            key.is_live.store(true, Relaxed);
        }
        *self = next;
    }
}

/// The key of a text that is one public key in PEM (RFC 7468 §13).
pub(super) fn from_pem(text: &[u8]) -> Result<Jwk, BadKeys> {
    let mut blocks = SubjectPublicKeyInfoDer::pem_slice_iter(text);
    let (Some(Ok(der)), None) = (blocks.next(), blocks.next()) else {
        return Err(BadKeys::NotPem);
    };
    let material = material_of_der(&der).map_err(BadKeys::Key)?;
    Ok(Jwk {
        kid: None,
        algorithm: None,
        material,
    })
}

fn material_of_der(der: &[u8]) -> Result<Material, BadKey> {
    if let Ok(key) = rsa::PublicKey::from_der(der) {
        let n = key.modulus().big_endian_without_leading_zero().to_vec();
        let e = key.exponent().big_endian_without_leading_zero().to_vec();
        return Material::rsa(n, e);
    }
    let curves = [
        (Algorithm::Es256, Family::P256),
        (Algorithm::Es384, Family::P384),
        (Algorithm::Es512, Family::P521),
        (Algorithm::EdDsa, Family::Ed25519),
    ];
    let mut families = curves.iter().filter_map(|(algorithm, family)| {
        ParsedPublicKey::new(algorithm.curve()?, der)
            .ok()
            .map(|_| *family)
    });
    let family = families.next().ok_or(BadKey::OtherUse)?;
    let point = der.to_vec();
    Ok(Material::Curve { family, point })
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("jwk", &self.jwk)
            .field("is_live", &self.is_live())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::jwt::sample;

    #[test]
    fn t27_key_is_believed_as_long_as_it_is_there() {
        let mut keys = KeySet::new(&[sample::jwk()], Algorithm::ALL).expect("a key");
        let key = Arc::clone(&keys.keys[0]);
        // What was made of keys that went meanwhile, because they were too old, are keys again.
        let next = keys.next(&[sample::jwk()], Algorithm::ALL).expect("a key");
        keys.replace(KeySet::default());
        assert!(!key.is_live());
        keys.replace(next);
        assert!(key.is_live() && Arc::ptr_eq(&keys.keys[0], &key));
    }
}
