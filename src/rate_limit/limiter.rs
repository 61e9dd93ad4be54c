use std::{fmt, future::Future, hash::Hash, sync::Arc, time::Duration};

use super::{Charge, Quota};

/// Decides whether a key may do something, and keeps account.
///
/// [`LocalLimiter`](super::LocalLimiter) answers from memory. One that several machines share gives a
/// future, which the layer waits for before it calls the inner service.
pub trait Limiter {
    /// What an admitted request keeps open. Dropped when its response has ended, failed, or was
    /// dropped, wherever that is: it must not block, and must not panic.
    type Slot;

    /// A verdict that takes its time. It owns all that it needs; dropped before it is ready, nothing
    /// must stay charged that was not, nor a slot stay taken.
    ///
    /// [`Unneeded`](super::Unneeded) is for those who never take any.
    type Future: Future<Output = Verdict<Self::Slot>>;

    /// Charges a key, as one step: all of `charge` or nothing.
    ///
    /// Whoever shares accounts makes a digest of what the key writes to a
    /// [`Hasher`](std::hash::Hasher). It must not block.
    fn check<Key: Hash>(&self, key: &Key, charge: Charge) -> Decision<Self::Slot, Self::Future>;

    /// What a key may do. Clients are told of what it is when the layer is made.
    fn quota(&self) -> Quota;

    /// Whether somebody has said how often a key may come back for its streams. Then each GET with
    /// `Last-Event-ID` is charged to [`Budget::Resumes`](super::Budget::Resumes), and not only those
    /// of MCP. Asked when the layer is made.
    fn has_resumes(&self) -> bool {
        false
    }

    /// Whether it counts what is open, as by default. Then it has to be known of each message whether it
    /// keeps anything open, and a POST of MCP that nobody has read gets 500. Asked when the layer is made.
    fn counts_open(&self) -> bool {
        true
    }

    /// Does what takes a while and would otherwise keep the first request waiting. Called whenever the
    /// layer makes a service; it may do nothing the second time.
    fn prepare(&self) {}

    /// Counts what was.
    fn stats(&self) -> LimiterStats;
}

/// What becomes of a request.
pub type Verdict<G> = Result<Admission<G>, Rejection>;

/// A verdict, or when it will be known.
#[must_use = "a decision does nothing by itself"]
pub enum Decision<G, F> {
    /// It is known.
    Now(Verdict<G>),
    /// The future knows.
    Later(F),
}

/// The future of a [`Limiter`] that never takes its time: there is none.
pub type Unneeded<G> = std::future::Pending<Verdict<G>>;

/// A request was let in.
#[must_use = "dropped, it gives back what is kept open"]
pub struct Admission<G> {
    slot: Option<G>,
    whole_in: Duration,
}

impl<G> Admission<G> {
    /// Lets a request in, which keeps `slot` open; all units will be back after `whole_in`.
    #[inline]
    pub const fn new(slot: Option<G>, whole_in: Duration) -> Self {
        Self { slot, whole_in }
    }

    /// The time until all units are back.
    #[must_use]
    pub const fn whole_in(&self) -> Duration {
        self.whole_in
    }

    /// What is kept open.
    #[must_use]
    #[inline]
    pub fn into_slot(self) -> Option<G> {
        self.slot
    }
}

/// A request was not let in, and nothing was charged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Rejection {
    kind: RejectionKind,
    retry_after: Duration,
    whole_in: Option<Duration>,
}

/// Why a request was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// There are not enough units left: later there are.
    OverQuota,
    /// Too much is open: streams, or requests that are under way.
    TooManyOpen,
    /// It costs more than there ever are (R07).
    NeverFits,
}

impl Rejection {
    /// When to come back if that depends on others.
    const SOME_TIME: Duration = Duration::from_secs(1);

    /// There are not enough units left, and will be after `retry_after`; after `whole_in` all of them
    /// are back.
    pub const fn over_quota(whole_in: Duration, retry_after: Duration) -> Self {
        Self {
            kind: RejectionKind::OverQuota,
            retry_after,
            whole_in: Some(whole_in),
        }
    }

    /// Too much is open. Nobody knows until when: it says one second. There would have been enough
    /// units, and after `whole_in` all of them are back.
    pub const fn too_many_open(whole_in: Duration) -> Self {
        Self {
            kind: RejectionKind::TooManyOpen,
            retry_after: Self::SOME_TIME,
            whole_in: Some(whole_in),
        }
    }

    /// It costs more than there ever are.
    pub const fn never_fits() -> Self {
        Self {
            kind: RejectionKind::NeverFits,
            retry_after: Duration::ZERO,
            whole_in: None,
        }
    }

    /// Why.
    #[must_use]
    pub const fn kind(&self) -> RejectionKind {
        self.kind
    }

    /// When the same request would be let in, if nobody else takes what is there by then.
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The time until all units are back, of which [`Quota::left`] makes how many there are. `None` if
    /// nobody has looked, because there never are enough.
    #[must_use]
    pub const fn whole_in(&self) -> Option<Duration> {
        self.whole_in
    }
}

/// What a limiter has done so far, and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterStats {
    /// Requests that were let in.
    pub allowed_total: u64,
    /// Requests that were over their quota.
    pub over_quota_total: u64,
    /// Requests while too much was open.
    pub too_many_open_total: u64,
    /// Requests that cost more than there ever is.
    pub never_fits_total: u64,
    /// Keys that are kept: those that have all their units again are, until their place is needed.
    pub keys: usize,
    /// Keys that were forgotten, each with all its units.
    pub evicted_total: u64,
    /// Requests of keys that there was no room for: they were charged to one account together.
    pub overflowed_total: u64,
    /// Streams and requests that are open.
    pub open: u64,
}

impl<L: Limiter> Limiter for Arc<L> {
    type Slot = L::Slot;
    type Future = L::Future;

    #[inline]
    fn check<Key: Hash>(&self, key: &Key, charge: Charge) -> Decision<L::Slot, L::Future> {
        L::check(self, key, charge)
    }

    #[inline]
    fn quota(&self) -> Quota {
        L::quota(self)
    }

    fn has_resumes(&self) -> bool {
        L::has_resumes(self)
    }

    fn counts_open(&self) -> bool {
        L::counts_open(self)
    }

    fn prepare(&self) {
        L::prepare(self);
    }

    fn stats(&self) -> LimiterStats {
        L::stats(self)
    }
}

impl<G> fmt::Debug for Admission<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("has_slot", &self.slot.is_some())
            .field("whole_in", &self.whole_in)
            .finish()
    }
}

impl<G, F> fmt::Debug for Decision<G, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(verdict) => f.debug_tuple("Now").field(verdict).finish(),
            Self::Later(_) => f.debug_tuple("Later").field(&format_args!("..")).finish(),
        }
    }
}
