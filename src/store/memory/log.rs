use std::{
    fmt,
    hint::black_box,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
};

use super::{account::Account, records::Records, shared::Shared, waiters::Waiters};
use crate::{
    sse::StreamKey,
    store::{End, StoreErrorKind},
};

/// One stream.
///
/// In this order: what each event needs lies together, because most streams have gone cold by the time
/// that they have something to say.
#[repr(C)]
pub(super) struct Log {
    /// Whether it was written to since somebody last looked for memory to take back.
    pub(super) is_touched: AtomicBool,
    /// The [`Group`](super::registry::Group) it is in; changes under the registry's lock only.
    pub(super) group: AtomicU8,
    state: Mutex<State>,
    pub(super) account: Arc<Account>,
    pub(super) key: StreamKey,
    /// When it is to be forgotten, by the store's clock; [`LIVE`](Self::LIVE) while it is written.
    pub(super) deadline: AtomicU64,
}

/// What its writer changes.
#[repr(C)]
pub(super) struct State {
    pub(super) records: Records,
    pub(super) waiters: Waiters,
    /// Events that were evicted and are not in the store's counter yet: counting each one there
    /// would make all streams write to the same cache line.
    pub(super) uncounted: u32,
    pub(super) end: Option<End>,
    /// It is in the registry no more, and holds nothing.
    pub(super) is_gone: bool,
    pub(super) about: About,
}

/// What a stream is about. A copy, because a slice might keep a large buffer alive; in place, if it
/// is as short as nearly all are.
pub(super) enum About {
    Short([u8; Self::SHORT], u8),
    Long(Box<[u8]>),
}

impl About {
    const SHORT: usize = 22;

    pub(super) const EMPTY: Self = Self::Short([0; Self::SHORT], 0);
}

impl From<&[u8]> for About {
    fn from(text: &[u8]) -> Self {
        let mut short = [0; Self::SHORT];
        match short.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text);
                Self::Short(short, text.len() as u8)
            }
            None => Self::Long(text.into()),
        }
    }
}

impl Deref for About {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(text, len) => &text[..usize::from(*len)],
            Self::Long(text) => text,
        }
    }
}

impl Log {
    pub(super) const LIVE: u64 = u64::MAX;

    pub(super) fn new(key: StreamKey, account: Arc<Account>, about: &[u8]) -> Self {
        Self {
            key,
            account,
            deadline: AtomicU64::new(Self::LIVE),
            is_touched: AtomicBool::new(false),
            group: AtomicU8::new(0),
            state: Mutex::new(State {
                records: Records::new(),
                about: About::from(about),
                waiters: Waiters::default(),
                uncounted: 0,
                end: None,
                is_gone: false,
            }),
        }
    }

    /// Begins to bring it into the processor's cache: nobody waits for what is read here, so that
    /// whatever else has to be fetched is fetched at the same time.
    #[inline]
    pub(super) fn prefetch(&self) {
        black_box(self.is_touched.load(Relaxed));
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The memory that it takes in all, as long as it is in the registry.
    pub(super) fn held(&self) -> usize {
        Shared::COST + self.about.len() + self.records.held()
    }

    /// Whether the event of that number is new: it may be there already.
    pub(super) fn admits(&self, sequence: u64) -> Result<bool, StoreErrorKind> {
        if self.is_gone {
            return Err(StoreErrorKind::NotFound);
        }
        let tail = self.records.tail();
        if sequence == tail + 1 && self.end.is_none() {
            Ok(true)
        } else if (1..=tail).contains(&sequence) {
            Ok(false)
        } else {
            Err(StoreErrorKind::Conflict)
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("key", &self.key)
            .field("owner", &self.account.owner)
            .finish_non_exhaustive()
    }
}
