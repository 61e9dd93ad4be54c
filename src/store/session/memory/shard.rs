use std::{
    borrow::Borrow,
    collections::{HashSet, VecDeque},
    hash::{BuildHasherDefault, Hash, Hasher},
};

use super::super::{SessionKey, SessionRecord};

/// Keys of those that have ended.
#[derive(Default)]
struct Tombstones {
    all: HashSet<SessionKey, BuildHasherDefault<Random>>,
    /// Oldest first.
    in_order: VecDeque<SessionKey>,
}

impl Tombstones {
    fn add(&mut self, key: SessionKey, max: usize) {
        if max == 0 {
            return;
        }
        if self.in_order.len() >= max
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.all.remove(&oldest);
        }
        // Nobody has had it before.
        self.all.insert(key);
        self.in_order.push_back(key);
    }
}

/// One part of the sessions: those whose keys begin alike.
#[derive(Default)]
pub(super) struct Shard {
    by_key: HashSet<ByKey, BuildHasherDefault<Random>>,
    /// The same ones at places that do not move, for whoever goes through them in steps.
    places: Vec<Option<SessionRecord>>,
    free: Vec<u32>,
    tombstones: Tombstones,
}

impl Shard {
    #[inline]
    pub(super) fn get(&self, key: &SessionKey) -> Option<&SessionRecord> {
        self.by_key.get(key).map(|found| &found.0)
    }

    /// Whether a session of that key is there, or was.
    pub(super) fn knows(&self, key: &SessionKey) -> bool {
        self.by_key.contains(key) || self.tombstones.all.contains(key)
    }

    pub(super) fn insert(&mut self, session: &SessionRecord) {
        let place = self.free.pop().unwrap_or_else(|| {
            if self.places.len() == self.places.capacity() {
                // In smaller steps than doubling: with many sessions, half of it would be unused.
                self.places.reserve_exact(self.places.len() / 8 + 4);
            }
            self.places.push(None);
            // A store of 2³² sessions would take a terabyte.
            (self.places.len() - 1) as u32
        });
        session.set_place(place);
        self.places[place as usize] = Some(session.clone());
        self.by_key.insert(ByKey(session.clone()));
    }

    /// Takes the session of that key out, and keeps one of `max` keys.
    pub(super) fn remove(&mut self, key: &SessionKey, max: usize) -> Option<SessionRecord> {
        let ByKey(session) = self.by_key.take(key)?;
        let place = session.place();
        self.places[place as usize] = None;
        self.free.push(place);
        if self.free.len() == self.places.len() {
            (self.places, self.free) = (Vec::new(), Vec::new());
            self.by_key.shrink_to_fit();
        }
        self.tombstones.add(*key, max);
        Some(session)
    }

    /// The places from `from` on, up to `count` of them, some of which are free; `None` after the
    /// last.
    pub(super) fn look(&self, from: usize, count: usize) -> Option<&[Option<SessionRecord>]> {
        let rest = self.places.get(from..).filter(|rest| !rest.is_empty())?;
        Some(&rest[..count.min(rest.len())])
    }

    pub(super) fn tombstones(&self) -> usize {
        self.tombstones.in_order.len()
    }
}

/// A session that is found by its key, so that a set need not have a second copy of it.
struct ByKey(SessionRecord);

const NOWHERE: SessionKey = SessionKey::new(0, [0; 16]);

impl Borrow<SessionKey> for ByKey {
    #[inline]
    fn borrow(&self) -> &SessionKey {
        // Whatever is in the set has a name.
        self.0.key_ref().unwrap_or(&NOWHERE)
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Borrow::<SessionKey>::borrow(self).hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        Borrow::<SessionKey>::borrow(self) == Borrow::<SessionKey>::borrow(other)
    }
}

impl Eq for ByKey {}

/// Takes of a key what is random already: the keys that are in the set are, and others are not added.
#[derive(Default)]
struct Random(u64);

impl Hasher for Random {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}
