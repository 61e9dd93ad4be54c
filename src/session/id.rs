use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::store::SessionKey;

/// A session id, cut in two: one half finds the session, the other is compared with what it should
/// be, in a time that does not depend on how much of it is right (B08).
pub(super) struct SessionId {
    id: [u8; 16],
    pub(super) secret: [u8; 16],
}

/// Length of the ids that we make: 32 bytes as base64url.
const LEN: usize = 43;

impl SessionId {
    /// The longest id that a client may send (A26).
    pub(super) const MAX_LEN: usize = 256;

    /// The longest id of a server that never reaches a client. Some keep all of a session in it.
    pub(super) const MAX_UPSTREAM_LEN: usize = 4_096;

    /// An id that nobody can guess; `None` if the system has no randomness to give.
    pub(super) fn mint() -> Option<Self> {
        random().map(Self::from_bytes)
    }

    /// Reads the text of an id of ours. There is exactly one text for each.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != LEN {
            return None;
        }
        let mut bytes = [0; 32];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        (len == bytes.len()).then(|| Self::from_bytes(bytes))
    }

    /// Stands for an id that a server made, whatever it looks like.
    pub(super) fn digest(text: &[u8]) -> Self {
        Self::from_bytes(Sha256::digest(text).into())
    }

    pub(super) const fn key(&self, realm: u64) -> SessionKey {
        SessionKey::new(realm, self.id)
    }

    /// The text that a client is given.
    pub(super) fn to_header(&self) -> Option<HeaderValue> {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..].copy_from_slice(&self.secret);
        let mut text = [0; LEN];
        URL_SAFE_NO_PAD.encode_slice(bytes, &mut text).ok()?;
        let mut value = HeaderValue::from_bytes(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    const fn from_bytes(bytes: [u8; 32]) -> Self {
        let (mut id, mut secret) = ([0; 16], [0; 16]);
        let (first, second) = bytes.split_at(16);
        id.copy_from_slice(first);
        secret.copy_from_slice(second);
        Self { id, secret }
    }
}

/// Whether a text may be a session id at all: 1 to `max` visible characters (SES-2).
pub(super) fn is_legal(text: &[u8], max: usize) -> bool {
    // Without an early exit, which is what lets it become vector instructions.
    let is_visible = |all, byte: &u8| all & byte.is_ascii_graphic();
    (1..=max).contains(&text.len()) && text.iter().fold(true, is_visible)
}

pub(super) fn random() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Some(bytes),
        Err(error) => {
            tracing::error!(%error, "no randomness: no session can be opened");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b08_ids_are_random_and_have_one_text_each() {
        let ids: Vec<_> = (0..100).filter_map(|_| SessionId::mint()).collect();
        assert_eq!(ids.len(), 100);
        for (nth, id) in ids.iter().enumerate() {
            let text = id.to_header().expect("ASCII");
            assert!(is_legal(text.as_bytes(), SessionId::MAX_LEN));
            assert!(text.is_sensitive());
            let read = SessionId::parse(text.as_bytes()).expect("an id of ours");
            assert_eq!((read.id, read.secret), (id.id, id.secret));
            for other in &ids[..nth] {
                assert!(other.id != id.id && other.secret != id.secret);
            }
        }
    }

    #[test]
    fn other_texts_are_no_ids_of_ours() {
        let text = "A".repeat(LEN);
        assert!(SessionId::parse(text.as_bytes()).is_some());
        for other in [
            "",
            &text[1..],
            &format!("{text}A"),
            &format!("{}=", &text[1..]),
            &format!("{}+", &text[1..]),
            // The same bytes, with a bit set that no byte has.
            &format!("{}B", &text[1..]),
        ] {
            assert!(SessionId::parse(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn a26_ids_are_short_and_visible() {
        for (text, is_id) in [
            (&b"a"[..], true),
            (b"!~", true),
            (&[b'x'; 256], true),
            (b"", false),
            (&[b'x'; 257], false),
            (b"a b", false),
            (b"a\t", false),
            (b"a\0", false),
            (b"a\x7F", false),
            (b"a\x80", false),
        ] {
            assert_eq!(is_legal(text, SessionId::MAX_LEN), is_id, "{text:?}");
        }
    }
}
