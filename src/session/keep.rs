use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{backlog::Attempt, duty::Duty, layer::Shared, pending::Wait};
use crate::{
    protocol::ProtocolVersion,
    store::{SessionName, SessionRecord, SessionStore, StoreError, StoreErrorKind},
};

/// What has to be done about a session where nobody can wait for it, and the store's type is not
/// known. What the store does not do at once goes to the backlog.
pub(super) trait Keep: Send + Sync {
    /// Takes back a session that was not given.
    fn abandon(&self, session: &SessionRecord);

    /// Ends a session, which its server is told.
    fn end(&self, session: &SessionRecord);

    /// Has the store forget a session that has ended.
    fn forget_later(&self, session: &SessionRecord);

    /// Notes what server and client have agreed on.
    fn learn(&self, session: &SessionRecord, version: ProtocolVersion);

    /// Takes back a session that was not given, though the store may have named it so.
    fn disown(&self, session: &SessionRecord, name: SessionName);

    /// Takes back a session that is still being opened.
    fn abandon_later(&self, opening: Wait);
}

impl<T: SessionStore> Keep for Shared<T> {
    fn abandon(&self, session: &SessionRecord) {
        session.end();
        if !is_done(self.store.abandon(session)) {
            self.backlog.add(Duty::Abandon(session.clone()));
        }
    }

    fn end(&self, session: &SessionRecord) {
        if self.see_to_end(session) {
            self.forget(session);
            self.backlog.tell(session);
        }
    }

    fn forget_later(&self, session: &SessionRecord) {
        self.backlog.add(Duty::End(session.clone()));
    }

    fn learn(&self, session: &SessionRecord, version: ProtocolVersion) {
        session.set_version(version);
        let Some(key) = session.key() else {
            return;
        };
        if !is_done(self.store.learn(key, session.owner(), version)) {
            self.backlog
                .attempt(Attempt::Learn(session.clone(), version));
        }
    }

    fn disown(&self, session: &SessionRecord, name: SessionName) {
        self.backlog.add(Duty::Disown(session.clone(), name));
    }

    fn abandon_later(&self, opening: Wait) {
        self.backlog.attempt(Attempt::Abandon(opening));
    }
}

impl<T: SessionStore> Shared<T> {
    /// Ends a session for everybody on this node, whatever the store says. True for the first one who
    /// does, who sees to the rest: whoever else finds it ended does nothing.
    pub(super) fn see_to_end(&self, session: &SessionRecord) -> bool {
        session.end();
        let is_first = session.settle_end();
        if is_first {
            self.counters.count_ended();
        }
        is_first
    }

    fn forget(&self, session: &SessionRecord) {
        if let Some(key) = session.key()
            && !is_done(self.store.end(key, session.owner()))
        {
            self.forget_later(session);
        }
    }

    /// Takes note that the store has let a session expire.
    pub(super) fn expired(&self, session: &SessionRecord) {
        if self.see_to_end(session) {
            self.counters.count_expired();
            self.backlog.tell(session);
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::{
        session::SessionLayer,
        store::{MemorySessionStore, Owner, SessionKey, faulty::FaultyStore},
    };

    #[test]
    fn ver9_store_that_is_slow_to_learn_a_version_is_asked_again_where_nobody_waits() {
        let version = ProtocolVersion::V2025_06_18;
        for polls in [0, 1] {
            let store = FaultyStore::new(MemorySessionStore::new());
            let layer = SessionLayer::new(store.clone());
            let open = at_once(store.open(Owner::ANONYMOUS, Owner::ANONYMOUS));
            let lease = open.ok().expect("at once").expect("room");
            let upstream = HeaderValue::from_static("up");
            let name = SessionName::new(SessionKey::new(1, [1; 16]), [1; 16], upstream);
            assert!(is_done(store.establish(&lease, name)));
            store.faults().slow_down(polls);
            layer.shared.learn(&lease, version);
            assert_eq!(lease.version(), Some(version), "on this node");
            let attempt = layer.shared.backlog.next_attempt();
            let asks = match attempt {
                Some(Attempt::Learn(session, learned)) => {
                    session.is_same(&lease) && learned == version
                }
                _ => false,
            };
            assert_eq!(asks, polls > 0);
        }
    }
}
