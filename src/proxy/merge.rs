use bytes::Bytes;

/// Joins small frames, so that one write carries many events.
///
/// A connection hands over one chunk of its body at a time, and a server writes each frame on its
/// own. So a frame is held for as long as the next one is there already: its owner pushes until
/// its source has nothing more, and then takes what is held.
#[derive(Debug)]
pub(super) struct Merge {
    held: Held,
}

/// Every open stream has the place for this, and holds nothing nearly all of the time.
#[derive(Debug)]
enum Held {
    /// One frame; an empty one is none.
    One(Bytes),
    Joined(Box<Joined>),
}

#[derive(Debug)]
struct Joined {
    bytes: Vec<u8>,
    /// How many frames they were.
    frames: u8,
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
    /// The longest frame that is put together. Above it, nothing more is saved.
    pub(super) const MAX_BYTES: usize = 32 * 1024;

    /// The most frames that are joined, so that a stream of tiny ones lets others run.
    pub(super) const MAX_FRAMES: u8 = 128;

    /// A frame of this length is worth a write of its own.
    const LARGE: usize = 8 * 1024;

    /// The first copy of frames that are joined. Two or three events keep no more than this; for
    /// more, a whole frame is reserved at once, because growing step by step copies it all again.
    const FIRST_COPY: usize = 4 * 1024;

    pub(super) const fn new() -> Self {
        Self {
            held: Held::One(Bytes::new()),
        }
    }

    pub(super) fn push(&mut self, data: Bytes) -> Push {
        match &mut self.held {
            Held::One(first) if first.is_empty() => {
                if data.is_empty() || data.len() >= Self::LARGE {
                    return Push::Full(data);
                }
                *first = data;
            }
            Held::One(first) if first.len() + data.len() <= Self::MAX_BYTES => {
                let mut bytes = Vec::with_capacity(Self::capacity(first.len() + data.len()));
                bytes.extend_from_slice(first);
                bytes.extend_from_slice(&data);
                self.held = Held::Joined(Box::new(Joined { bytes, frames: 2 }));
            }
            Held::Joined(joined)
                if joined.frames < Self::MAX_FRAMES
                    && joined.bytes.len() + data.len() <= Self::MAX_BYTES =>
            {
                let Joined { bytes, frames } = &mut **joined;
                let len = bytes.len() + data.len();
                if len > bytes.capacity() {
                    bytes.reserve_exact(Self::capacity(len) - bytes.len());
                }
                bytes.extend_from_slice(&data);
                *frames += 1;
            }
            Held::One(_) | Held::Joined(_) => {
                let full = self.take();
                self.held = Held::One(data);
                return Push::Full(full);
            }
        }
        Push::Held
    }

    const fn capacity(len: usize) -> usize {
        if len <= Self::FIRST_COPY {
            Self::FIRST_COPY
        } else {
            Self::MAX_BYTES
        }
    }

    /// All that is held.
    pub(super) fn take(&mut self) -> Bytes {
        match std::mem::replace(&mut self.held, Held::One(Bytes::new())) {
            Held::One(data) => data,
            Held::Joined(joined) => joined.bytes.into(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        match &self.held {
            Held::One(data) => data.len(),
            Held::Joined(joined) => joined.bytes.len(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
