use bytes::Bytes;

/// Joins small frames, so that one write carries many events.
///
/// hyper's client hands over one chunk at a time, through a slot that its connection task refills
/// only when it runs again. A body that answers each chunk with a frame therefore costs its
/// server one write per event. `Merge` holds a frame back while the body lets the other tasks run
/// a bounded number of times, never for a length of time; what came alone leaves uncopied.
#[derive(Debug, Default)]
pub(super) struct Merge {
    held: Held,
    /// How many frames are held.
    frames: u8,
    /// Polls in vain since the last frame came.
    polls: u8,
    /// Frames in a row that nothing joined.
    alone: u8,
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

    /// The most frames that are joined. Each may let every other task run once, so this is what
    /// bounds how long the first of them waits when all streams are busy.
    pub(super) const MAX_FRAMES: u8 = 128;

    /// A frame of this length is worth a write of its own.
    const LARGE: usize = 8 * 1024;

    /// The first copy of frames that are joined. Two or three events keep no more than this; for
    /// more, a whole frame is reserved at once, because growing step by step copies it all again.
    const FIRST_COPY: usize = 4 * 1024;

    /// How often in a row the other tasks are let run without a new frame having come. hyper's
    /// server polls a body twice before it lets them, so one would be none, and four are two.
    const MAX_POLLS: u8 = 4;

    /// After this many frames that nothing joined, the next leave at once, ...
    const PACED: u8 = 4;

    /// ... but for one in so many, which looks whether the stream has become fast.
    const PROBE: u8 = 8;

    pub(super) fn push(&mut self, data: Bytes) -> Push {
        self.polls = 0;
        let is_full = self.frames == Self::MAX_FRAMES || self.len() + data.len() > Self::MAX_BYTES;
        match &mut self.held {
            Held::Nothing if data.is_empty() || data.len() >= Self::LARGE => {
                return Push::Full(data);
            }
            Held::Nothing
                if self.alone >= Self::PACED && !self.alone.is_multiple_of(Self::PROBE) =>
            {
                self.alone = self.alone.wrapping_add(1);
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

    /// Whether the other tasks should run once more before what is held leaves.
    pub(super) const fn should_yield(&mut self) -> bool {
        let should = self.polls < Self::MAX_POLLS;
        self.polls += should as u8;
        should
    }

    /// All that is held.
    pub(super) fn take(&mut self) -> Bytes {
        self.polls = 0;
        self.frames = 0;
        match std::mem::take(&mut self.held) {
            Held::Nothing => Bytes::new(),
            Held::One(data) => {
                self.alone = self.alone.wrapping_add(1);
                data
            }
            Held::Joined(joined) => {
                self.alone = 0;
                joined.into()
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.held, Held::Nothing)
    }
}

impl Held {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(data) => data.len(),
            Self::Joined(joined) => joined.len(),
        }
    }
}
