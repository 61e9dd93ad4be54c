use std::mem;

use bytes::{Bytes, BytesMut};

/// Joins small frames, so that one write carries many events.
///
/// hyper's client hands over one chunk at a time, through a slot that its connection task refills
/// only when it runs again. A body that answers each chunk with a frame therefore costs its
/// server one write per event. `Merge` holds a frame back while the body lets the other tasks run
/// a bounded number of times, never for a length of time; what came alone leaves uncopied.
#[derive(Debug, Default)]
pub(super) struct Merge {
    first: Bytes,
    joined: BytesMut,
    yields: u8,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Push {
    /// It is held, and may be joined by another.
    Held,
    /// Enough is together: these bytes leave now.
    Full(Bytes),
}

impl Merge {
    /// The longest frame that is put together.
    pub(super) const MAX_BYTES: usize = 32 * 1024;

    /// A frame of this length is worth a write of its own.
    const LARGE: usize = 8 * 1024;

    /// How often in a row the other tasks are let run without a new frame having come.
    const MAX_YIELDS: u8 = 2;

    pub(super) fn push(&mut self, data: Bytes) -> Push {
        self.yields = 0;
        if self.is_empty() {
            if data.len() >= Self::LARGE {
                return Push::Full(data);
            }
            self.first = data;
            return Push::Held;
        }
        if self.len() + data.len() > Self::MAX_BYTES {
            let full = self.take();
            self.first = data;
            return Push::Full(full);
        }
        if !self.first.is_empty() {
            let first = mem::take(&mut self.first);
            self.joined.reserve(4 * (first.len() + data.len()));
            self.joined.extend_from_slice(&first);
        }
        self.joined.extend_from_slice(&data);
        Push::Held
    }

    /// Whether the other tasks should run once more before what is held leaves.
    pub(super) fn should_yield(&mut self) -> bool {
        let should = self.yields < Self::MAX_YIELDS;
        self.yields += u8::from(should);
        should
    }

    /// All that is held.
    pub(super) fn take(&mut self) -> Bytes {
        self.yields = 0;
        if self.joined.is_empty() {
            mem::take(&mut self.first)
        } else {
            // Not `split`: a shared buffer would grow with the stream.
            mem::take(&mut self.joined).freeze()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.joined.is_empty()
    }
}
