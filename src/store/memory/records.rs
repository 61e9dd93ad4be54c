use std::collections::VecDeque;

use super::limits::Limits;
use crate::store::{Page, StoreError};

/// How long an event may be, and how many bytes are kept of one stream: offsets have 32 bits.
pub(super) const MAX_LEN: usize = u32::MAX as usize;

const INDEX_ENTRY: usize = size_of::<u32>();

/// By what rings grow.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// What is not used of them is no more than what is.
    Twofold,
    /// With the second event sixteenfold: a stream that has had two mostly has more, and memory is
    /// there.
    Plenty,
}

/// How many events of a stream there is room for at once if memory is there.
const LEAP: usize = 16;

/// A first event that is longer makes no leap.
const SHORT: usize = 1024;

/// The events of one stream that are kept: their bytes back to back, and where each of them ends.
///
/// Both are rings. Once they have grown, an event is added and another forgotten without an
/// allocation.
#[derive(Debug)]
pub(super) struct Records {
    bytes: VecDeque<u8>,
    /// Where each event ends, in bytes since the stream began, modulo 2³²: differences are exact.
    ends: VecDeque<u32>,
    /// Where the first event that is kept begins.
    start: u32,
    /// The number of that event.
    floor: u64,
}

impl Records {
    pub(super) const fn new() -> Self {
        Self {
            bytes: VecDeque::new(),
            ends: VecDeque::new(),
            start: 0,
            floor: 1,
        }
    }

    /// The number of the last event, whether it is kept or not.
    pub(super) fn tail(&self) -> u64 {
        self.floor - 1 + self.ends.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The memory that is held, used or not.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * INDEX_ENTRY
    }

    /// How much more memory an event of that length needs so that nothing is forgotten that may be
    /// kept; and how much it would best have.
    pub(super) fn growth(&self, len: usize, limits: &Limits, step: Step) -> (usize, usize) {
        let (least, best) = self.byte_growth(len, limits, step);
        let index = self.index_growth(limits, step) * INDEX_ENTRY;
        (least + index, best + index)
    }

    /// Adds an event, and forgets as many as there is no more room for. Returns how many.
    ///
    /// The rings grow by `credit` at most, but an event alone always has room.
    pub(super) fn push(
        &mut self,
        event: &[u8],
        mut credit: usize,
        limits: &Limits,
        step: Step,
    ) -> usize {
        let kept = self.ends.len();
        let (least, best) = self.byte_growth(event.len(), limits, step);
        let entries = self.index_growth(limits, step).min(credit / INDEX_ENTRY);
        if entries > 0 {
            // It grows only when it is full.
            self.ends.reserve_exact(entries);
            credit -= entries * INDEX_ENTRY;
        }
        // Less than what is needed would cost a copy of all, and again for the next event.
        let more = if credit >= least { best.min(credit) } else { 0 };
        let mut capacity = self.bytes.capacity() + more;

        let most = capacity.min(limits.max_bytes.max(event.len()));
        let is_index_full = |ends: &VecDeque<u32>| {
            ends.len() == ends.capacity() || ends.len() >= limits.max_events.get()
        };
        while !self.ends.is_empty()
            && (is_index_full(&self.ends) || self.bytes.len() + event.len() > most)
        {
            self.pop();
        }
        let forgotten = kept - self.ends.len();

        if self.bytes.capacity() > limits.max_bytes && self.bytes.is_empty() {
            // It was made for one large event.
            self.bytes = VecDeque::new();
            capacity = 0;
        }
        let needed = self.bytes.len() + event.len();
        if needed > self.bytes.capacity() {
            let capacity = needed.max(capacity);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        if self.ends.capacity() == 0 {
            self.ends.reserve_exact(1);
        }
        self.bytes.extend(event);
        let end = self.start.wrapping_add(self.bytes.len() as u32);
        self.ends.push_back(end);
        forgotten
    }

    /// Gives back what is not used, if it is more than what is. Returns how much that was.
    pub(super) fn shrink(&mut self) -> usize {
        let before = self.held();
        if self.bytes.capacity() > 2 * self.bytes.len() {
            self.bytes.shrink_to_fit();
            self.ends.shrink_to_fit();
        }
        before - self.held()
    }

    /// Forgets all events, but not how many there were. Returns how many were kept.
    pub(super) fn clear(&mut self) -> usize {
        let forgotten = self.ends.len();
        let tail = self.tail();
        *self = Self {
            floor: tail + 1,
            ..Self::new()
        };
        forgotten
    }

    /// The events that follow `after`, up to `limit` bytes, but at least one.
    pub(super) fn page(&self, after: u64, limit: usize) -> Result<Page, StoreError> {
        let tail = self.tail();
        let mut page = Page::new(self.floor, tail);
        if after >= tail {
            return Ok(page);
        }
        let first = (after + 1).max(self.floor);
        if first > tail {
            return Ok(page);
        }
        // It is less than the number of events that are kept.
        let from = (first - self.floor) as usize;
        let begin = self.offset(from);
        let (mut to, mut past) = (from + 1, self.ends.len() + 1);
        while past - to > 1 {
            let middle = to + (past - to) / 2;
            if self.offset(middle) - begin <= limit {
                to = middle;
            } else {
                past = middle;
            }
        }
        let end = self.offset(to);
        let (front, back) = self.bytes.as_slices();
        let split = front.len();
        let count = (to - from) as u64;
        page.push_all(first, count, &front[begin.min(split)..end.min(split)])?;
        if end > split {
            // The ring's end may be in the middle of an event.
            page.push_all(
                first + count,
                0,
                &back[begin.max(split) - split..end - split],
            )?;
        }
        Ok(page)
    }

    /// Where the event at `index` begins in the ring.
    fn offset(&self, index: usize) -> usize {
        match index.checked_sub(1) {
            Some(before) => self.ends[before].wrapping_sub(self.start) as usize,
            None => 0,
        }
    }

    fn pop(&mut self) {
        if let Some(end) = self.ends.pop_front() {
            let len = end.wrapping_sub(self.start) as usize;
            self.bytes.drain(..len);
            self.start = end;
            self.floor += 1;
        }
    }

    /// How much the bytes have to grow for an event of that length, and how much they should, so that
    /// the cost of growing stays small.
    fn byte_growth(&self, len: usize, limits: &Limits, step: Step) -> (usize, usize) {
        let leaving = if self.ends.len() >= limits.max_events.get() {
            self.offset(1)
        } else {
            0
        };
        let capacity = self.bytes.capacity();
        let needed = (self.bytes.len() - leaving + len)
            .min(limits.max_bytes)
            .max(len);
        if needed <= capacity {
            return (0, 0);
        }
        let more = match step {
            Step::Plenty if self.ends.len() == 1 && capacity <= SHORT => {
                LEAP.min(limits.max_events.get()) * capacity
            }
            Step::Twofold | Step::Plenty => 2 * capacity,
        };
        let best = needed.max(more.min(limits.max_bytes));
        (needed - capacity, best - capacity)
    }

    /// By how many entries the index should grow for one more event.
    fn index_growth(&self, limits: &Limits, step: Step) -> usize {
        let capacity = self.ends.capacity();
        if self.ends.len() < capacity || capacity >= limits.max_events.get() {
            return 0;
        }
        let best = match step {
            Step::Plenty if capacity == 1 => LEAP,
            Step::Twofold | Step::Plenty => 2 * capacity,
        };
        best.clamp(1, limits.max_events.get()) - capacity
    }
}
