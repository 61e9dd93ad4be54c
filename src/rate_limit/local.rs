use std::{fmt, hash::Hash, num::NonZeroU16, sync::Arc, time::Duration};

use super::{
    Admission, Charge, Clock, Decision, Hold, Limiter, LimiterStats, MonotonicClock, Quota,
    Unneeded,
    account::Limits,
    clock::nanos,
    table::{Id, Table},
};

/// Keeps account in memory.
///
/// See the [module docs](crate::rate_limit). Its clones share all accounts; a setter makes a limiter
/// of its own. It allocates once, when a layer makes a service. What has no limit is not counted.
pub struct LocalLimiter<C = MonotonicClock> {
    table: Arc<Table>,
    max_keys: usize,
    clock: C,
}

impl LocalLimiter {
    /// How many keys are told apart at least, unless told otherwise: 100,000, which take 7 MiB.
    pub const DEFAULT_MAX_KEYS: usize = 100_000;

    /// How often a key of MCP may come back for its streams, unless told otherwise: 10 times a second,
    /// and 100 times at once, which lets all streams of a client survive a restart of the server.
    pub const DEFAULT_RESUMES: Quota = {
        let Ok(quota) = Quota::per_second(10) else {
            panic!("a quota")
        };
        let Ok(quota) = quota.with_burst(100) else {
            panic!("a quota")
        };
        quota
    };

    /// Each key may spend `quota`, and keep open what it likes.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        let limits = Limits {
            requests: quota,
            resumes: Self::DEFAULT_RESUMES,
            has_resumes: false,
            max_streams: None,
        };
        Self {
            table: Arc::new(Table::new(limits, Self::DEFAULT_MAX_KEYS)),
            max_keys: Self::DEFAULT_MAX_KEYS,
            clock: MonotonicClock::new(),
        }
    }
}

impl<C> LocalLimiter<C> {
    /// Goes by another clock.
    #[must_use]
    pub fn with_clock<D: Clock>(self, clock: D) -> LocalLimiter<D> {
        let Self {
            table,
            max_keys,
            clock: _,
        } = self;
        LocalLimiter {
            table: Arc::new(Table::new(*table.limits(), max_keys)),
            max_keys,
            clock,
        }
    }

    /// Each key may keep up to `max` streams open that listen, and as many requests that are under way,
    /// a request being so until its response has ended. Both are counted apart, so that a client with
    /// one stream can still ask for something where `max` is one.
    ///
    /// What comes back with `Last-Event-ID` takes the place of a stream, or of the response to a call,
    /// that may still be open, and nobody knows of which; so it is neither. With those that have come
    /// back there are at most twice `max` open in all, and nothing new is let in while there are. Only
    /// whoever comes back may be one more: all streams of a client can do so one by one, as each ends
    /// the one in whose place it comes.
    ///
    /// Keys that there is no room for have these numbers together, see
    /// [Memory](crate::rate_limit#memory). What one of them has open there is not counted with what it
    /// opens once it has a place of its own.
    #[must_use]
    pub fn with_max_streams(self, max: NonZeroU16) -> Self {
        self.change(|limits| limits.max_streams = Some(max))
    }

    /// How often each key may come back for its streams, apart from what else it may do.
    ///
    /// Unless this is said, that is so only of requests that a
    /// [`MessageLayer`](crate::message::MessageLayer) outside has found to be of a revision of MCP with
    /// such streams: elsewhere `Last-Event-ID` may be anything that a client likes to write, and nobody
    /// might look at it. With this, every GET with that field is charged to `quota`.
    #[must_use]
    pub fn with_resumes(self, quota: Quota) -> Self {
        self.change(|limits| {
            limits.resumes = quota;
            limits.has_resumes = true;
        })
    }

    /// Tells `max` keys apart, and up to twice as many if it can. They take 73 bytes each, all at once,
    /// when a layer makes a service.
    ///
    /// A key that was used more than once keeps its place for a minute, or until all its units are back,
    /// so that those of the last minute count among the `max`.
    ///
    /// A key that has all its units and nothing open may be forgotten when there is no other room for a
    /// new one. If there is no such key either, new keys share one account, with the quota of one, until
    /// there is. See [Memory](crate::rate_limit#memory).
    #[must_use]
    pub fn with_max_keys(self, max: usize) -> Self {
        let limits = *self.table.limits();
        Self {
            table: Arc::new(Table::new(limits, max)),
            max_keys: max,
            ..self
        }
    }

    fn change(self, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = *self.table.limits();
        change(&mut limits);
        Self {
            table: Arc::new(Table::new(limits, self.max_keys)),
            ..self
        }
    }
}

impl<C: Clock> Limiter for LocalLimiter<C> {
    type Slot = LocalSlot;
    type Future = Unneeded<LocalSlot>;

    #[inline]
    fn check<K: Hash>(&self, key: &K, charge: Charge) -> Decision<LocalSlot, Self::Future> {
        let limits = self.table.limits();
        let held = limits.held(charge.hold());
        if held.is_none() && limits.quota(charge.budget()).is_unlimited() {
            return Decision::Now(Ok(Admission::new(None, Duration::ZERO)));
        }
        let id = self.table.id(key);
        let now = nanos(self.clock.now());
        let charged = self.table.charge(id, charge.with_hold(held), now);
        Decision::Now(charged.map(|(whole_in, id)| {
            let slot = held.map(|hold| LocalSlot {
                table: Arc::clone(&self.table),
                id,
                hold,
            });
            Admission::new(slot, Duration::from_nanos(whole_in))
        }))
    }

    #[inline]
    fn quota(&self) -> Quota {
        self.table.limits().requests
    }

    fn has_resumes(&self) -> bool {
        self.table.limits().has_resumes
    }

    fn counts_open(&self) -> bool {
        self.table.limits().max_streams.is_some()
    }

    fn prepare(&self) {
        self.table.buckets();
    }

    fn stats(&self) -> LimiterStats {
        self.table.stats()
    }
}

/// What a [`LocalLimiter`] counts as open. Dropped, it counts no more.
#[must_use = "dropped, it counts no more"]
pub struct LocalSlot {
    table: Arc<Table>,
    id: Id,
    hold: Hold,
}

impl Drop for LocalSlot {
    fn drop(&mut self) {
        let Self { table, id, hold } = self;
        table.release(*id, *hold);
    }
}

impl<C: Clone> Clone for LocalLimiter<C> {
    fn clone(&self) -> Self {
        let Self {
            table,
            max_keys,
            clock,
        } = self;
        Self {
            table: Arc::clone(table),
            max_keys: *max_keys,
            clock: clock.clone(),
        }
    }
}

impl<C> fmt::Debug for LocalLimiter<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            table,
            max_keys,
            clock: _,
        } = self;
        f.debug_struct("LocalLimiter")
            .field("limits", table.limits())
            .field("max_keys", max_keys)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LocalSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSlot")
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}
