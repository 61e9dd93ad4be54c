use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::store::Owner;

/// How many sessions each owner has.
pub(super) struct Accounts {
    parts: Box<[Mutex<HashMap<Owner, u32>>]>,
}

/// A power of two.
const PARTS: usize = 16;

impl Accounts {
    pub(super) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Counts one more, if that is no more than `max`.
    pub(super) fn add(&self, owner: Owner, max: usize) -> bool {
        if owner.is_anonymous() {
            return true;
        }
        let mut part = self.part(&owner);
        let count = part.entry(owner).or_default();
        let is_added = (*count as usize) < max;
        if is_added {
            *count += 1;
        } else if *count == 0 {
            part.remove(&owner);
        }
        is_added
    }

    /// Counts one less.
    pub(super) fn subtract(&self, owner: Owner) {
        if owner.is_anonymous() {
            return;
        }
        let mut part = self.part(&owner);
        if let Entry::Occupied(mut count) = part.entry(owner) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                if part.is_empty() {
                    part.shrink_to_fit();
                }
            }
        }
    }

    fn part(&self, owner: &Owner) -> MutexGuard<'_, HashMap<Owner, u32>> {
        // A digest: any byte of it will do.
        let part = &self.parts[usize::from(owner.as_bytes()[0]) % PARTS];
        // Nothing in here can panic half way.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
