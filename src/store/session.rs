use std::{fmt, future::Future, time::Duration};

use super::{Owner, StoreError};
use crate::protocol::ProtocolVersion;

mod activity;
mod encode;
mod key;
mod memory;
mod name;
mod record;

pub(crate) use self::record::now;
pub use self::{
    activity::HookKey,
    key::SessionKey,
    memory::{MemorySessionStats, MemorySessionStore},
    name::SessionName,
    record::{SessionLease, SessionRecord},
};

/// Keeps sessions, so that every request of one is found to be its owner's.
///
/// A session is opened when somebody asks for one, established when the server has given it, and
/// then loaded with each request until it ends. It ends once, for good: its key is never anybody's
/// again.
///
/// What is handed out is a [`SessionRecord`], by a [`SessionLease`]. On one node there is one record
/// per session as long as anybody has it, because its end is told through it: a store that reads a
/// session from somewhere else keeps in mind which it has handed out. A session whose record is
/// leased on any node does not expire.
///
/// The futures are `Unpin`, as those of an [`EventStore`](super::EventStore). A future that is dropped
/// half way may or may not have had its effect; nothing is left locked.
///
/// Whether a store keeps this contract is for `run_sessions` and `run_expiry` in `store::contract` to
/// check.
pub trait SessionStore: Clone + fmt::Debug + Send + Sync + 'static {
    /// The future of [`open`](Self::open).
    type Open: Future<Output = Result<SessionLease, StoreError>> + Send + Unpin + 'static;
    /// The future of [`establish`](Self::establish).
    type Establish: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;
    /// The future of [`abandon`](Self::abandon).
    type Abandon: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;
    /// The future of [`load`](Self::load).
    type Load: Future<Output = Result<SessionLease, StoreError>> + Send + Unpin + 'static;
    /// The future of [`learn`](Self::learn).
    type Learn: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;
    /// The future of [`end`](Self::end).
    type End: Future<Output = Result<(), StoreError>> + Send + Unpin + 'static;
    /// The future of [`expire`](Self::expire).
    type Expire: Future<Output = Result<Expired, StoreError>> + Send + Unpin + 'static;
    /// The future of [`list`](Self::list).
    type List: Future<Output = Result<SessionPage, StoreError>> + Send + Unpin + 'static;

    /// Makes room for a session of `owner`, that has no name yet. What is stored for it is going to
    /// belong to `streams`.
    ///
    /// From now on it counts. Either [`establish`](Self::establish) or [`abandon`](Self::abandon) has
    /// to follow; a store that cannot rely on that forgets it after a while.
    ///
    /// # Errors
    ///
    /// `OverQuota` if `owner` has too many, `Unavailable` if all together have.
    fn open(&self, owner: Owner, streams: Owner) -> Self::Open;

    /// Gives an open session its name: from now on it is loaded by the key in it.
    ///
    /// Asked again with the same session and name, as whoever had no answer does, it says whether that
    /// is the name: as long as the session is there, it is.
    ///
    /// # Errors
    ///
    /// `Conflict` if another session of that key is there or was, or another one of the realm is called
    /// the same by its server (B11, B14); `NotFound` if it has ended meanwhile. It stays open then, to
    /// be abandoned. With any other error it is not known whether it has that name.
    fn establish(&self, session: &SessionRecord, name: SessionName) -> Self::Establish;

    /// Takes back a session that was opened and not established. Another one is left alone.
    ///
    /// # Errors
    ///
    /// If the store cannot say so.
    fn abandon(&self, session: &SessionRecord) -> Self::Abandon;

    /// The session of that key. It is not idle while the lease is there, and as of now when the lease
    /// ends.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is none, it has ended or expired, or is not `owner`'s: the four look alike.
    fn load(&self, key: SessionKey, owner: Owner) -> Self::Load;

    /// Notes which revision client and server have agreed on.
    ///
    /// # Errors
    ///
    /// `NotFound` as for [`load`](Self::load).
    fn learn(&self, key: SessionKey, owner: Owner, version: ProtocolVersion) -> Self::Learn;

    /// Ends a session, whoever has leased it, and tells its record.
    ///
    /// # Errors
    ///
    /// `NotFound` as for [`load`](Self::load), so that of many who end it one succeeds.
    fn end(&self, key: SessionKey, owner: Owner) -> Self::End;

    /// Ends some of the sessions that nobody has used for long, and says when to ask again.
    ///
    /// Those of `realm` are given to the caller: it tells their server, and only it knows which one
    /// that is (B10, B16). Sessions of other realms may end meanwhile; they are kept for whoever asks
    /// for those.
    ///
    /// An answer may be lost, so a session is given again until the caller says that it has had it
    /// (SES-11): it has had everything up to `after`, which is the [`last`](Expired::last) of an answer,
    /// or 0 if there was none. A store that several nodes share gives a session to another one only once
    /// the first has not asked for long.
    ///
    /// Each call does little, so that nobody has to wait for it (C60); `limit` is how many sessions
    /// it may give.
    ///
    /// # Errors
    ///
    /// If the store cannot tell.
    fn expire(&self, realm: u64, after: u64, limit: usize) -> Self::Expire;

    /// Up to `limit` sessions from a place in the list on: 0 is its beginning, [`SessionPage::next`]
    /// says how to go on.
    ///
    /// Those that are there all the time are listed once; others may or may not be.
    ///
    /// # Errors
    ///
    /// If the store cannot tell.
    fn list(&self, from: u64, limit: usize) -> Self::List;
}

/// What [`SessionStore::expire`] has done.
#[derive(Debug)]
#[must_use]
pub struct Expired {
    sessions: Vec<SessionRecord>,
    last: u64,
    again_in: Duration,
}

impl Expired {
    /// Those sessions of the realm have ended, of which `last` names the last one; there is more to do
    /// in `again_in`. The names of later sessions are greater; if there is none, it is the `after` of
    /// the call.
    pub const fn new(sessions: Vec<SessionRecord>, last: u64, again_in: Duration) -> Self {
        Self {
            sessions,
            last,
            again_in,
        }
    }

    /// What the next call says so that those sessions are not given again.
    #[must_use]
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// When to ask again; zero says that there is more to do.
    #[must_use]
    pub const fn again_in(&self) -> Duration {
        self.again_in
    }

    /// The sessions that have ended.
    #[must_use]
    pub fn into_sessions(self) -> Vec<SessionRecord> {
        self.sessions
    }
}

/// A part of the list of all sessions.
#[derive(Debug)]
#[must_use]
pub struct SessionPage {
    sessions: Vec<SessionRecord>,
    next: Option<u64>,
}

impl SessionPage {
    /// Those sessions; the list goes on at `next`.
    pub const fn new(sessions: Vec<SessionRecord>, next: Option<u64>) -> Self {
        Self { sessions, next }
    }

    /// Where the list goes on, if it does.
    #[must_use]
    pub const fn next(&self) -> Option<u64> {
        self.next
    }

    /// The sessions.
    #[must_use]
    pub fn into_sessions(self) -> Vec<SessionRecord> {
        self.sessions
    }
}
