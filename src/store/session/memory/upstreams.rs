use std::{
    collections::{HashSet, hash_map::RandomState},
    hash::{BuildHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::super::SessionRecord;

/// The sessions by what their servers call them, so that no two are one to a server (B11).
pub(super) struct Upstreams {
    parts: Box<[Mutex<HashSet<ByUpstream, RandomState>>]>,
    /// Of all parts: servers choose what is hashed.
    hasher: RandomState,
}

/// A power of two.
const PARTS: usize = 16;

impl Upstreams {
    pub(super) fn new() -> Self {
        let hasher = RandomState::new();
        let part = || Mutex::new(HashSet::with_hasher(hasher.clone()));
        Self {
            parts: (0..PARTS).map(|_| part()).collect(),
            hasher,
        }
    }

    /// False if there is another session that its server calls the same.
    pub(super) fn insert(&self, session: &SessionRecord) -> bool {
        let session = ByUpstream(session.clone());
        self.part(&session).insert(session)
    }

    /// Forgets that one, and no other that is called the same.
    pub(super) fn remove(&self, session: &SessionRecord) {
        let session = ByUpstream(session.clone());
        let mut part = self.part(&session);
        if part
            .get(&session)
            .is_some_and(|found| found.0.is_same(&session.0))
        {
            part.remove(&session);
        }
        if part.is_empty() {
            part.shrink_to_fit();
        }
    }

    fn part(&self, session: &ByUpstream) -> MutexGuard<'_, HashSet<ByUpstream>> {
        // The sets go by the lower bits, and by the very highest.
        let hash = self.hasher.hash_one(session) >> 40;
        let part = &self.parts[hash as usize % PARTS];
        // Nothing in here can panic half way.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ByUpstream(SessionRecord);

impl ByUpstream {
    fn name(&self) -> Option<(u64, &[u8])> {
        let realm = self.0.key_ref()?.realm();
        Some((realm, self.0.upstream()?.as_bytes()))
    }
}

impl Hash for ByUpstream {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl PartialEq for ByUpstream {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for ByUpstream {}
