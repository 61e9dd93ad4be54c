use std::{error::Error, fmt};

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::{Authorize, Credentials, Decision, Principal, Rejection, Undecided, bearer};

/// Bearer tokens that are known from the start, for tests and small set-ups.
///
/// A token is compared with all that are as long, in constant time: how long a check takes tells how
/// many there are, and of which lengths, but not how much of one was guessed right. They should be
/// long, and random. One that expires does so by its principal's [`expires_at`](Principal::expires_at).
#[derive(Clone, Default)]
#[must_use]
pub struct StaticTokens {
    entries: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    token: Box<[u8]>,
    principal: Principal,
}

impl StaticTokens {
    /// No tokens: nobody is let in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also lets in `principal`, by `token`.
    ///
    /// # Errors
    ///
    /// If the token is empty, has characters that no request could carry (RFC 6750 §2.1: other than
    /// ASCII letters, digits, `-._~+/`, and `=` at the end), or was added before.
    pub fn add_token(
        mut self,
        token: &str,
        principal: Principal,
    ) -> Result<Self, StaticTokenError> {
        let refused = |kind| Err(StaticTokenError { kind });
        if token.is_empty() {
            return refused(StaticTokenErrorKind::Empty);
        }
        if !bearer::is_b64token(token.as_bytes()) {
            return refused(StaticTokenErrorKind::Malformed);
        }
        let token: Box<[u8]> = token.as_bytes().into();
        if self.entries.iter().any(|entry| entry.token == token) {
            return refused(StaticTokenErrorKind::Repeated);
        }
        self.entries.push(Entry { token, principal });
        Ok(self)
    }

    #[inline]
    fn find(&self, token: &[u8]) -> Option<&Principal> {
        // Not the first that is equal: all are looked at, and none is left out.
        let mut found = u32::MAX;
        for (index, entry) in (0..).zip(&self.entries) {
            found.conditional_assign(&index, is_equal(&entry.token, token));
        }
        let entry = self.entries.get(found as usize)?;
        Some(&entry.principal)
    }
}

/// In a time that depends on the lengths only. By words, which is many times as fast as by bytes.
#[inline]
fn is_equal(one: &[u8], other: &[u8]) -> Choice {
    if one.len() != other.len() {
        return Choice::from(0);
    }
    let (one, one_rest) = one.as_chunks();
    let (other, other_rest) = other.as_chunks();
    let words = one.iter().zip(other).fold(0, |differs, (one, other)| {
        differs | (u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other))
    });
    let bytes = one_rest.iter().zip(other_rest);
    let differs = bytes.fold(words, |differs, (one, other)| {
        differs | u64::from(one ^ other)
    });
    differs.ct_eq(&0)
}

impl Authorize for StaticTokens {
    type Future = Undecided;

    #[inline]
    fn authorize(&self, credentials: Credentials<'_>) -> Decision<Undecided> {
        Decision::Now(match self.find(credentials.token_bytes()) {
            Some(principal) => Ok(principal.clone()),
            None => Err(Rejection::invalid_token("the token is unknown")),
        })
    }
}

impl fmt::Debug for StaticTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticTokens")
            .field("len", &self.entries.len())
            .finish_non_exhaustive()
    }
}

/// A token cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaticTokenError {
    kind: StaticTokenErrorKind,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StaticTokenErrorKind {
    /// It is empty.
    Empty,
    /// It has a character that no request could carry.
    Malformed,
    /// It was added before.
    Repeated,
}

impl StaticTokenError {
    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> StaticTokenErrorKind {
        self.kind
    }
}

impl fmt::Display for StaticTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StaticTokenErrorKind::Empty => "the token is empty",
            StaticTokenErrorKind::Malformed => {
                "a token is ASCII letters, digits and -._~+/, with = at the end only"
            }
            StaticTokenErrorKind::Repeated => "the token was added before",
        })
    }
}

impl Error for StaticTokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Principal {
        Principal::builder("alice").build().expect("it has a name")
    }

    #[test]
    fn each_token_is_its_principals() {
        let bob = Principal::builder("bob").build().expect("it has a name");
        let tokens = StaticTokens::new()
            .add_token("alpha", alice())
            .and_then(|tokens| tokens.add_token("beta", bob))
            .and_then(|tokens| tokens.add_token("gamma", alice()))
            .expect("valid");
        let subject = |token: &str| tokens.find(token.as_bytes()).map(Principal::subject);
        assert_eq!(subject("alpha"), Some("alice"));
        assert_eq!(subject("beta"), Some("bob"));
        assert_eq!(subject("gamma"), Some("alice"));
        for other in ["", "alph", "alphaa", "Alpha", "alpha ", "delta"] {
            assert_eq!(subject(other), None, "{other:?}");
        }
        assert_eq!(StaticTokens::new().find(b""), None);
    }

    #[test]
    fn tokens_that_differ_in_one_bit_anywhere_are_not_equal() {
        for len in [1, 7, 8, 9, 16, 31, 40] {
            let one = vec![0x55; len];
            assert!(bool::from(is_equal(&one, &one.clone())));
            assert!(!bool::from(is_equal(&one, &one[1..])));
            for bit in 0..len * 8 {
                let mut other = one.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert!(!bool::from(is_equal(&one, &other)), "bit {bit} of {len}");
            }
        }
    }

    #[test]
    fn what_no_request_can_carry_is_no_token() {
        use StaticTokenErrorKind::{Empty, Malformed, Repeated};

        for (token, kind) in [
            ("", Empty),
            ("a b", Malformed),
            ("a=b", Malformed),
            ("=", Malformed),
            ("ä", Malformed),
            ("there", Repeated),
        ] {
            let tokens = StaticTokens::new().add_token("there", alice());
            let error = tokens.expect("valid").add_token(token, alice());
            assert_eq!(error.expect_err("refused").kind(), kind, "{token:?}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let tokens = StaticTokens::new().add_token("secret", alice());
        let shown = format!("{:?}", tokens.expect("valid"));
        assert_eq!(shown, "StaticTokens { len: 1, .. }");
    }
}
