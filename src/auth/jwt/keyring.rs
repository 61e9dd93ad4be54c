use std::{
    error::Error,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{
    Algorithm, JwksUrl, JwtError, JwtErrorKind,
    fetch::Fetcher,
    issuer::Policy,
    jwk::Jwk,
    key::{Key, KeySet},
    keys::{self, Keys, Source},
};
use crate::BoxError;

/// The keys of one issuer: those of now, and what gets new ones.
pub(super) struct Keyring {
    /// Whose they are, for whoever reads the log.
    issuer: Box<str>,
    origin: Origin,
    algorithms: Vec<Algorithm>,
    state: Mutex<State>,
    /// When there is something to do that nobody asks for, in milliseconds after `born`.
    due: AtomicU64,
    born: Instant,
    waiters: AtomicUsize,
    fetches: AtomicU64,
}

/// Where new keys come from.
enum Origin {
    Nowhere,
    File(Arc<Path>),
    Url(Fetcher),
}

struct State {
    keys: KeySet,
    /// When these keys were still what their issuer has.
    as_of: Option<Instant>,
    /// When the issuer was last asked, whatever came of it.
    asked: Instant,
    /// Nothing is fetched before.
    not_before: Instant,
    /// How often in a row there were no new ones, and why.
    failures: u32,
    error: Option<JwtError>,
    /// Over when its other end is dropped.
    fetch: Option<watch::Receiver<()>>,
}

/// Where a key is.
pub(super) enum Found {
    Here(Arc<Key>),
    /// Perhaps in the next document.
    Soon(Wait),
    /// Nowhere.
    Unknown,
    /// Nobody can tell: there are no keys, or too many wait for them.
    Unavailable(Duration),
}

impl Keyring {
    /// How many requests may wait for one fetch. More are told to come again.
    const MAX_WAITERS: usize = 1_024;

    /// The longest time between two fetches that fail.
    const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

    /// The shortest, while there are no keys at all.
    const MIN_BACKOFF: Duration = Duration::from_secs(1);

    const NEVER: u64 = u64::MAX;

    pub(super) fn new(policy: &Policy, keys: Keys) -> Result<Self, JwtError> {
        let now = Instant::now();
        let algorithms = policy.algorithms.clone();
        let (origin, keys) = match keys.into_source() {
            Source::Fixed(jwks) => (Origin::Nowhere, KeySet::new(&jwks, &algorithms)?),
            Source::File(path, jwks) => (Origin::File(path), KeySet::new(&jwks, &algorithms)?),
            Source::Url(url) => (Origin::Url(Fetcher::new(url)?), KeySet::default()),
        };
        let state = State {
            as_of: (!keys.is_empty()).then_some(now),
            asked: now,
            keys,
            not_before: now,
            failures: 0,
            error: None,
            fetch: None,
        };
        let this = Self {
            issuer: policy.issuer.clone(),
            origin,
            algorithms,
            due: AtomicU64::new(Self::NEVER),
            born: now,
            waiters: AtomicUsize::new(0),
            fetches: AtomicU64::new(0),
            state: Mutex::new(state),
        };
        this.schedule(&this.lock());
        Ok(this)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refresh(&self) -> Duration {
        match &self.origin {
            Origin::Url(fetcher) => fetcher.url().refresh,
            Origin::Nowhere | Origin::File(_) => JwksUrl::DEFAULT_REFRESH,
        }
    }

    fn max_stale(&self) -> Duration {
        match &self.origin {
            Origin::Url(fetcher) => fetcher.url().max_stale.max(self.refresh()),
            Origin::Nowhere | Origin::File(_) => JwksUrl::DEFAULT_MAX_STALE,
        }
    }

    /// Sees to what is due. Called with every token. Says whether the keys are doubtful: then what they
    /// have verified is, too.
    #[inline]
    pub(super) fn tick(self: &Arc<Self>, now: Instant) -> bool {
        let due = self.due.load(Relaxed);
        due != Self::NEVER && self.since_birth(now) >= due && self.see_to(now)
    }

    #[cold]
    fn see_to(self: &Arc<Self>, now: Instant) -> bool {
        let mut state = self.lock();
        self.forget_stale(&mut state, now);
        let is_old = state
            .as_of
            .is_none_or(|as_of| now - as_of >= self.refresh());
        let begun = is_old.then(|| self.begin(&mut state, now)).flatten();
        self.schedule(&state);
        let is_doubtful = self.is_doubtful(&state, now);
        drop(state);
        if let Some(begun) = begun {
            begun.go();
        }
        is_doubtful
    }

    /// Whether a key may have been withdrawn long ago, because no token has come that had anybody ask,
    /// and the issuer is being asked now (T27).
    fn is_doubtful(&self, state: &State, now: Instant) -> bool {
        state.fetch.is_some() && now - state.asked >= self.doubt(state)
    }

    /// How long after the issuer was asked its keys are believed without asking again. One that has not
    /// answered is not waited for as often as it is asked (C69).
    fn doubt(&self, state: &State) -> Duration {
        let refresh = match state.failures {
            0 => self.refresh(),
            _ => self.refresh().max(Self::MAX_BACKOFF),
        };
        refresh.saturating_mul(2)
    }

    fn forget_stale(&self, state: &mut State, now: Instant) {
        if matches!(self.origin, Origin::Nowhere) {
            return;
        }
        if state
            .as_of
            .is_some_and(|as_of| now - as_of >= self.max_stale())
        {
            tracing::error!(issuer = %self.issuer, "keys are too old to be believed");
            state.keys.replace(KeySet::default());
            state.as_of = None;
        }
    }

    /// The key of that name, or what is known of it.
    pub(super) fn find(self: &Arc<Self>, kid: Option<&str>, now: Instant) -> Found {
        let mut state = self.lock();
        if let Some(key) = state.keys.find(kid)
            && !self.is_doubtful(&state, now)
        {
            return Found::Here(Arc::clone(key));
        }
        if matches!(self.origin, Origin::Nowhere) {
            return Found::Unknown;
        }
        let begun = self.begin(&mut state, now);
        let found = match &state.fetch {
            Some(fetch) => match Wait::new(self, fetch.clone()) {
                Some(wait) => Found::Soon(wait),
                None => Found::Unavailable(Self::MIN_BACKOFF),
            },
            None => self.missing(&state, now),
        };
        drop(state);
        if let Some(begun) = begun {
            begun.go();
        }
        found
    }

    /// The key of that name, for whoever has waited for it.
    pub(super) fn find_now(&self, kid: Option<&str>, now: Instant) -> Found {
        let state = self.lock();
        match state.keys.find(kid) {
            Some(key) => Found::Here(Arc::clone(key)),
            None => self.missing(&state, now),
        }
    }

    fn missing(&self, state: &State, now: Instant) -> Found {
        // If the last fetch failed, nobody knows if the issuer has such a key.
        if state.keys.is_empty() || state.failures > 0 {
            let left = state.not_before.saturating_duration_since(now);
            Found::Unavailable(left.max(Self::MIN_BACKOFF))
        } else {
            Found::Unknown
        }
    }

    /// Begins a fetch, if it is time for one and there is none. The caller lets it
    /// [go](Begun::go) once nobody holds the lock.
    fn begin(self: &Arc<Self>, state: &mut State, now: Instant) -> Option<Begun> {
        if state.fetch.is_some() || now < state.not_before {
            return None;
        }
        // Without a runtime, nobody can: the next one that has one will.
        let runtime = Handle::try_current().ok()?;
        let (done, fetch) = watch::channel(());
        state.fetch = Some(fetch);
        state.not_before = now + JwksUrl::COOLDOWN;
        self.schedule(state);
        self.fetches.fetch_add(1, Relaxed);
        let fetching = Fetching {
            keyring: Arc::clone(self),
            outcome: None,
            _done: done,
        };
        Some(Begun { runtime, fetching })
    }

    async fn get(&self) -> Result<Vec<Jwk>, JwtError> {
        match &self.origin {
            Origin::Nowhere => Err(JwtErrorKind::Keys.into()),
            Origin::Url(fetcher) => Ok(fetcher.fetch().await?),
            Origin::File(path) => {
                let path = Arc::clone(path);
                let reading = spawn_blocking(move || keys::read(&path));
                // What lies on another machine may take for ever.
                let read = timeout(JwksUrl::TIMEOUT, reading).await;
                let failed = |error: BoxError| JwtError::new(JwtErrorKind::File, error);
                read.map_err(|elapsed| failed(elapsed.into()))?
                    .map_err(|panicked| failed(panicked.into()))?
            }
        }
    }

    /// Makes keys of what was fetched, which takes a while: not under the lock, because every token
    /// whose verdict is not known wants that.
    fn ready(&self, jwks: &[Jwk]) -> Result<KeySet, JwtError> {
        let keys = self.lock().keys.clone();
        Ok(keys.next(jwks, &self.algorithms)?)
    }

    /// A fetch is over, one way or another.
    fn settle(&self, outcome: Option<Result<KeySet, JwtError>>) {
        let now = Instant::now();
        let mut state = self.lock();
        state.fetch = None;
        state.asked = now;
        let next = outcome.unwrap_or_else(|| Err(JwtErrorKind::Fetch.into()));
        match next {
            Ok(next) => {
                state.keys.replace(next);
                state.as_of = Some(now);
                state.failures = 0;
                state.error = None;
                tracing::debug!(issuer = %self.issuer, keys = state.keys.len(), "fetched keys");
            }
            Err(error) => {
                state.failures = state.failures.saturating_add(1);
                // The last good ones stay, and go on to age (C69).
                state.not_before = now + backoff(&state);
                let (issuer, failures) = (&self.issuer, state.failures);
                tracing::warn!(%issuer, %error, source = error.source(), failures, "no new keys");
                state.error = Some(error);
            }
        }
        self.schedule(&state);
    }

    fn schedule(&self, state: &State) {
        let due = match (&self.origin, state.as_of) {
            (Origin::Nowhere, _) | (_, None) => Self::NEVER,
            (_, Some(as_of)) => {
                // A time that is told may be longer than any clock goes.
                let after = |time| self.since_birth(as_of).saturating_add(millis(time));
                let stale = after(self.max_stale());
                match &state.fetch {
                    Some(_) => {
                        let asked = self.since_birth(state.asked);
                        stale.min(asked.saturating_add(millis(self.doubt(state))))
                    }
                    None => {
                        let allowed = self.since_birth(state.not_before);
                        stale.min(after(self.refresh()).max(allowed))
                    }
                }
            }
        };
        self.due.store(due, Relaxed);
    }

    fn since_birth(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.born))
    }

    /// Fetches keys now, or waits for whoever does; not more often than allowed.
    ///
    /// # Errors
    ///
    /// If there are none afterwards.
    pub(super) async fn ensure(self: &Arc<Self>) -> Result<(), JwtError> {
        let wait = {
            let now = Instant::now();
            let mut state = self.lock();
            if !state.keys.is_empty() {
                return Ok(());
            }
            let begun = self.begin(&mut state, now);
            let wait = state.fetch.clone();
            drop(state);
            if let Some(begun) = begun {
                begun.go();
            }
            wait
        };
        if let Some(mut wait) = wait {
            while wait.changed().await.is_ok() {}
        }
        let mut state = self.lock();
        if state.keys.is_empty() {
            let error = state.error.take();
            return Err(error.unwrap_or_else(|| JwtErrorKind::Fetch.into()));
        }
        Ok(())
    }

    pub(super) fn fetches(&self) -> u64 {
        self.fetches.load(Relaxed)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().keys.len()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(Keyring::NEVER)
}

/// How long nothing is fetched after a failure.
fn backoff(state: &State) -> Duration {
    let first = if state.keys.is_empty() {
        Keyring::MIN_BACKOFF
    } else {
        JwksUrl::COOLDOWN
    };
    let doubled = first.saturating_mul(1 << state.failures.saturating_sub(1).min(16));
    doubled.min(Keyring::MAX_BACKOFF)
}

/// A fetch that is about to go its way.
#[must_use = "its keyring waits for it"]
struct Begun {
    runtime: Handle,
    fetching: Fetching,
}

impl Begun {
    /// In a task that does not depend on whoever needs the keys (D21).
    ///
    /// Never under the keyring's lock: a runtime that is being shut down drops the task on the spot, and
    /// that takes the lock (D24).
    fn go(self) {
        let Self { runtime, fetching } = self;
        runtime.spawn(fetching.run());
    }
}

/// A fetch on its way. However it ends, its keyring hears of it: also if its runtime is shut down.
struct Fetching {
    keyring: Arc<Keyring>,
    outcome: Option<Result<KeySet, JwtError>>,
    /// Dropped after the keyring has heard of it.
    _done: watch::Sender<()>,
}

impl Fetching {
    async fn run(mut self) {
        let fetched = self.keyring.get().await;
        self.outcome = Some(fetched.and_then(|jwks| self.keyring.ready(&jwks)));
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.keyring.settle(self.outcome.take());
    }
}

/// Waits for a fetch to be over.
pub(super) struct Wait {
    keyring: Arc<Keyring>,
    fetch: watch::Receiver<()>,
}

impl Wait {
    fn new(keyring: &Arc<Keyring>, fetch: watch::Receiver<()>) -> Option<Self> {
        if keyring.waiters.fetch_add(1, Relaxed) >= Keyring::MAX_WAITERS {
            keyring.waiters.fetch_sub(1, Relaxed);
            return None;
        }
        let keyring = Arc::clone(keyring);
        Some(Self { keyring, fetch })
    }

    pub(super) async fn over(mut self) {
        // Nothing is ever sent.
        while self.fetch.changed().await.is_ok() {}
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.keyring.waiters.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Keyring")
            .field("issuer", &self.issuer)
            .field("keys", &state.keys.len())
            .field("failures", &state.failures)
            .field("is_fetching", &state.fetch.is_some())
            .finish_non_exhaustive()
    }
}
