use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use sha2::{Digest, Sha256};

use super::{
    keep::{Keep, is_settled},
    layer::Shared,
};
use crate::{
    protocol::ProtocolVersion,
    store::{Owner, SessionKey, SessionRecord, SessionStore, StoreError, StoreErrorKind},
};

/// Looks at the sessions of a [`SessionLayer`](super::SessionLayer), and ends them.
///
/// It also sees what other nodes have opened in the layer's realm, if the store is shared.
pub struct SessionHandle<T> {
    shared: Arc<Shared<T>>,
}

/// What a layer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Sessions that were given to a client.
    pub opened_total: u64,
    /// Sessions that ended here, one way or another.
    pub ended_total: u64,
    /// Of these, sessions that nobody used.
    pub expired_total: u64,
    /// Requests of a session that was unknown, foreign, or had ended.
    pub unknown_total: u64,
}

/// Names a session to [`SessionHandle::terminate`], and opens nothing: a digest of a part of its id.
///
/// As text it has 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionTag(u128);

/// A session, as [`SessionHandle::list`] shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// Which one it is.
    pub tag: SessionTag,
    /// Who may use it.
    pub principal: Owner,
    /// Whose everything is that is stored for it.
    pub owner: Owner,
    /// What client and server have agreed on.
    pub version: Option<ProtocolVersion>,
    /// How many requests and responses of it are under way on this node.
    pub active: u32,
    /// How long nobody has used it on this node.
    pub idle: Duration,
}

/// A part of the list of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionList {
    /// Some of them, in no order.
    pub sessions: Vec<SessionInfo>,
    /// Where the list goes on, if it does.
    pub next: Option<u64>,
}

impl<T: SessionStore> SessionHandle<T> {
    /// How many sessions are looked at before others have their turn.
    const PAGE: usize = 256;

    pub(super) const fn new(shared: Arc<Shared<T>>) -> Self {
        Self { shared }
    }

    /// Counts what was.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        let counters = &self.shared.counters;
        SessionStats {
            opened_total: counters.opened.load(Relaxed),
            ended_total: counters.ended.load(Relaxed),
            expired_total: counters.expired.load(Relaxed),
            unknown_total: counters.unknown.load(Relaxed),
        }
    }

    /// Up to `limit` sessions from a place on: `None` is the beginning of the list, the
    /// [`next`](SessionList::next) of a part is where it goes on. A part may be empty though the list
    /// goes on.
    ///
    /// # Errors
    ///
    /// If the store cannot tell.
    pub async fn list(&self, from: Option<u64>, limit: usize) -> Result<SessionList, StoreError> {
        let page = self.shared.store.list(from.unwrap_or(0), limit).await?;
        let next = page.next();
        let sessions = page.into_sessions().into_iter();
        let sessions = sessions.filter_map(|session| self.info(&session));
        Ok(SessionList {
            sessions: sessions.collect(),
            next,
        })
    }

    /// How many sessions there are: it goes through all of them, a few at a time.
    ///
    /// # Errors
    ///
    /// If the store cannot tell.
    pub async fn count(&self) -> Result<usize, StoreError> {
        let (mut count, mut from) = (0, 0);
        loop {
            let page = self.shared.store.list(from, Self::PAGE).await?;
            let next = page.next();
            let sessions = page.into_sessions();
            count += sessions.iter().filter(|one| self.is_ours(one)).count();
            match next {
                Some(next) => from = next,
                None => return Ok(count),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Ends a session for everybody: its streams end, its server is told, and its id is unknown from
    /// then on (ADM-2). False if there is no such session.
    ///
    /// It goes through the sessions, a few at a time, to find the one.
    ///
    /// # Errors
    ///
    /// If the store cannot say so. If it was found, it has ended on this node, its server is told, and
    /// the store is asked until it has forgotten it.
    ///
    /// # Cancellation
    ///
    /// Dropped while it looks for the session, it has ended nothing; dropped later, the rest is done
    /// nevertheless.
    pub async fn terminate(&self, tag: SessionTag) -> Result<bool, StoreError> {
        let mut from = 0;
        loop {
            let page = self.shared.store.list(from, Self::PAGE).await?;
            let next = page.next();
            for session in page.into_sessions() {
                let key = session.key().filter(|_| self.is_ours(&session));
                if let Some(key) = key.filter(|key| SessionTag::of(key) == tag) {
                    return self.end(&session, key).await;
                }
            }
            match next {
                Some(next) => from = next,
                None => return Ok(false),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn end(&self, session: &SessionRecord, key: SessionKey) -> Result<bool, StoreError> {
        let keep: &dyn Keep = &*self.shared;
        if !self.shared.see_to_end(session) {
            return Ok(false);
        }
        self.shared.backlog.tell(session);
        let mut owed = Owed {
            keep,
            session: Some(session),
        };
        let ended = self.shared.store.end(key, session.owner()).await;
        if is_settled(&ended) {
            owed.session = None;
        }
        match ended {
            // The store may have known already; here it has ended just now.
            Err(error) if error.kind() != StoreErrorKind::NotFound => Err(error),
            _ => Ok(true),
        }
    }

    fn info(&self, session: &SessionRecord) -> Option<SessionInfo> {
        let key = session.key().filter(|_| self.is_ours(session))?;
        Some(SessionInfo {
            tag: SessionTag::of(&key),
            principal: session.owner(),
            owner: session.streams(),
            version: session.version(),
            active: session.leases(),
            idle: session.idle(),
        })
    }

    /// Whether it is of the layer's realm. One that has ended here is over, though the store may have
    /// to be told so again.
    fn is_ours(&self, session: &SessionRecord) -> bool {
        let realm = self.shared.config.realm;
        let is_of_realm = session.key().is_some_and(|key| key.realm() == realm);
        is_of_realm && !session.is_ended()
    }
}

/// What the store has to do for a session that has ended, until it has done it.
struct Owed<'a> {
    keep: &'a dyn Keep,
    session: Option<&'a SessionRecord>,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        let Self { keep, session } = self;
        if let Some(session) = session {
            keep.forget_later(session);
        }
    }
}

impl<T> Clone for SessionHandle<T> {
    fn clone(&self) -> Self {
        let Self { shared } = self;
        Self {
            shared: Arc::clone(shared),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for SessionHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shared } = self;
        f.debug_struct("SessionHandle")
            .field("store", &shared.store)
            .finish_non_exhaustive()
    }
}

impl SessionTag {
    fn of(key: &SessionKey) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"session tag");
        digest.update(key.realm().to_be_bytes());
        digest.update(key.id());
        let digest: [u8; 32] = digest.finalize().into();
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        Self(u128::from_be_bytes(first))
    }
}

impl fmt::Display for SessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for SessionTag {
    type Err = InvalidSessionTag;

    fn from_str(text: &str) -> Result<Self, InvalidSessionTag> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u128::from_str_radix(text, 16) {
            Ok(tag) if is_hex => Ok(Self(tag)),
            _ => Err(InvalidSessionTag(())),
        }
    }
}

/// A text is no [`SessionTag`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSessionTag(());

impl fmt::Display for InvalidSessionTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session tag has 32 hexadecimal digits")
    }
}

impl std::error::Error for InvalidSessionTag {}

/// What a layer counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    opened: AtomicU64,
    ended: AtomicU64,
    expired: AtomicU64,
    unknown: AtomicU64,
}

impl Counters {
    pub(super) fn count_opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    pub(super) fn count_ended(&self) {
        self.ended.fetch_add(1, Relaxed);
    }

    pub(super) fn count_expired(&self) {
        self.expired.fetch_add(1, Relaxed);
    }

    pub(super) fn count_unknown(&self) {
        self.unknown.fetch_add(1, Relaxed);
    }
}
