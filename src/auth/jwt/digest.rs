use std::fmt;

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    error::Unspecified,
    rand,
};

use super::{JwtError, JwtErrorKind};

/// What a token's verdict is found by.
pub(super) type Digest = [u8; 16];

/// Makes digests of tokens, with a key that nobody knows.
///
/// A digest is the GMAC of its token (NIST SP 800-38D), always with the same nonce: no digest ever
/// leaves, so there is nothing to learn about the key from. Two tokens have the same with a probability
/// of less than 2⁻¹¹⁷, whoever chose them: they are up to 1,024 blocks long, and each adds a root at most
/// to a polynomial over 2¹²⁸ elements, whose argument is the secret. SHA-256 takes four times as long.
pub(super) struct Digests {
    key: LessSafeKey,
}

impl Digests {
    /// With a key of its own.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    pub(super) fn new() -> Result<Self, JwtError> {
        let mut key = [0; 16];
        rand::fill(&mut key)
            .and_then(|()| UnboundKey::new(&AES_128_GCM, &key))
            .map(|key| Self {
                key: LessSafeKey::new(key),
            })
            .map_err(|error| JwtError::new(JwtErrorKind::Random, error))
    }

    /// The digest of a token.
    ///
    /// # Errors
    ///
    /// If the token is some gigabytes long.
    #[inline]
    pub(super) fn digest(&self, token: &str) -> Result<Digest, Unspecified> {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let token = Aad::from(token.as_bytes());
        let tag = (self.key).seal_in_place_separate_tag(nonce, token, &mut [])?;
        tag.as_ref().try_into().map_err(|_| Unspecified)
    }
}

impl fmt::Debug for Digests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digests").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_has_one_digest_and_no_other_token_has_it() {
        let digests = Digests::new().expect("random bytes");
        let token = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(19);
        let digest = digests.digest(&token).expect("short enough");
        assert_eq!(digests.digest(&token), Ok(digest));
        for at in 0..token.len() {
            let (before, after) = token.split_at(at);
            let changed = format!("{before}_{}", &after[1..]);
            assert_ne!(digests.digest(&changed), Ok(digest), "byte {at}");
            assert_ne!(digests.digest(before), Ok(digest), "the first {at}");
        }
        // Zeros at the end are what blocks are filled with.
        assert_ne!(digests.digest(&format!("{token}\0")), Ok(digest));
    }

    #[test]
    fn nobody_else_can_know_a_digest() {
        let [one, other] = [Digests::new(), Digests::new()].map(|it| it.expect("random bytes"));
        assert_ne!(one.digest("token"), other.digest("token"));
    }
}
