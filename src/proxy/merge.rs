use bytes::Bytes;

/// Joins small frames, so that one write carries many events.
///
/// A connection hands over one chunk of its body at a time, and a server writes each frame on its
/// own. So a frame is held for as long as the next one is there already: its owner pushes until
/// its source has nothing more, and then takes what is held.
#[derive(Debug, Default)]
pub(super) struct Merge {
    held: Held,
    /// How many frames are held.
    frames: u8,
}

#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    One(Bytes),
    Joined(Vec<u8>),
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

    pub(super) fn push(&mut self, data: Bytes) -> Push {
        let is_full = self.frames == Self::MAX_FRAMES || self.len() + data.len() > Self::MAX_BYTES;
        match &mut self.held {
            Held::Nothing if data.is_empty() || data.len() >= Self::LARGE => {
                return Push::Full(data);
            }
            Held::Nothing => self.held = Held::One(data),
            _ if is_full => {
                let full = self.take();
                self.held = Held::One(data);
                self.frames = 1;
                return Push::Full(full);
            }
            Held::One(first) => {
                let len = first.len() + data.len();
                let mut joined = Vec::with_capacity(Self::capacity(len));
                joined.extend_from_slice(first);
                joined.extend_from_slice(&data);
                self.held = Held::Joined(joined);
            }
            Held::Joined(joined) => {
                let len = joined.len() + data.len();
                if len > joined.capacity() {
                    joined.reserve_exact(Self::capacity(len) - joined.len());
                }
                joined.extend_from_slice(&data);
            }
        }
        self.frames += 1;
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
        self.frames = 0;
        match std::mem::take(&mut self.held) {
            Held::Nothing => Bytes::new(),
            Held::One(data) => data,
            Held::Joined(joined) => joined.into(),
        }
    }

    pub(super) const fn len(&self) -> usize {
        match &self.held {
            Held::Nothing => 0,
            Held::One(data) => data.len(),
            Held::Joined(joined) => joined.len(),
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.held, Held::Nothing)
    }
}
