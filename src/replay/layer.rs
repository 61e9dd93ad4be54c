use std::{sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{ReplayHandle, hub::Hub, service::Replay};
use crate::{
    sse::DEFAULT_MAX_EVENT_BYTES,
    store::{EventStore, MemoryStore},
};

/// Makes event streams resumable.
///
/// See the [module docs](crate::replay). All services that one layer makes share its streams, and so
/// do its clones; a setter makes a layer of its own.
#[derive(Debug)]
#[must_use]
pub struct ReplayLayer<T = MemoryStore> {
    shared: Arc<Shared<T>>,
}

/// What the services of one layer share.
#[derive(Debug)]
pub(super) struct Shared<T> {
    pub(super) store: T,
    pub(super) hub: Arc<Hub>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) max_event_bytes: usize,
    pub(super) on_store_failure: StoreFailure,
    pub(super) keep_alive: Option<Duration>,
    pub(super) stall: Option<Duration>,
    pub(super) max_detached_for: Duration,
    pub(super) max_detached: usize,
    pub(super) max_detached_per_owner: usize,
    pub(super) max_detached_bytes: usize,
    pub(super) polling: Option<(Duration, Duration)>,
}

/// What happens to a stream once the store fails to record it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreFailure {
    /// It goes on, but cannot be resumed any more: whoever tries is told so.
    #[default]
    PassOn,
    /// It breaks off.
    End,
}

impl ReplayLayer {
    /// Silence after which a client is sent a comment, by default: 15 s.
    pub const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(15);

    /// How long a client may leave what there is unread, by default: 30 s.
    pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_secs(30);

    /// How long a stream goes on without a client, by default: 5 min.
    pub const DEFAULT_MAX_DETACHED_FOR: Duration = Duration::from_secs(5 * 60);

    /// How many streams may go on without a client, by default: 16,384.
    pub const DEFAULT_MAX_DETACHED: usize = 16_384;

    /// How many streams of one owner may go on without a client, by default: 1,024.
    pub const DEFAULT_MAX_DETACHED_PER_OWNER: usize = 1_024;

    /// How much of a stream is read without a client, by default: 64 MiB.
    pub const DEFAULT_MAX_DETACHED_BYTES: usize = 64 * 1024 * 1024;
}

impl<T: EventStore> ReplayLayer<T> {
    /// Keeps the events in `store`.
    pub fn new(store: T) -> Self {
        Self::with_config(
            store,
            Config {
                max_event_bytes: DEFAULT_MAX_EVENT_BYTES,
                on_store_failure: StoreFailure::default(),
                keep_alive: Some(ReplayLayer::DEFAULT_KEEP_ALIVE),
                stall: Some(ReplayLayer::DEFAULT_STALL_TIMEOUT),
                max_detached_for: ReplayLayer::DEFAULT_MAX_DETACHED_FOR,
                max_detached: ReplayLayer::DEFAULT_MAX_DETACHED,
                max_detached_per_owner: ReplayLayer::DEFAULT_MAX_DETACHED_PER_OWNER,
                max_detached_bytes: ReplayLayer::DEFAULT_MAX_DETACHED_BYTES,
                polling: None,
            },
        )
    }

    fn with_config(store: T, config: Config) -> Self {
        let hub = Arc::new(Hub::new(config));
        Self {
            shared: Arc::new(Shared { store, hub }),
        }
    }

    fn change(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.shared.hub.config;
        change(&mut config);
        Self::with_config(self.shared.store.clone(), config)
    }

    /// Ends a stream whose event is larger than `bytes`; 16 MiB by default (SSE-16).
    pub fn with_max_event_bytes(self, bytes: usize) -> Self {
        self.change(|config| config.max_event_bytes = bytes)
    }

    /// Sends a comment after `every` of silence, so that nobody between here and the client takes
    /// the connection for dead (SSE-14). `None` sends none.
    pub fn with_keep_alive(self, every: Option<Duration>) -> Self {
        self.change(|config| config.keep_alive = every.filter(|every| !every.is_zero()))
    }

    /// Detaches a client that has not read what there is for `timeout`, so that it does not hold the
    /// stream up (C01). `None` waits for it, for ever.
    pub fn with_stall_timeout(self, timeout: Option<Duration>) -> Self {
        self.change(|config| config.stall = timeout.filter(|timeout| !timeout.is_zero()))
    }

    /// Goes on reading a stream without a client for `time` at most. With zero, a stream ends with
    /// its client.
    pub fn with_max_detached_for(self, time: Duration) -> Self {
        self.change(|config| config.max_detached_for = time)
    }

    /// Lets up to `streams` go on, or wait, without a client. One more is given up with its client.
    pub fn with_max_detached(self, streams: usize) -> Self {
        self.change(|config| config.max_detached = streams)
    }

    /// Lets up to `streams` of one owner go on, or wait, without a client.
    /// [`Owner::ANONYMOUS`](crate::store::Owner::ANONYMOUS) is not one owner but many, and not limited.
    pub fn with_max_detached_per_owner(self, streams: usize) -> Self {
        self.change(|config| config.max_detached_per_owner = streams)
    }

    /// Reads up to `bytes` of a stream without a client. What is more ends the stream: a client that
    /// comes back is told so.
    pub fn with_max_detached_bytes(self, bytes: usize) -> Self {
        self.change(|config| config.max_detached_bytes = bytes)
    }

    /// Sends a client away when a stream was quiet for `idle`, to come back after `retry` or up to
    /// twice that, so that a long call holds no connection (SSE-4). Only clients of 2025-11-25, which
    /// know what to do, and which have a cursor. Off by default.
    pub fn with_polling(self, idle: Duration, retry: Duration) -> Self {
        self.change(|config| config.polling = Some((idle, retry)))
    }

    /// Decides what happens to a stream that cannot be recorded.
    pub fn with_store_failure(self, failure: StoreFailure) -> Self {
        self.change(|config| config.on_store_failure = failure)
    }

    /// Looks at the layer's streams, and ends them. Take it after the last setter.
    #[must_use]
    pub fn handle(&self) -> ReplayHandle {
        ReplayHandle::new(Arc::clone(&self.shared.hub))
    }
}

impl Default for ReplayLayer {
    /// Keeps the events in a [`MemoryStore`] of its own.
    fn default() -> Self {
        Self::new(MemoryStore::new())
    }
}

impl<T> Clone for ReplayLayer<T> {
    fn clone(&self) -> Self {
        let Self { shared } = self;
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<S, T> Layer<S> for ReplayLayer<T> {
    type Service = Replay<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        Replay::new(inner, Arc::clone(&self.shared))
    }
}
