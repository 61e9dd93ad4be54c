use std::sync::Arc;

use super::log::Log;
use crate::sse::StreamKey;

/// All streams, and the lists that they are in.
///
/// Each stream is in one list of the store and in one of its owner. The lists are threaded through
/// the slots, so that a stream changes lists at once and leaves nothing behind.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    log: Option<Arc<Log>>,
    links: [Link; 2],
}

#[derive(Clone, Copy, Debug)]
struct Link {
    previous: u32,
    next: u32,
}

/// Which of its two lists of a stream is meant.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    Store,
    Owner,
}

/// Some of the streams, in order.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

const NONE: u32 = u32::MAX;

impl Slots {
    /// What each stream costs here.
    pub(super) const COST: usize = size_of::<Slot>();

    /// A place for a stream, in no list yet. `None` if there are 2³² − 1 already.
    pub(super) fn insert(&mut self, log: Arc<Log>) -> Option<u32> {
        let slot = Slot {
            log: Some(log),
            links: [Link {
                previous: NONE,
                next: NONE,
            }; 2],
        };
        if let Some(at) = self.free.pop() {
            self.slots[at as usize] = slot;
            return Some(at);
        }
        let at = u32::try_from(self.slots.len())
            .ok()
            .filter(|at| *at != NONE)?;
        if self.slots.len() == self.slots.capacity() {
            // In smaller steps than doubling: with many streams, half of it would be unused.
            self.slots.reserve_exact(self.slots.len() / 8 + 4);
        }
        self.slots.push(slot);
        Some(at)
    }

    /// Gives the place back; the stream has to be in no list any more.
    pub(super) fn remove(&mut self, at: u32) -> Option<Arc<Log>> {
        let log = self.slots[at as usize].log.take();
        self.free.push(at);
        if self.free.len() == self.slots.len() {
            *self = Self::default();
        }
        log
    }

    pub(super) fn key(&self, at: u32) -> Option<StreamKey> {
        self.log(at).map(|log| log.key)
    }

    pub(super) fn log(&self, at: u32) -> Option<&Arc<Log>> {
        self.slots[at as usize].log.as_ref()
    }

    pub(super) fn push_back(&mut self, of: Of, list: &mut List, at: u32) {
        *self.link(of, at) = Link {
            previous: list.last,
            next: NONE,
        };
        match list.last {
            NONE => list.first = at,
            last => self.link(of, last).next = at,
        }
        list.last = at;
    }

    pub(super) fn unlink(&mut self, of: Of, list: &mut List, at: u32) {
        let Link { previous, next } = *self.link(of, at);
        match previous {
            NONE => list.first = next,
            previous => self.link(of, previous).next = next,
        }
        match next {
            NONE => list.last = previous,
            next => self.link(of, next).previous = previous,
        }
    }

    fn link(&mut self, of: Of, at: u32) -> &mut Link {
        &mut self.slots[at as usize].links[of as usize]
    }
}

impl List {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
    };

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }
}
