use std::{
    fmt,
    hash::{Hash, Hasher},
};

/// Where a session is found: the part of its id that locates it, in a realm.
///
/// It opens nothing by itself: who loads a session has to be its owner, and to know the other part of
/// the id. The id has to be random for everybody else, or a digest. Sessions of different realms have
/// nothing to do with one another (B16).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    realm: u64,
    id: [u8; 16],
}

impl SessionKey {
    /// The key made of a realm and 128 bits.
    #[must_use]
    pub const fn new(realm: u64, id: [u8; 16]) -> Self {
        Self { realm, id }
    }

    /// The realm.
    #[must_use]
    pub const fn realm(&self) -> u64 {
        self.realm
    }

    /// What tells it from the others of its realm.
    #[must_use]
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// Two numbers as random as the id, which have nothing to do with each other.
    #[inline]
    pub(super) fn halves(&self) -> [u64; 2] {
        let id = u128::from_le_bytes(self.id);
        [id as u64 ^ self.realm, (id >> 64) as u64]
    }
}

/// By what is random in it, at once.
impl Hash for SessionKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.halves()[0]);
    }
}

// What an id begins with is part of a secret.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").finish_non_exhaustive()
    }
}
