use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::store::Owner;

/// How many sessions each owner has.
pub(super) struct Accounts {
    parts: Box<[Mutex<HashMap<Account, u32>>]>,
}

/// Half of an owner, who is a digest: enough to tell one from another, and with many owners half of
/// the memory.
type Account = [u8; 16];

fn account(owner: &Owner) -> Account {
    let mut half = [0; 16];
    half.copy_from_slice(&owner.as_bytes()[..16]);
    half
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
        let count = part.entry(account(&owner)).or_default();
        let is_added = (*count as usize) < max;
        if is_added {
            *count += 1;
        } else if *count == 0 {
            part.remove(&account(&owner));
        }
        is_added
    }

    /// Counts one less.
    pub(super) fn subtract(&self, owner: Owner) {
        if owner.is_anonymous() {
            return;
        }
        let mut part = self.part(&owner);
        if let Entry::Occupied(mut count) = part.entry(account(&owner)) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
                if part.is_empty() {
                    part.shrink_to_fit();
                }
            }
        }
    }

    fn part(&self, owner: &Owner) -> MutexGuard<'_, HashMap<Account, u32>> {
        // A digest: any byte of it will do.
        let part = &self.parts[usize::from(owner.as_bytes()[0]) % PARTS];
        // Nothing in here can panic half way.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
