use std::{fmt, sync::Arc};

use super::{Limiter, LimiterStats, layer::Shared};

/// Looks at what a [`RateLimitLayer`](super::RateLimitLayer) counts.
///
/// It has no type parameter, so that those of several layers fit one list.
#[derive(Clone)]
pub struct LimitHandle {
    shared: Arc<dyn Snapshot + Send + Sync>,
}

/// What a layer has done so far, and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitStats {
    /// What its limiter has counted, for this layer and for others that share it.
    pub limiter: LimiterStats,
    /// Requests that were let in without being charged.
    pub exempt_total: u64,
    /// Requests that got 500, because they had no key.
    pub keyless_total: u64,
}

trait Snapshot {
    fn stats(&self) -> LimitStats;
    fn name(&self) -> &str;
}

impl<K, L: Limiter> Snapshot for Shared<K, L> {
    fn stats(&self) -> LimitStats {
        LimitStats {
            limiter: self.limiter.stats(),
            exempt_total: self.tally.exempt(),
            keyless_total: self.tally.keyless(),
        }
    }

    fn name(&self) -> &str {
        self.config.policy.name()
    }
}

impl LimitHandle {
    pub(super) fn new<K, L>(shared: Arc<Shared<K, L>>) -> Self
    where
        K: Send + Sync + 'static,
        L: Limiter + Send + Sync + 'static,
    {
        Self { shared }
    }

    /// Counts what was, and what is open now.
    #[must_use]
    pub fn stats(&self) -> LimitStats {
        self.shared.stats()
    }

    /// The name by which clients are told of the quota.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.name()
    }
}

impl fmt::Debug for LimitHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Counting takes all locks, one by one.
        f.debug_struct("LimitHandle")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}
