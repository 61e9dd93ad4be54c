use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, atomic::Ordering::Relaxed},
};

use hashbrown::HashTable;

use super::{
    account::{Account, Balance, ByOwner},
    log::Log,
    slots::{List, Of, Slots},
};
use crate::{sse::StreamKey, store::Owner};

/// Which streams there are, whose they are, and which of them go first.
#[derive(Debug)]
pub(super) struct Registry {
    /// Where each is among the slots.
    streams: HashTable<u32>,
    hasher: RandomState,
    owners: HashMap<ByOwner, Lists>,
    lists: Lists,
    slots: Slots,
    /// Whether a task forgets what has expired.
    pub(super) is_swept: bool,
}

/// One list per [`Group`].
type Lists = [List; 3];

/// What a stream has to give when memory is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// It is live and holds no events: nothing.
    Bare,
    /// It is live: its events. Those that were not written to for a while come first.
    Live,
    /// It has ended: all of it. In the order of their ends, which is that of their deadlines.
    Ended,
}

const GROUPS: [Group; 3] = [Group::Bare, Group::Live, Group::Ended];

/// Whose streams may be evicted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope {
    Owner(Owner),
    Store,
}

/// How much it matters that something is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Not so much that a stream should go that was written to since the last time.
    Calm,
    /// So much that any may go.
    Urgent,
}

/// A stream that is to be evicted, once the registry is unlocked.
pub(super) enum Victim {
    /// It is no longer in the registry.
    Whole(Arc<Log>),
    /// It loses its events.
    Events(Arc<Log>),
}

impl Registry {
    /// What a stream costs here, and an owner who has only one.
    pub(super) const COST: usize = Slots::COST
        + 2 * (size_of::<u32>() + size_of::<(ByOwner, Lists)>() + 2)
        + size_of::<Account>()
        + 2 * size_of::<usize>();

    pub(super) fn new() -> Self {
        Self {
            streams: HashTable::new(),
            hasher: RandomState::new(),
            owners: HashMap::new(),
            lists: [List::EMPTY; 3],
            slots: Slots::default(),
            is_swept: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn find(&self, key: StreamKey) -> Option<&Arc<Log>> {
        self.slots.log(self.at(key)?)
    }

    fn at(&self, key: StreamKey) -> Option<u32> {
        let is_it = |at: &u32| self.slots.key(*at) == Some(key);
        self.streams.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// Adds a stream, unless there is one of that key.
    pub(super) fn insert(
        &mut self,
        key: StreamKey,
        owner: Owner,
        about: &[u8],
    ) -> Option<Arc<Log>> {
        if self.at(key).is_some() {
            return None;
        }
        let account = match self.owners.get_key_value(&owner) {
            Some((ByOwner(account), _)) => Arc::clone(account),
            None => Arc::new(Account {
                owner,
                balance: Balance::default(),
            }),
        };
        let log = Arc::new(Log::new(key, Arc::clone(&account), about));
        let at = self.slots.insert(Arc::clone(&log))?;
        let hash = |at: &u32| hash_at(&self.slots, &self.hasher, *at);
        self.streams.insert_unique(hash(&at), at, hash);
        let lists = self
            .owners
            .entry(ByOwner(account))
            .or_insert([List::EMPTY; 3]);
        let group = Group::Bare as usize;
        self.slots.push_back(Of::Store, &mut self.lists[group], at);
        self.slots.push_back(Of::Owner, &mut lists[group], at);
        Some(log)
    }

    /// Moves a stream to the end of a group. False if it is not there any more.
    pub(super) fn regroup(&mut self, log: &Arc<Log>, group: Group) -> bool {
        match self.place(log) {
            Some(at) => {
                self.put(at, log, group);
                true
            }
            None => false,
        }
    }

    /// Takes a stream out. False if it is not there any more.
    pub(super) fn remove(&mut self, log: &Arc<Log>) -> bool {
        let Some(at) = self.place(log) else {
            return false;
        };
        self.unlink(at, log);
        if let Ok(entry) = (self.streams).find_entry(self.hasher.hash_one(log.key), |it| *it == at)
        {
            entry.remove();
        }
        self.slots.remove(at);
        let is_last = self.owners.get(&log.account.owner);
        if is_last.is_some_and(|lists| lists.iter().all(|list| list.first().is_none())) {
            self.owners.remove(&log.account.owner);
            shrink(&mut self.owners);
        }
        if self.streams.len() < self.streams.capacity() / 4 {
            let hash = |at: &u32| hash_at(&self.slots, &self.hasher, *at);
            self.streams.shrink_to(2 * self.streams.len(), hash);
        }
        true
    }

    /// Takes all streams of an owner out.
    pub(super) fn remove_all(&mut self, owner: Owner) -> Vec<Arc<Log>> {
        let mut removed = Vec::new();
        for group in GROUPS {
            while let Some(log) = self.first(Scope::Owner(owner), group) {
                self.remove(&log);
                removed.push(log);
            }
        }
        removed
    }

    /// Takes a stream out whose deadline has come.
    pub(super) fn remove_expired(&mut self, now: u64) -> Option<Arc<Log>> {
        let log = self.first(Scope::Store, Group::Ended)?;
        (log.deadline.load(Relaxed) <= now).then(|| {
            self.remove(&log);
            log
        })
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<u64> {
        let log = self.first(Scope::Store, Group::Ended)?;
        Some(log.deadline.load(Relaxed))
    }

    /// Chooses what to evict: the oldest stream that has ended; without one the events of a live one
    /// but `spared`, by second chance.
    pub(super) fn evict(&mut self, scope: Scope, spared: &Arc<Log>, need: Need) -> Option<Victim> {
        if let Some(log) = self.first(scope, Group::Ended) {
            self.remove(&log);
            return Some(Victim::Whole(log));
        }
        // Those that are passed go to the end of the list, so that all have been passed once the first
        // of them comes again.
        let mut first_passed: Option<Arc<Log>> = None;
        let mut is_second_round = false;
        loop {
            let log = self.first(scope, Group::Live)?;
            is_second_round |= first_passed
                .as_ref()
                .is_some_and(|first| Arc::ptr_eq(first, &log));
            if is_second_round && need == Need::Calm {
                return None;
            }
            let is_spared = Arc::ptr_eq(&log, spared);
            let is_touched = log.is_touched.swap(false, Relaxed) && !is_second_round;
            if !is_spared && !is_touched {
                self.regroup(&log, Group::Bare);
                return Some(Victim::Events(log));
            }
            self.regroup(&log, Group::Live);
            if is_spared && is_second_round && self.is_first(scope, &log) {
                // It is alone.
                return None;
            }
            first_passed.get_or_insert(log);
        }
    }

    fn is_first(&self, scope: Scope, log: &Arc<Log>) -> bool {
        self.first(scope, Group::Live)
            .is_some_and(|first| Arc::ptr_eq(&first, log))
    }

    fn first(&self, scope: Scope, group: Group) -> Option<Arc<Log>> {
        let lists = match &scope {
            Scope::Store => &self.lists,
            Scope::Owner(owner) => self.owners.get(owner)?,
        };
        let at = lists[group as usize].first()?;
        self.slots.log(at).map(Arc::clone)
    }

    /// Where exactly that stream is, and not a later one of its key.
    fn place(&self, log: &Arc<Log>) -> Option<u32> {
        let at = self.at(log.key)?;
        Arc::ptr_eq(self.slots.log(at)?, log).then_some(at)
    }

    fn put(&mut self, at: u32, log: &Log, group: Group) {
        self.unlink(at, log);
        log.group.store(group as u8, Relaxed);
        let group = group as usize;
        self.slots.push_back(Of::Store, &mut self.lists[group], at);
        if let Some(lists) = self.owners.get_mut(&log.account.owner) {
            self.slots.push_back(Of::Owner, &mut lists[group], at);
        }
    }

    fn unlink(&mut self, at: u32, log: &Log) {
        let group = log.group.load(Relaxed) as usize;
        self.slots.unlink(Of::Store, &mut self.lists[group], at);
        if let Some(lists) = self.owners.get_mut(&log.account.owner) {
            self.slots.unlink(Of::Owner, &mut lists[group], at);
        }
    }
}

fn hash_at(slots: &Slots, hasher: &RandomState, at: u32) -> u64 {
    // Every slot that the table names holds a stream.
    slots.key(at).map_or(0, |key| hasher.hash_one(key))
}

/// Gives memory back once most of it is unused.
fn shrink<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.len() < map.capacity() / 4 {
        map.shrink_to(2 * map.len());
    }
}
