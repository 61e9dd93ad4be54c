use std::{
    collections::hash_map::RandomState, fmt, hash::BuildHasher, num::NonZeroU64, ops::Deref,
    sync::LazyLock,
};

use crate::{
    jsonrpc::{Envelope, Kind, Peek},
    store::SessionLease,
};

/// A request under way in a session: until it is dropped, the session does not expire, and no other
/// request of it has the same id (SE-7, A51).
pub(super) struct Flight {
    lease: SessionLease,
    ids: Ids,
}

/// The ids of the requests in a message.
pub(super) enum Ids {
    /// It has none: it is no request in the sense of JSON-RPC.
    None,
    One([NonZeroU64; 1]),
    /// Those of a batch.
    Many(Box<[NonZeroU64]>),
}

/// Another request of the session has the id.
#[derive(Debug)]
pub(super) struct Repeated;

impl Flight {
    /// Claims the ids of a message for as long as its response is under way.
    pub(super) fn start(lease: SessionLease, ids: Ids) -> Result<Self, Repeated> {
        if !ids.as_slice().is_empty() && !lease.claim_ids(ids.as_slice()) {
            return Err(Repeated);
        }
        Ok(Self { lease, ids })
    }

    /// The `initialize` of a session that nobody else knows of yet.
    pub(super) fn first(lease: SessionLease, ids: Ids) -> Self {
        // Only in a batch could two be the same, and that opens no session.
        let is_claimed = lease.claim_ids(ids.as_slice());
        let ids = if is_claimed { ids } else { Ids::None };
        Self { lease, ids }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let Self { lease, ids } = self;
        if !ids.as_slice().is_empty() {
            lease.release_ids(ids.as_slice());
        }
    }
}

impl Deref for Flight {
    type Target = SessionLease;

    fn deref(&self) -> &SessionLease {
        &self.lease
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("ids", &self.ids.as_slice().len())
            .finish_non_exhaustive()
    }
}

impl Ids {
    pub(super) fn of(peek: &Peek<'_>) -> Self {
        match peek.single() {
            Some(one) => digest(&one).map_or(Self::None, |id| Self::One([id])),
            None => Self::Many(peek.envelopes().filter_map(|one| digest(&one)).collect()),
        }
    }

    fn as_slice(&self) -> &[NonZeroU64] {
        match self {
            Self::None => &[],
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

/// What stands for the id of a request in the eight bytes that a session has room for: a short one
/// itself, and of a long one a digest. Its key is random, so nobody finds two ids with one digest, and
/// who met them by chance would only have to ask again.
fn digest(envelope: &Envelope<'_>) -> Option<NonZeroU64> {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    const LONG: u64 = 0xFF;
    if envelope.kind() != Kind::Request {
        return None;
    }
    let raw = envelope.id_raw()?.as_bytes();
    // However a string is escaped, it is the same id.
    let content = Envelope::bytes(raw);
    let (bytes, is_string) = match &content {
        Some(content) => (&**content, true),
        None => (raw, false),
    };
    let digest = if bytes.len() < 8 {
        let mut short = [0; 8];
        short[0] = bytes.len() as u8 | u8::from(is_string) << 3;
        short[1..=bytes.len()].copy_from_slice(bytes);
        u64::from_le_bytes(short)
    } else {
        KEY.hash_one((is_string, bytes)) | LONG
    };
    NonZeroU64::new(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jsonrpc::peek;

    fn ids(id: &str) -> Option<NonZeroU64> {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let peek = peek(body.as_bytes()).expect("JSON");
        match Ids::of(&peek) {
            Ids::One([id]) => Some(id),
            _ => None,
        }
    }

    #[test]
    fn se7_each_id_has_a_digest_of_its_own_however_it_is_written() {
        let all = [
            "0",
            "-0",
            "1",
            "12",
            "1234567",
            "12345678",
            "123456789",
            r#""""#,
            r#""1""#,
            r#""a""#,
            r#""a\u0000""#,
            r#""1234567""#,
            r#""12345678""#,
            r#""123456789""#,
        ];
        for (nth, id) in all.iter().enumerate() {
            let digest = ids(id);
            assert!(digest.is_some(), "{id}");
            assert!(all[..nth].iter().all(|one| ids(one) != digest), "{id}");
            assert_eq!(ids(id), digest, "{id}");
        }
        for (one, other) in [
            (r#""a""#, r#""\u0061""#),
            (r#""123456789""#, r#""12345678\u0039""#),
        ] {
            assert_eq!(ids(one), ids(other), "{one}");
        }
        for none in ["null", "1.5", "[]"] {
            assert_eq!(ids(none), None, "{none}");
        }
    }
}
