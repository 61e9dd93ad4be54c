use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hashbrown::HashTable;

use super::{digest::Digest, key::Key};
use crate::auth::Principal;

/// Tokens that were verified, and whose they are, in a bounded number of bytes.
///
/// Only good ones: of bad ones there is no end, and they would drive those out. A verdict is kept by
/// the digest of its token, which no other has; comparing digests in constant time would hide nothing. It counts from when its token does until that expires, by the clock of the wall,
/// and as long as the key is there that the token was verified with (B38, T27).
pub(super) struct Verdicts {
    /// Parts, because a lock that two threads want costs more than all the rest.
    shards: Box<[Mutex<Shard>]>,
    shard_bytes: usize,
}

/// What was found out about a token.
pub(super) struct Verdict {
    pub(super) principal: Principal,
    pub(super) key: Arc<Key>,
    /// With leeway, in milliseconds since 1970.
    pub(super) start: i64,
    pub(super) end: i64,
}

/// On cache lines of its own, so that a lock is no other one's business.
#[derive(Default)]
#[repr(align(128))]
struct Shard {
    /// Places in `slots`.
    table: HashTable<u32>,
    slots: Vec<Slot>,
    /// Where to look next for one to give up.
    hand: usize,
    /// What the principals take.
    bytes: usize,
    hits: u64,
}

struct Slot {
    digest: Digest,
    verdict: Verdict,
    /// Whether it was of use since the hand has passed.
    is_used: bool,
}

impl Verdicts {
    const SHARDS: usize = 16;

    /// What there is in any case.
    const fn overhead() -> usize {
        size_of::<Mutex<Shard>>()
    }

    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            shards: (0..Self::SHARDS).map(|_| Mutex::default()).collect(),
            shard_bytes: (max_bytes / Self::SHARDS).saturating_sub(Self::overhead()),
        }
    }

    fn shard(&self, digest: &Digest) -> MutexGuard<'_, Shard> {
        // Another byte than those that the table goes by.
        let shard = &self.shards[usize::from(digest[15]) % Self::SHARDS];
        lock(shard)
    }

    /// Whose the token of that digest is, if that was found out and counts at that time.
    #[inline]
    pub(super) fn get(&self, digest: &Digest, now: i64) -> Option<Principal> {
        let mut shard = self.shard(digest);
        let at = shard.find(digest)?;
        let slot = &mut shard.slots[at];
        if slot.verdict.is_valid(now) {
            slot.is_used = true;
            let principal = slot.verdict.principal.clone();
            shard.hits += 1;
            return Some(principal);
        }
        let lapsed = shard.remove(at);
        drop(shard);
        drop(lapsed);
        None
    }

    /// Keeps a verdict, in the place of others if there is no room.
    pub(super) fn insert(&self, digest: &Digest, verdict: Verdict, now: i64) {
        let mut shard = self.shard(digest);
        if let Some(at) = shard.find(digest) {
            shard.remove(at);
        }
        let bytes = verdict.bytes();
        // One that would take a large part of the room is not worth it.
        if bytes > self.shard_bytes / 4 {
            return;
        }
        while shard.bytes_with(bytes) > self.shard_bytes {
            if !shard.evict(now) {
                return;
            }
        }
        shard.push(Slot {
            digest: *digest,
            verdict,
            is_used: false,
        });
    }

    /// How many there are, what they take, and how often they were of use.
    pub(super) fn stats(&self) -> (usize, usize, u64) {
        self.shards
            .iter()
            .fold((0, 0, 0), |(len, bytes, hits), shard| {
                let shard = lock(shard);
                let bytes = bytes + Self::overhead() + shard.bytes_with(0);
                (len + shard.slots.len(), bytes, hits + shard.hits)
            })
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing in there can panic half way.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Verdict {
    #[inline]
    fn is_valid(&self, now: i64) -> bool {
        (self.start..self.end).contains(&now) && self.key.is_live()
    }

    fn bytes(&self) -> usize {
        self.principal.bytes()
    }
}

impl Shard {
    fn find(&self, digest: &Digest) -> Option<usize> {
        let is_it = |at: &u32| self.slots[*at as usize].digest == *digest;
        self.table.find(hash(digest), is_it).map(|at| *at as usize)
    }

    /// What the shard takes, and would with another one of so many bytes.
    fn bytes_with(&self, more: usize) -> usize {
        let mut slots = self.slots.capacity();
        let mut table = self.table.allocation_size();
        if more > 0 {
            if self.slots.len() == slots {
                slots += growth(slots);
            }
            if self.table.len() == self.table.capacity() {
                // It doubles.
                table = 2 * table.max(32);
            }
        }
        slots * size_of::<Slot>() + table + self.bytes + more
    }

    fn push(&mut self, slot: Slot) {
        if self.slots.len() == self.slots.capacity() {
            // In smaller steps than doubling: half of it would be unused.
            self.slots.reserve_exact(growth(self.slots.capacity()));
        }
        self.bytes += slot.verdict.bytes();
        let hash = hash(&slot.digest);
        // A shard of 2³² slots would take a terabyte.
        let at = self.slots.len() as u32;
        self.slots.push(slot);
        let slots = &self.slots;
        self.table.insert_unique(hash, at, |at| rehash(slots, *at));
    }

    fn remove(&mut self, at: usize) -> Slot {
        let gone = self.slots.swap_remove(at);
        self.bytes -= gone.verdict.bytes();
        self.unlink(&gone.digest, at);
        // The last one is in its place now.
        if let Some(moved) = self.slots.get(at) {
            let was = self.slots.len() as u32;
            if let Some(place) = self.table.find_mut(hash(&moved.digest), |at| *at == was) {
                *place = at as u32;
            }
        }
        gone
    }

    fn unlink(&mut self, digest: &Digest, at: usize) {
        let is_it = |found: &u32| *found as usize == at;
        if let Ok(entry) = self.table.find_entry(hash(digest), is_it) {
            entry.remove();
        }
    }

    /// Gives up one that does not count any more, or that was of no use since the last time round.
    fn evict(&mut self, now: i64) -> bool {
        // Each is passed twice at most: the first time it may be in use.
        for _ in 0..=2 * self.slots.len() {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let Some(slot) = self.slots.get_mut(self.hand) else {
                return false;
            };
            let is_used = mem::replace(&mut slot.is_used, false);
            if !is_used || !slot.verdict.is_valid(now) {
                let at = self.hand;
                self.remove(at);
                return true;
            }
            self.hand += 1;
        }
        false
    }
}

fn growth(capacity: usize) -> usize {
    capacity / 8 + 4
}

/// A digest is as random as a hash can be.
fn hash(digest: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *digest;
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn rehash(slots: &[Slot], at: u32) -> u64 {
    hash(&slots[at as usize].digest)
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, bytes, _) = self.stats();
        f.debug_struct("Verdicts")
            .field("len", &len)
            .field("bytes", &bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
