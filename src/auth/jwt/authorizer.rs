use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use tokio::{runtime::Handle, time::Instant};

use super::{
    Issuer, JwtError, JwtErrorKind, JwtStats,
    claims::{Claims, Times},
    digest::{Digest, Digests},
    fault::Fault,
    flight::{Boarding, Flight, Flights, Turn},
    future::Deciding,
    issuer::Policy,
    key::Key,
    keyring::{Found, Keyring, Wait},
    pace::{Pace, Queued},
    token::{MAX_TOKEN_BYTES, Token},
    verdicts::{Verdict, Verdicts},
};
use crate::auth::{Authorize, Credentials, Decision, Principal, Rejection};

/// Judges tokens that are signed JWTs.
///
/// See the [module docs](crate::auth::jwt). A clone costs a reference count, and shares keys and
/// verdicts.
#[derive(Clone)]
#[must_use]
pub struct JwtAuthorizer {
    shared: Arc<Shared>,
}

/// What the clones of one authorizer share.
pub(super) struct Shared {
    trusted: Vec<Trusted>,
    digests: Arc<Digests>,
    verdicts: Verdicts,
    flights: Arc<Flights>,
    pace: Pace,
    verified: AtomicU64,
    cache_bytes: usize,
}

/// An issuer that is trusted.
#[derive(Clone)]
struct Trusted {
    policy: Policy,
    keyring: Arc<Keyring>,
}

/// What has to happen before there is a decision.
pub(super) enum Step {
    Decided(Result<Principal, Rejection>),
    /// Keys are being fetched.
    Keys(Wait),
    /// Somebody else verifies the same token.
    Wait(Flight),
    /// A signature is to be checked, but not on this thread; and what the token says.
    Check(Check, Vec<u8>, Queued),
}

/// A token whose claims are all right, if its signature is.
pub(super) struct Check {
    key: Arc<Key>,
    algorithm: super::Algorithm,
    message_len: usize,
    signature: Vec<u8>,
    /// Which issuer's it is.
    issuer: usize,
    times: Times,
    digest: Digest,
    turn: Turn,
}

impl JwtAuthorizer {
    /// The longest token: 16 KiB.
    pub const MAX_TOKEN_BYTES: usize = MAX_TOKEN_BYTES;

    /// How much memory verdicts may take unless told otherwise: 8 MiB, which is enough for some 9,000
    /// tokens of 700 bytes.
    pub const DEFAULT_CACHE_BYTES: usize = 8 * 1024 * 1024;

    /// Accepts tokens of these issuers.
    ///
    /// It may read the system's certificates, which takes some time.
    ///
    /// # Errors
    ///
    /// If there are none or two of one name, if their keys are for none of their algorithms, or if the
    /// certificates cannot be read.
    pub fn new(issuers: impl IntoIterator<Item = Issuer>) -> Result<Self, JwtError> {
        let mut trusted: Vec<Trusted> = Vec::new();
        for issuer in issuers {
            let (policy, keys) = issuer.into_parts();
            if trusted
                .iter()
                .any(|other| other.policy.issuer == policy.issuer)
            {
                return Err(JwtErrorKind::Issuer.into());
            }
            let keyring = Arc::new(Keyring::new(&policy, keys)?);
            trusted.push(Trusted { policy, keyring });
        }
        if trusted.is_empty() {
            return Err(JwtErrorKind::Issuer.into());
        }
        Ok(Self::with(
            trusted,
            Arc::new(Digests::new()?),
            Self::DEFAULT_CACHE_BYTES,
            Pace::ALLOWANCE,
        ))
    }

    fn with(
        trusted: Vec<Trusted>,
        digests: Arc<Digests>,
        cache_bytes: usize,
        allowance: Duration,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                trusted,
                digests,
                verdicts: Verdicts::new(cache_bytes),
                flights: Arc::default(),
                pace: Pace::new(allowance),
                verified: AtomicU64::new(0),
                cache_bytes,
            }),
        }
    }

    /// Keeps verdicts in so many bytes: what tokens say, with all that belongs to it. 0 keeps none.
    ///
    /// It is another authorizer then, with a cache of its own.
    pub fn with_cache_bytes(self, bytes: usize) -> Self {
        let Shared {
            trusted, digests, ..
        } = &*self.shared;
        let digests = Arc::clone(digests);
        Self::with(trusted.clone(), digests, bytes, Pace::ALLOWANCE)
    }

    /// Fetches the keys of all issuers that have none yet. Without that, the first token that needs
    /// them does.
    ///
    /// # Errors
    ///
    /// If an issuer has none afterwards. It is tried again later, when a token comes.
    pub async fn fetch_keys(&self) -> Result<(), JwtError> {
        let mut fetched = Ok(());
        for trusted in &self.shared.trusted {
            fetched = fetched.and(trusted.keyring.ensure().await);
        }
        fetched
    }

    /// What there is.
    #[must_use]
    pub fn stats(&self) -> JwtStats {
        let (cached, cached_bytes, hits_total) = self.shared.verdicts.stats();
        let keyrings = self.shared.trusted.iter().map(|trusted| &trusted.keyring);
        JwtStats {
            keys: keyrings.clone().map(|keyring| keyring.len()).sum(),
            fetches_total: keyrings.map(|keyring| keyring.fetches()).sum(),
            cached,
            cached_bytes,
            hits_total,
            verified_total: self.shared.verified.load(Relaxed),
        }
    }
}

impl Authorize for JwtAuthorizer {
    type Future = Deciding;

    fn authorize(&self, credentials: Credentials<'_>) -> Decision<Self::Future> {
        let token = credentials.token();
        let Self { shared } = self;
        if token.len() > MAX_TOKEN_BYTES {
            return Decision::Now(Err(Fault::TooLong.into()));
        }
        let Ok(digest) = shared.digests.digest(token) else {
            return Decision::Now(Err(Fault::TooLong.into()));
        };
        let now = Instant::now();
        let mut is_doubtful = false;
        for trusted in &shared.trusted {
            is_doubtful |= trusted.keyring.tick(now);
        }
        // Whose keys they are that are doubtful, a digest does not say.
        if !is_doubtful && let Some(principal) = shared.verdicts.get(&digest, wall()) {
            return Decision::Now(Ok(principal));
        }
        match shared.judge(token, &digest, true) {
            Step::Decided(decided) => Decision::Now(decided),
            step => Decision::Later(Deciding::new(shared, token, digest, step)),
        }
    }
}

impl Shared {
    /// A verdict that has been reached in the meantime, or the next step to one.
    pub(super) fn next(&self, token: &str, digest: &Digest, waits: bool) -> Step {
        match self.verdicts.get(digest, wall()) {
            Some(principal) => Step::Decided(Ok(principal)),
            None => self.judge(token, digest, waits),
        }
    }

    /// Judges a token that is not known. `waits` says whether it may wait for keys.
    fn judge(&self, token: &str, digest: &Digest, waits: bool) -> Step {
        let now = Instant::now();
        let step = match self.look(token, digest, waits, now) {
            Ok(step) => step,
            Err(rejection) => Step::Decided(Err(rejection)),
        };
        // Also of those that came to no signature: there may be many of them (C61).
        self.pace.spend(now, Instant::now());
        step
    }

    /// What costs least comes first: a signature is checked only of a token that would do, and what it
    /// says is kept only if that is good.
    fn look(
        &self,
        text: &str,
        digest: &Digest,
        waits: bool,
        now: Instant,
    ) -> Result<Step, Rejection> {
        let token = Token::parse(text)?;
        let payload = token.payload;
        let claims = Claims::parse(&payload)?;
        let name = claims.issuer()?;
        let mut trusted = self.trusted.iter();
        // The key is looked for among that issuer's, and nowhere else (T22).
        let issuer = trusted.position(|trusted| *trusted.policy.issuer == *name);
        let issuer = issuer.ok_or(Fault::Issuer)?;
        let Trusted { policy, keyring } = &self.trusted[issuer];
        let times = policy.check(token.algorithm, token.typ.as_deref(), &claims, wall())?;
        claims.subject()?;
        let kid = token.kid.as_deref();
        let found = if waits {
            keyring.find(kid, now)
        } else {
            keyring.find_now(kid, now)
        };
        let key = match found {
            Found::Here(key) => key,
            Found::Soon(wait) => return Ok(Step::Keys(wait)),
            Found::Unknown => return Err(Fault::UnknownKey.into()),
            Found::Unavailable(after) => return Err(Rejection::unavailable(after)),
        };
        let turn = match self.flights.board(digest) {
            Boarding::Mine(turn) => turn,
            Boarding::Theirs(flight) => return Ok(Step::Wait(flight)),
        };
        // Whose turn it was before may have come to a verdict since, and nobody has looked if another
        // issuer's keys are doubtful.
        if let Some(principal) = self.verdicts.get(digest, wall()) {
            let known = Ok(principal);
            turn.land(&known);
            return Ok(Step::Decided(known));
        }
        let check = Check {
            key,
            algorithm: token.algorithm,
            message_len: token.message.len(),
            signature: token.signature,
            issuer,
            times,
            digest: *digest,
            turn,
        };
        // Outside of a runtime, there is no other thread.
        if self.pace.allows(now) || Handle::try_current().is_err() {
            let decided = self.check(check, text, &claims, &payload);
            return Ok(Step::Decided(decided));
        }
        match self.pace.place() {
            Some(place) => Ok(Step::Check(check, payload, place)),
            None => Err(Rejection::unavailable(Duration::from_secs(1))),
        }
    }

    /// Checks the signature on another thread.
    pub(super) fn check_there(
        &self,
        check: Check,
        token: &str,
        payload: &[u8],
    ) -> Result<Principal, Rejection> {
        self.check(check, token, &Claims::parse(payload)?, payload)
    }

    /// Checks the signature, and remembers if it is good.
    fn check(
        &self,
        check: Check,
        token: &str,
        claims: &Claims<'_>,
        payload: &[u8],
    ) -> Result<Principal, Rejection> {
        let Check {
            key,
            algorithm,
            message_len,
            signature,
            issuer,
            times,
            digest,
            turn,
        } = check;
        self.verified.fetch_add(1, Relaxed);
        let policy = &self.trusted[issuer].policy;
        let verified = key.verify(algorithm, &token[..message_len], &signature);
        let found = verified.and_then(|()| principal(policy, claims, payload, times));
        let outcome = match found {
            Ok(principal) => {
                let Times { start, end } = policy.with_leeway(times);
                let verdict = Verdict {
                    principal: principal.clone(),
                    key,
                    start: start.unwrap_or(i64::MIN),
                    end,
                };
                self.verdicts.insert(&digest, verdict, wall());
                Ok(principal)
            }
            Err(fault) => Err(fault.into()),
        };
        turn.land(&outcome);
        outcome
    }
}

/// Whose a token is that is what it says.
fn principal(
    policy: &Policy,
    claims: &Claims<'_>,
    payload: &[u8],
    times: Times,
) -> Result<Principal, Fault> {
    let text = claims.text(payload)?;
    let expiry = SystemTime::UNIX_EPOCH + Duration::from_millis(times.end.unsigned_abs());
    let mut builder = Principal::builder(claims.subject()?)
        .with_issuer(policy.issuer.clone())
        .with_scopes(claims.scopes()?)
        .with_expiry(expiry)
        .with_claims(text);
    if let Some(client) = claims.client()? {
        builder = builder.with_client(client);
    }
    builder.build().map_err(|_| Fault::Claims)
}

/// Milliseconds since 1970, by a clock that may be set (C45).
fn wall() -> i64 {
    millis_of(SystemTime::now())
}

fn millis_of(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    // A clock that says that it is earlier tells nothing, and then no token counts any more.
    since.map_or(i64::MAX, |since| since.as_millis() as i64)
}

impl fmt::Debug for JwtAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        let policies = shared.trusted.iter().map(|trusted| &trusted.policy);
        f.debug_struct("JwtAuthorizer")
            .field("issuers", &policies.collect::<Vec<_>>())
            .field("verdicts", &shared.verdicts)
            .field("cache_bytes", &shared.cache_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
