use std::{mem, ops::Range};

use bytes::Bytes;

/// Nothing more is put together than this, and one message: replacements may be much longer than what
/// they replace.
const MAX_BYTES: usize = 64 * 1024;

/// What may leave of a chunk: as long as nothing in it changes, a part of it, without a copy.
#[derive(Debug, Default)]
pub(super) struct Output {
    chunk: Bytes,
    /// What has passed unchanged of the chunk, and is not in `ready` yet.
    clean: Range<usize>,
    ready: Ready,
    /// Whether it is not the first chunk.
    has_begun: bool,
}

const BOM: &[u8] = b"\xEF\xBB\xBF";

#[derive(Debug, Default)]
enum Ready {
    #[default]
    Nothing,
    One(Bytes),
    Many(Vec<u8>),
}

impl Output {
    /// Begins with the next chunk. The last one is used up.
    pub(super) fn start(&mut self, chunk: &Bytes) {
        self.flush();
        self.has_begun |= !self.chunk.is_empty();
        self.chunk = chunk.clone();
        self.clean = 0..0;
    }

    /// Lets `bytes` pass, behind which `left` of the chunk are left: they are a part of it, or in memory of
    /// their own.
    #[inline]
    pub(super) fn pass_or_put(&mut self, bytes: &Bytes, left: usize, is_own: bool) {
        if is_own {
            self.put(bytes.clone(), left);
        } else {
            self.clean.end = self.chunk.len() - left;
        }
    }

    /// Leaves out what comes next of the chunk, up to where only `left` of it are left; what takes its place
    /// is put behind what has passed.
    pub(super) fn skip(&mut self, left: usize) -> &mut Vec<u8> {
        self.flush();
        let at = self.chunk.len() - left;
        self.clean = at..at;
        self.ready.as_many()
    }

    /// The same, for what is in memory of its own.
    pub(super) fn put(&mut self, bytes: Bytes, left: usize) {
        self.flush();
        let at = self.chunk.len() - left;
        self.clean = at..at;
        self.ready.push(bytes);
    }

    /// Makes room for bytes that are put in front of what is left of the chunk. A byte order mark behind
    /// them would be none.
    pub(super) fn interject(&mut self) {
        if !self.has_begun && self.clean.end == 0 && self.chunk.starts_with(BOM) {
            self.clean = BOM.len()..BOM.len();
        }
    }

    /// Whether it is so much that it has to leave before more is put to it.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        matches!(&self.ready, Ready::Many(bytes) if bytes.len() > MAX_BYTES)
    }

    /// All that may leave.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.flush();
        let bytes = match mem::take(&mut self.ready) {
            Ready::Nothing => return None,
            Ready::One(bytes) => bytes,
            Ready::Many(bytes) => bytes.into(),
        };
        (!bytes.is_empty()).then_some(bytes)
    }

    #[inline]
    fn flush(&mut self) {
        if self.clean.is_empty() {
            return;
        }
        let clean = self.chunk.slice(self.clean.clone());
        self.clean.start = self.clean.end;
        self.ready.push(clean);
    }
}

impl Ready {
    fn push(&mut self, bytes: Bytes) {
        match self {
            Self::Nothing => *self = Self::One(bytes),
            _ => self.as_many().extend_from_slice(&bytes),
        }
    }

    fn as_many(&mut self) -> &mut Vec<u8> {
        let many = match mem::take(self) {
            Self::Nothing => Vec::new(),
            Self::One(bytes) => bytes.to_vec(),
            Self::Many(many) => many,
        };
        *self = Self::Many(many);
        let Self::Many(many) = self else {
            unreachable!("just made");
        };
        many
    }
}
