use super::{FaultyFuture, FaultyStore, Operation};
use crate::{
    protocol::ProtocolVersion,
    store::{
        Expired, Owner, SessionKey, SessionLease, SessionName, SessionPage, SessionRecord,
        SessionStore,
    },
};

impl<T: SessionStore> SessionStore for FaultyStore<T> {
    type Open = FaultyFuture<SessionLease>;
    type Establish = FaultyFuture<()>;
    type Abandon = FaultyFuture<()>;
    type Load = FaultyFuture<SessionLease>;
    type Learn = FaultyFuture<()>;
    type End = FaultyFuture<()>;
    type Expire = FaultyFuture<Expired>;
    type List = FaultyFuture<SessionPage>;

    fn open(&self, owner: Owner, streams: Owner) -> Self::Open {
        let inner = self.inner.clone();
        self.faults
            .apply(Operation::OpenSession, move || inner.open(owner, streams))
    }

    fn establish(&self, session: &SessionRecord, name: SessionName) -> Self::Establish {
        let (inner, session) = (self.inner.clone(), session.clone());
        self.faults.apply(Operation::EstablishSession, move || {
            inner.establish(&session, name)
        })
    }

    fn abandon(&self, session: &SessionRecord) -> Self::Abandon {
        let (inner, session) = (self.inner.clone(), session.clone());
        self.faults
            .apply(Operation::AbandonSession, move || inner.abandon(&session))
    }

    fn load(&self, key: SessionKey, owner: Owner) -> Self::Load {
        let inner = self.inner.clone();
        self.faults
            .apply(Operation::LoadSession, move || inner.load(key, owner))
    }

    fn learn(&self, key: SessionKey, owner: Owner, version: ProtocolVersion) -> Self::Learn {
        let inner = self.inner.clone();
        self.faults.apply(Operation::LearnSession, move || {
            inner.learn(key, owner, version)
        })
    }

    fn end(&self, key: SessionKey, owner: Owner) -> Self::End {
        let inner = self.inner.clone();
        self.faults
            .apply(Operation::EndSession, move || inner.end(key, owner))
    }

    fn expire(&self, realm: u64, after: u64, limit: usize) -> Self::Expire {
        let inner = self.inner.clone();
        self.faults.apply(Operation::ExpireSessions, move || {
            inner.expire(realm, after, limit)
        })
    }

    fn list(&self, from: u64, limit: usize) -> Self::List {
        let inner = self.inner.clone();
        self.faults
            .apply(Operation::ListSessions, move || inner.list(from, limit))
    }
}
