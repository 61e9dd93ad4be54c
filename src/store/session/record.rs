use std::{
    fmt,
    num::NonZeroU64,
    ops::Deref,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicI64, AtomicU32,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::Waker,
    time::Duration,
};

use http::{HeaderValue, Uri};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{
    activity::{Activity, HookKey},
    key::SessionKey,
    name::SessionName,
};
use crate::{protocol::ProtocolVersion, store::Owner};

/// What is known of a session, and on this node going on in it. A clone is the same one.
///
/// A record is made by the [`SessionStore`](super::SessionStore) that keeps the session.
#[derive(Clone)]
pub struct SessionRecord {
    inner: Arc<Inner>,
}

// What every request looks at comes first, on two cache lines: finding one of very many sessions is
// waiting for memory.
#[repr(C)]
struct Inner {
    /// Flags, the version, and how many leases there are.
    state: AtomicU32,
    /// For the store.
    place: AtomicU32,
    /// When it was used last.
    used: AtomicI64,
    owner: Owner,
    name: OnceLock<SessionName>,
    activity: Activity,
    streams: Owner,
}

/// No place in a store, yet or ever.
const NOWHERE: u32 = u32::MAX;
const NEVER: u32 = u32::MAX - 1;

const ENDED: u32 = 1 << 31;
const ESTABLISHED: u32 = 1 << 30;
const ENDING: u32 = 1 << 29;
const SETTLED: u32 = 1 << 28;
const OWED: u32 = 1 << 27;
/// One of the versions, counted from 1 on; 0 is none.
const VERSION: u32 = 0b111 << VERSION_AT;
const VERSION_AT: u32 = 24;
/// Each has a request or a response body, of which there are no 2²⁴.
const LEASES: u32 = (1 << VERSION_AT) - 1;

impl SessionRecord {
    /// A session that is open and has no name yet.
    #[must_use]
    pub fn new(owner: Owner, streams: Owner) -> Self {
        Self {
            inner: Arc::new(Inner {
                owner,
                streams,
                name: OnceLock::new(),
                used: AtomicI64::new(now()),
                state: AtomicU32::new(0),
                place: AtomicU32::new(NOWHERE),
                activity: Activity::default(),
            }),
        }
    }

    /// Names the session, once; [`establish`](Self::establish) has to follow. False if it has a name.
    #[must_use = "tells whether it is the name"]
    pub fn set_name(&self, name: SessionName) -> bool {
        self.inner.name.set(name).is_ok()
    }

    /// Lets it be leased. False if it has ended, or has no name.
    #[must_use = "tells whether it can be leased"]
    pub fn establish(&self) -> bool {
        let before = self.inner.state.fetch_or(ESTABLISHED, AcqRel);
        before & ENDED == 0 && self.inner.name.get().is_some()
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.inner.owner
    }

    /// Whose everything is that is stored for it: its owner's and its own (SES-7).
    #[must_use]
    pub fn streams(&self) -> Owner {
        self.inner.streams
    }

    /// [`streams`](Self::streams), for who need not keep it.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn as_streams(&self) -> &Owner {
        &self.inner.streams
    }

    /// Where it is found, once it is established.
    #[must_use]
    pub fn key(&self) -> Option<SessionKey> {
        self.name().map(|name| *name.key())
    }

    /// What its server calls it, once it is established.
    #[must_use]
    pub fn upstream(&self) -> Option<&HeaderValue> {
        self.name().map(SessionName::upstream)
    }

    /// Where its server is asked about it, if it is established and that is known.
    #[must_use]
    pub fn path(&self) -> Option<&Arc<Uri>> {
        self.name()?.path()
    }

    /// Whether `secret` is the second part of its id. The time does not depend on how much is right.
    #[must_use]
    pub fn verify(&self, secret: &[u8; 16]) -> bool {
        self.name()
            .is_some_and(|name| name.secret().ct_eq(secret).into())
    }

    /// What client and server have agreed on, as far as that is known.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        let state = self.inner.state.load(Relaxed);
        let nth = ((state & VERSION) >> VERSION_AT).checked_sub(1)?;
        ProtocolVersion::ALL.get(nth as usize).copied()
    }

    /// Notes what client and server have agreed on.
    pub fn set_version(&self, version: ProtocolVersion) {
        let nth = ProtocolVersion::ALL.iter().position(|one| *one == version);
        // There are five.
        let nth = nth.map_or(0, |nth| nth as u32 + 1) << VERSION_AT;
        let set = |state| Some(state & !VERSION | nth & VERSION);
        let _ = self.inner.state.fetch_update(AcqRel, Acquire, set);
    }

    /// Whether it has been established, and may have ended since.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.inner.state.load(Acquire) & ESTABLISHED != 0
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.inner.state.load(Acquire) & ENDED != 0
    }

    /// How many requests and responses are going on in it on this node.
    #[must_use]
    pub fn leases(&self) -> u32 {
        self.inner.state.load(Acquire) & LEASES
    }

    /// How long nobody has used it on this node; zero while there is a lease.
    #[must_use]
    pub fn idle(&self) -> Duration {
        if self.leases() > 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(u64::try_from(now() - self.inner.used.load(Relaxed)).unwrap_or(0))
    }

    /// Keeps it from expiring. `None` if it is not established, or has ended.
    #[must_use]
    pub fn lease(&self) -> Option<SessionLease> {
        let mut state = self.inner.state.load(Acquire);
        loop {
            if state & (ENDED | ESTABLISHED) != ESTABLISHED {
                return None;
            }
            let leased = self
                .inner
                .state
                .compare_exchange_weak(state, state + 1, AcqRel, Acquire);
            match leased {
                Ok(_) => {
                    return Some(SessionLease {
                        record: self.clone(),
                    });
                }
                Err(changed) => state = changed,
            }
        }
    }

    /// The lease of the one who opens it, and is going to name it.
    #[must_use]
    pub fn first_lease(self) -> SessionLease {
        self.inner.state.fetch_add(1, AcqRel);
        SessionLease { record: self }
    }

    /// Ends it for everybody on this node, who is told, once: streams end, hooks are called.
    pub fn end(&self) {
        if self.inner.state.fetch_or(ENDED, AcqRel) & ENDED == 0 {
            self.inner.activity.send();
        }
    }

    /// Ends it if nobody has a lease, but tells nobody yet: [`tell_end`](Self::tell_end) does.
    pub(super) fn end_unleased(&self) -> bool {
        let state = self.inner.state.load(Acquire);
        state & LEASES == 0
            && state & ENDED == 0
            && self
                .inner
                .state
                .compare_exchange(state, state | ENDED, AcqRel, Acquire)
                .is_ok()
    }

    pub(super) fn tell_end(&self) {
        self.inner.activity.send();
    }

    /// Calls `hook` when it ends, or now if it has ended. Another hook of that key is kept instead, if
    /// there is one.
    pub fn on_end(&self, key: HookKey, hook: impl FnOnce() + Send + 'static) {
        let late = self.inner.activity.add(key, hook, || self.is_ended());
        if let Some(hook) = late {
            hook();
        }
    }

    /// Has `waker` woken when it ends. False if it has ended.
    pub(crate) fn register(&self, ticket: &mut Option<u32>, waker: &Waker) -> bool {
        let is_over = || self.is_ended();
        self.inner.activity.register(ticket, waker, is_over)
    }

    pub(crate) fn deregister(&self, ticket: u32) {
        self.inner.activity.deregister(ticket);
    }

    /// Claims ids of requests, all or none; see [`release_ids`](Self::release_ids).
    pub(crate) fn claim_ids(&self, ids: &[NonZeroU64]) -> bool {
        self.inner.activity.claim(ids)
    }

    pub(crate) fn release_ids(&self, ids: &[NonZeroU64]) {
        self.inner.activity.release(ids);
    }

    /// Claims to be the one who asks the server to end it; [`release_end`](Self::release_end) takes
    /// that back.
    pub(crate) fn claim_end(&self) -> bool {
        self.inner.state.fetch_or(ENDING, AcqRel) & ENDING == 0
    }

    /// Claims to be the one who tells the server that it has ended. If somebody asks the server to end
    /// it just now, he is to tell it should nothing come of that.
    pub(crate) fn owe_end(&self) -> bool {
        let claim = |state| match state & ENDING {
            0 => Some(state | ENDING),
            _ => Some(state | OWED),
        };
        let before = self.inner.state.fetch_update(AcqRel, Acquire, claim);
        before.is_ok_and(|before| before & ENDING == 0)
    }

    /// Nothing has come of asking the server. True if it has to be told by the caller.
    #[must_use = "tells whether the server has to be told"]
    pub(crate) fn release_end(&self) -> bool {
        let release = |state| match state & OWED {
            0 => Some(state & !ENDING),
            // Who tells it keeps the claim.
            _ => Some(state & !OWED),
        };
        let before = self.inner.state.fetch_update(AcqRel, Acquire, release);
        before.is_ok_and(|before| before & OWED != 0)
    }

    /// Claims to be the one who sees to what follows from its end. Nobody takes that back.
    pub(crate) fn settle_end(&self) -> bool {
        self.inner.state.fetch_or(SETTLED, AcqRel) & SETTLED == 0
    }

    /// Whether the two are one.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// What it is called, once it is established.
    #[inline]
    pub(super) fn name(&self) -> Option<&SessionName> {
        self.inner.name.get()
    }

    #[inline]
    pub(super) fn key_ref(&self) -> Option<&SessionKey> {
        self.name().map(SessionName::key)
    }

    /// Whether it was not used since `before`, as [`now`] counts.
    #[inline]
    pub(super) fn is_idle_since(&self, before: i64) -> bool {
        // In this order: whoever gives a lease back has noted the time before.
        self.leases() == 0 && self.inner.used.load(Relaxed) <= before
    }

    /// Sees to it that it never gets a place. False if it has one, or that was seen to before.
    pub(super) fn renounce_place(&self) -> bool {
        let place = &self.inner.place;
        place
            .compare_exchange(NOWHERE, NEVER, Relaxed, Relaxed)
            .is_ok()
    }

    pub(super) fn place(&self) -> u32 {
        self.inner.place.load(Relaxed)
    }

    pub(super) fn set_place(&self, place: u32) {
        self.inner.place.store(place, Relaxed);
    }
}

/// Nanoseconds of the clock of the runtime, from some moment on; before that moment it is negative.
pub(crate) fn now() -> i64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    let epoch = *EPOCH.get_or_init(|| now);
    let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    match now.checked_duration_since(epoch) {
        Some(since) => nanos(since),
        // Each paused clock has a time of its own.
        None => -nanos(epoch.saturating_duration_since(now)),
    }
}

impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("owner", &self.owner())
            .field("version", &self.version())
            .field("is_established", &self.is_established())
            .field("is_ended", &self.is_ended())
            .field("leases", &self.leases())
            .finish_non_exhaustive()
    }
}

/// Keeps a session from expiring, until it is dropped.
#[derive(Debug)]
pub struct SessionLease {
    record: SessionRecord,
}

impl SessionLease {
    /// The session, which it is also a pointer to.
    #[must_use]
    pub const fn record(&self) -> &SessionRecord {
        &self.record
    }
}

impl Deref for SessionLease {
    type Target = SessionRecord;

    fn deref(&self) -> &SessionRecord {
        &self.record
    }
}

impl Drop for SessionLease {
    fn drop(&mut self) {
        let Self { record } = self;
        record.inner.used.store(now(), Relaxed);
        // After that: whoever finds no lease finds the time.
        record.inner.state.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests;
