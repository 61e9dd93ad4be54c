use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};
use tower_layer::Layer;

use super::{BindSession, SessionHandle, backlog::Backlog, farewell::Paths, handle::Counters, id};
use crate::{
    auth::Principal,
    store::{MemorySessionStore, Owner, SessionStore},
};

/// Binds each session to the principal that opened it.
///
/// See the [module docs](crate::session). All services that one layer makes share its sessions, and so
/// do its clones; a setter makes a layer of its own.
#[must_use]
pub struct SessionLayer<T = MemorySessionStore> {
    pub(super) shared: Arc<Shared<T>>,
}

/// What the services of one layer share.
pub(super) struct Shared<T> {
    pub(super) store: T,
    pub(super) config: Config,
    /// Whether the inner service has ever given a session.
    gives_sessions: AtomicBool,
    pub(super) counters: Counters,
    pub(super) backlog: Arc<Backlog>,
    pub(super) paths: Paths,
}

#[derive(Clone)]
pub(super) struct Config {
    pub(super) realm: u64,
    pub(super) allows_anonymous: bool,
    pub(super) passes_ids: bool,
    pub(super) store_timeout: Duration,
    binding: Option<Binding>,
}

type Binding = Arc<dyn Fn(&Principal) -> Owner + Send + Sync>;

impl<T: SessionStore> SessionLayer<T> {
    /// How long a request waits for the store, unless told otherwise: 5 s.
    pub const DEFAULT_STORE_TIMEOUT: Duration = Duration::from_secs(5);

    /// Keeps the sessions in `store`, apart from those of all other layers.
    pub fn new(store: T) -> Self {
        Self::with_config(
            store,
            Config {
                realm: random_realm(),
                allows_anonymous: false,
                passes_ids: false,
                store_timeout: Self::DEFAULT_STORE_TIMEOUT,
                binding: None,
            },
        )
    }

    fn with_config(store: T, config: Config) -> Self {
        Self {
            shared: Arc::new(Shared {
                store,
                config,
                gives_sessions: AtomicBool::new(false),
                counters: Counters::default(),
                backlog: Arc::default(),
                paths: Paths::default(),
            }),
        }
    }

    fn change(self, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.shared.config.clone();
        change(&mut config);
        Self::with_config(self.shared.store.clone(), config)
    }

    /// Serves requests without a [`Principal`] too: their sessions are whoever's has the id (B13).
    ///
    /// For loopback, and where nobody is known. Without this they are answered with 500.
    pub fn allow_anonymous(self) -> Self {
        self.change(|config| config.allows_anonymous = true)
    }

    /// Binds a session to what `binding` makes of a principal, instead of its
    /// [`owner`](Principal::owner), which is issuer and subject: for instance also to the client that
    /// acts for it (B04).
    ///
    /// It is called with every request. [`Owner::of_parts`] delimits what it is made of.
    pub fn with_binding(
        self,
        binding: impl Fn(&Principal) -> Owner + Send + Sync + 'static,
    ) -> Self {
        self.change(|config| config.binding = Some(Arc::new(binding)))
    }

    /// Shares the sessions with every layer of that realm over the same store, on other nodes and
    /// after a restart.
    ///
    /// Name what is inside of the layer: a session of one server must not be one of another (B16).
    pub fn with_realm(self, name: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(name));
        let realm = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        self.change(|config| config.realm = realm)
    }

    /// Gives clients the ids that the inner service makes, instead of ids of our own.
    ///
    /// Then they have to be unguessable, and of no more than 256 characters.
    pub fn with_upstream_ids(self) -> Self {
        self.change(|config| config.passes_ids = true)
    }

    /// Has a request wait up to `time` for the store, before it is answered with 503 (SES-4, C33).
    ///
    /// What the store was asked to do is seen through afterwards. A session that its server has ended
    /// is over, whatever the store does. Outside of a Tokio runtime there is no limit; the timers of
    /// the runtime have to be enabled.
    pub fn with_store_timeout(self, time: Duration) -> Self {
        self.change(|config| config.store_timeout = time)
    }

    /// Looks at the layer's sessions, and ends them. Take it after the last setter.
    #[must_use]
    pub fn handle(&self) -> SessionHandle<T> {
        SessionHandle::new(Arc::clone(&self.shared))
    }
}

impl<T> Shared<T> {
    /// Whose the sessions of that principal are.
    pub(super) fn bind(&self, principal: &Principal) -> Owner {
        match &self.config.binding {
            Some(binding) => binding(principal),
            None => principal.owner(),
        }
    }

    pub(super) fn gives_sessions(&self) -> bool {
        self.gives_sessions.load(Relaxed)
    }

    pub(super) fn note_session(&self) {
        // Written once: all threads read it.
        if !self.gives_sessions() {
            self.gives_sessions.store(true, Relaxed);
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.backlog.close();
    }
}

/// One that no other layer has.
fn random_realm() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    match id::random() {
        Some([a, b, c, d, e, f, g, h, ..]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        None => NEXT.fetch_add(1, Relaxed),
    }
}

impl Default for SessionLayer {
    /// Keeps the sessions in a [`MemorySessionStore`] of its own.
    fn default() -> Self {
        Self::new(MemorySessionStore::new())
    }
}

impl<T> Clone for SessionLayer<T> {
    fn clone(&self) -> Self {
        let Self { shared } = self;
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<S, T> Layer<S> for SessionLayer<T> {
    type Service = BindSession<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        BindSession::new(inner, Arc::clone(&self.shared))
    }
}

impl<T: fmt::Debug> fmt::Debug for SessionLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        f.debug_struct("SessionLayer")
            .field("store", &shared.store)
            .field("allows_anonymous", &shared.config.allows_anonymous)
            .field("passes_ids", &shared.config.passes_ids)
            .finish_non_exhaustive()
    }
}
