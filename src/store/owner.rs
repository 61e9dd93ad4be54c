use std::{
    fmt,
    hash::{Hash, Hasher},
};

use sha2::{Digest, Sha256};

/// Whose a stream is: the one who may resume it.
///
/// A digest of who that is, so that no store, log or listing ever holds a session id or the name of
/// a principal. What goes in is delimited by length: `a:b` with session `c` and `a` with session
/// `b:c` are two owners (`B15`).
///
/// Found in a request's extensions, it decides who owns the streams of that request; whoever
/// authenticates may put it there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner([u8; 32]);

impl Owner {
    /// Nobody in particular: whoever has the id of an event may resume its stream.
    pub const ANONYMOUS: Self = Self([0; 32]);

    /// The owner that a principal, a session, or both together stand for.
    ///
    /// Without either it is [`ANONYMOUS`](Self::ANONYMOUS).
    #[must_use]
    pub fn new(principal: Option<&[u8]>, session: Option<&[u8]>) -> Self {
        if principal.is_none() && session.is_none() {
            return Self::ANONYMOUS;
        }
        Self::of_parts([principal, session])
    }

    /// The owner that several parts stand for together, each of them delimited by length, and told
    /// from one that is not there.
    ///
    /// It is [`ANONYMOUS`](Self::ANONYMOUS) for no parts at all. Two parts are what [`new`](Self::new)
    /// takes for a principal and a session.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = Option<&'a [u8]>>) -> Self {
        let mut parts = parts.into_iter().peekable();
        if parts.peek().is_none() {
            return Self::ANONYMOUS;
        }
        let mut digest = Sha256::new();
        for part in parts {
            match part {
                None => digest.update([0]),
                Some(part) => {
                    digest.update([1]);
                    digest.update((part.len() as u64).to_be_bytes());
                    digest.update(part);
                }
            }
        }
        Self(digest.finalize().into())
    }

    /// The owner that was stored as these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether it is nobody in particular.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        *self == Self::ANONYMOUS
    }
}

/// Half of a digest tells as much as all of it, and every request is looked up by one.
impl Hash for Owner {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (half, _) = self.0.split_at(16);
        state.write(half);
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_anonymous() {
            return f.write_str("Owner(anonymous)");
        }
        let [a, b, c, d, ..] = self.0;
        write!(f, "Owner({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b15_parts_are_delimited() {
        let owners = [
            Owner::ANONYMOUS,
            Owner::new(Some(b"a:b"), Some(b"c")),
            Owner::new(Some(b"a"), Some(b"b:c")),
            Owner::new(Some(b"a"), None),
            Owner::new(None, Some(b"a")),
            Owner::new(Some(b"a"), Some(b"")),
            Owner::new(Some(b""), Some(b"a")),
            Owner::new(None, Some(b"")),
            Owner::of_parts([Some(&b"a"[..])]),
            Owner::of_parts([Some(&b"a"[..]), None, None]),
            Owner::of_parts([Some(&b"a"[..]), Some(b"b"), Some(b"c")]),
            Owner::of_parts([None]),
        ];
        assert_eq!(owners[3], Owner::of_parts([Some(&b"a"[..]), None]));
        assert!(Owner::of_parts([]).is_anonymous());
        for (nth, owner) in owners.iter().enumerate() {
            assert!(!owners[..nth].contains(owner), "{nth}");
        }
    }

    #[test]
    fn b25_debug_says_nothing_about_who_it_is() {
        let owner = Owner::new(None, Some(b"secret"));
        assert!(!format!("{owner:?}").contains("secret"));
        assert_eq!(format!("{:?}", Owner::ANONYMOUS), "Owner(anonymous)");
    }
}
