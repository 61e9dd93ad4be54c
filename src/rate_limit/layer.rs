use std::{
    error::Error,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::Response;
use tower_layer::Layer;

use super::{
    Clock, KeyError, LimitHandle, Limiter, LocalLimiter, MonotonicClock, Quota, RateKey, RateLimit,
    Rejection,
    clock::nanos,
    cost::Costs,
    fields::{self, Policy},
    refuse::OnRefuse,
};
use crate::seldom::Seldom;

/// Lets each key do as much as it may.
///
/// See the [module docs](crate::rate_limit). All services that one layer makes share its limiter, and
/// so do its clones; a setter makes a layer of its own with the same limiter. A clone costs a reference
/// count.
#[must_use]
pub struct RateLimitLayer<K, L = LocalLimiter> {
    shared: Arc<Shared<K, L>>,
}

/// What the services of one layer share.
pub(super) struct Shared<K, L> {
    pub(super) key: K,
    pub(super) limiter: L,
    pub(super) config: Arc<Config>,
    pub(super) tally: Tally,
}

#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) costs: Costs,
    pub(super) policy: Policy,
    pub(super) tells_all: bool,
    pub(super) on_refuse: OnRefuse,
}

/// What the limiter is not asked about. Apart from what all threads read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Tally {
    exempt: AtomicU64,
    keyless: AtomicU64,
    untold: Seldom,
    clock: MonotonicClock,
}

impl Tally {
    pub(super) fn count_exempt(&self) {
        self.exempt.fetch_add(1, Relaxed);
    }

    pub(super) fn exempt(&self) -> u64 {
        self.exempt.load(Relaxed)
    }

    /// Whoever set this up wrong is told in the log, now and then.
    pub(super) fn count_keyless(&self, error: &KeyError) {
        self.keyless.fetch_add(1, Relaxed);
        let now = i64::try_from(nanos(self.clock.now())).unwrap_or(i64::MAX);
        if let Some(requests) = self.untold.count(1, now) {
            tracing::error!(%error, requests, "requests cannot be charged to anybody");
        }
    }

    pub(super) fn keyless(&self) -> u64 {
        self.keyless.load(Relaxed)
    }
}

impl<K: RateKey> RateLimitLayer<K> {
    /// Lets each key spend `quota`, and remembers that in this process.
    pub fn new(key: K, quota: Quota) -> Self {
        Self::with_limiter(key, LocalLimiter::new(quota))
    }
}

impl<K, L> RateLimitLayer<K, L> {
    /// Lets each key do what `limiter` says. Clients are told of the quota that it has now.
    pub fn with_limiter(key: K, limiter: L) -> Self
    where
        K: RateKey,
        L: Limiter,
    {
        let config = Config {
            costs: Costs::of(&limiter),
            policy: Policy::new("default", limiter.quota()),
            tells_all: false,
            on_refuse: OnRefuse::default(),
        };
        Self::with_config(key, limiter, config)
    }

    fn with_config(key: K, limiter: L, config: Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                key,
                limiter,
                config: Arc::new(config),
                tally: Tally::default(),
            }),
        }
    }

    /// Looks at what the layer counts. Take it after the last setter.
    #[must_use]
    pub fn handle(&self) -> LimitHandle
    where
        K: Send + Sync + 'static,
        L: Limiter + Send + Sync + 'static,
    {
        LimitHandle::new(Arc::clone(&self.shared))
    }
}

impl<K: Clone, L: Clone> RateLimitLayer<K, L> {
    /// Messages of `method` cost that many units instead of one, such as `tools/call` or `tasks/*`: a
    /// star at the end is for whatever follows. Zero is free.
    ///
    /// Of several that concern a message the last one counts that was added. In a batch each message
    /// costs what it costs alone (RL-3). It takes a [`MessageLayer`](crate::message::MessageLayer)
    /// outside: POSTs that nobody has read get 500 (RL-7).
    pub fn add_method_cost(self, method: &str, units: u32) -> Self {
        self.change(|config| config.costs.add(method, None, units))
    }

    /// Calls of `tool` cost that many units, as with [`add_method_cost`](Self::add_method_cost). A call
    /// whose tool cannot be read might be of it, and costs as much.
    pub fn add_tool_cost(self, tool: &str, units: u32) -> Self {
        self.change(|config| config.costs.add("tools/call", Some(tool), units))
    }

    /// Tells clients of the quota by that name, instead of `default`: for whoever has several layers.
    ///
    /// # Errors
    ///
    /// If it is empty, has more than 64 characters, or one that is not of printable ASCII, a quote or a
    /// backslash.
    pub fn with_name(self, name: &str) -> Result<Self, NameError> {
        if !fields::is_name(name) {
            return Err(NameError(()));
        }
        Ok(self.change(|config| config.policy = Policy::new(name, config.policy.quota())))
    }

    /// Tells clients with each response how much of their quota is left, not only when they are refused.
    /// It takes a few allocations.
    ///
    /// Of streams that come back, and of what is exempt, they are told nothing.
    pub fn with_fields_in_all(self, all: bool) -> Self {
        self.change(|config| config.tells_all = all)
    }

    /// Has `hook` make the response of a refusal out of the one that it would be.
    ///
    /// It is also for services of other kinds than MCP: the body may be whatever they say. A 500 for want
    /// of a key does not get there.
    pub fn with_on_refuse(
        self,
        hook: impl Fn(&Rejection, Response<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.change(|config| config.on_refuse = OnRefuse(Some(Arc::new(hook))))
    }

    fn change(self, change: impl FnOnce(&mut Config)) -> Self {
        let Shared {
            key,
            limiter,
            config,
            tally: _,
        } = &*self.shared;
        let mut config = Config::clone(config);
        change(&mut config);
        Self::with_config(key.clone(), limiter.clone(), config)
    }
}

impl<S, K, L: Limiter> Layer<S> for RateLimitLayer<K, L> {
    type Service = RateLimit<S, K, L>;

    fn layer(&self, inner: S) -> Self::Service {
        // The first request shall not wait for it.
        self.shared.limiter.prepare();
        RateLimit::with_shared(inner, Arc::clone(&self.shared))
    }
}

impl<K, L> Clone for RateLimitLayer<K, L> {
    fn clone(&self) -> Self {
        let Self { shared } = self;
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<K, L: fmt::Debug> fmt::Debug for RateLimitLayer<K, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        shared.debug(&mut f.debug_struct("RateLimitLayer"))
    }
}

impl<K, L: fmt::Debug> Shared<K, L> {
    pub(super) fn debug(&self, f: &mut fmt::DebugStruct<'_, '_>) -> fmt::Result {
        let Self {
            key: _,
            limiter,
            config,
            tally: _,
        } = self;
        f.field("key", &format_args!("{}", std::any::type_name::<K>()))
            .field("limiter", limiter)
            .field("config", config)
            .finish()
    }
}

/// A text is no name of a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError(());

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a quota is 1 to 64 printable ASCII characters without \" and \\")
    }
}

impl Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::captured_log::CapturedLog;

    /// Whoever set this up wrong is told of it; whoever sends many requests cannot fill the log.
    #[tokio::test(start_paused = true)]
    async fn requests_without_a_key_are_logged_now_and_then() {
        let log = CapturedLog::start();
        let tally = Tally::default();
        for _ in 0..100 {
            tally.count_keyless(&KeyError::missing("PeerAddr"));
        }
        let told = log.take();
        assert_eq!(told.matches("charged to anybody").count(), 1, "{told}");
        assert!(told.contains("no PeerAddr"), "{told}");
        tokio::time::advance(Seldom::EVERY).await;
        tally.count_keyless(&KeyError::missing("PeerAddr"));
        assert!(log.take().contains("requests=100"));
        assert_eq!(tally.keyless(), 101);
    }
}
