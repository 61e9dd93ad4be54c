use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use http::HeaderValue;

use super::{Session, chores::Chore, layer::Shared};
use crate::{
    protocol::ProtocolVersion,
    store::{SessionRecord, SessionStore, StoreError, StoreErrorKind},
};

/// What has to be done about a session where nobody can wait for it, and the store's type is not
/// known. What the store does not do at once becomes a chore.
pub(super) trait Keep: Send + Sync {
    /// Takes back a session that was not given.
    fn abandon(&self, session: &SessionRecord);

    /// Ends a session, which its server is told.
    fn end(&self, session: &SessionRecord);

    /// Notes what server and client have agreed on.
    fn learn(&self, session: &SessionRecord, version: ProtocolVersion);

    /// Tells a server that nobody uses what it has given.
    fn hang_up(&self, session: &SessionRecord, upstream: HeaderValue);

    /// Takes note that a session is over for its server, and that the store has forgotten it, or not.
    fn ended(&self, session: &SessionRecord, done: &Result<(), StoreError>);

    /// Sees something through that nobody waits for any more.
    fn later(&self, rest: Pin<Box<dyn Future<Output = ()> + Send>>);
}

impl<T: SessionStore> Keep for Shared<T> {
    fn abandon(&self, session: &SessionRecord) {
        if !is_done(self.store.abandon(session)) {
            self.chores.add(Chore::Abandon(session.clone()));
        }
        // It may have been established after all. If not, its name may be another's.
        if let Some(key) = session.key().filter(|_| session.is_established())
            && !is_done(self.store.end(key, session.owner()))
        {
            self.chores.add(Chore::End(session.clone()));
        }
        session.end();
    }

    fn end(&self, session: &SessionRecord) {
        let (Some(key), Some(upstream)) = (session.key(), session.upstream()) else {
            return;
        };
        if !is_done(self.store.end(key, session.owner())) {
            self.chores.add(Chore::End(session.clone()));
        }
        session.end();
        self.counters.count_ended();
        self.hang_up(session, upstream.clone());
    }

    fn learn(&self, session: &SessionRecord, version: ProtocolVersion) {
        session.set_version(version);
        let Some(key) = session.key() else {
            return;
        };
        if !is_done(self.store.learn(key, session.owner(), version)) {
            self.chores.add(Chore::Learn(session.clone(), version));
        }
    }

    fn hang_up(&self, session: &SessionRecord, upstream: HeaderValue) {
        let session = Session::new(session.clone());
        self.chores.add(Chore::HangUp { session, upstream });
    }

    fn ended(&self, session: &SessionRecord, done: &Result<(), StoreError>) {
        if !is_settled(done) {
            self.chores.add(Chore::End(session.clone()));
        }
        session.end();
        self.counters.count_ended();
    }

    fn later(&self, rest: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.chores.add(Chore::Rest(rest));
    }
}

impl<T: SessionStore> Shared<T> {
    /// Takes note that the store has let a session expire.
    pub(super) fn expired(&self, session: &SessionRecord) {
        session.end();
        self.counters.count_expired();
        if let Some(upstream) = session.upstream() {
            self.hang_up(session, upstream.clone());
        }
    }
}

/// Whether the store did it at once, or never will.
fn is_done(future: impl Future<Output = Result<(), StoreError>> + Unpin) -> bool {
    match at_once(future) {
        Ok(result) => is_settled(&result),
        Err(_) => false,
    }
}

/// Whether it is of no use to try again.
pub(super) fn is_settled(result: &Result<(), StoreError>) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => error.kind() == StoreErrorKind::NotFound,
    }
}

/// The output of a future that is ready at once, or the future. Polled again then, it learns of a
/// waker that wakes.
pub(super) fn at_once<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(&mut future).poll(&mut cx) {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}
