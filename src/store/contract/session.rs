use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http::HeaderValue;

use super::{
    stream::{assert_kind, fresh_key, fresh_owner, poll},
    within_limit,
};
use crate::{
    protocol::ProtocolVersion,
    store::{
        HookKey, Owner, SessionKey, SessionLease, SessionName, SessionStore,
        StoreErrorKind::{Conflict, NotFound},
    },
};

/// Everything that a store of sessions has to do.
///
/// It may hold other sessions. It should have room for 100 more, of which none expires within a
/// minute.
///
/// # Panics
///
/// If the store does something else, or nothing for a minute.
pub async fn run_sessions<T: SessionStore>(mut make: impl FnMut() -> T) {
    within_limit("sessions live", live(make())).await;
    within_limit("sessions are owned", b01_foreign_is_unknown(make())).await;
    within_limit("names are unique", b11_names_are_unique(make())).await;
    let test = b11_name_is_asked_for_again(make());
    within_limit("names are asked for again", test).await;
    within_limit("sessions end once", end_once(make())).await;
    within_limit("sessions are listed", are_listed(make())).await;
    for polls in 0..8 {
        let test = a_dropped_future_leaves_nothing_locked(make(), polls);
        within_limit("futures are dropped", test).await;
    }
}

/// A session that is established, and how it is found.
pub(super) struct Given<T> {
    store: T,
    pub(super) key: SessionKey,
    owner: Owner,
    pub(super) lease: SessionLease,
    upstream: HeaderValue,
}

const SECRET: [u8; 16] = [3; 16];

pub(super) fn fresh(realm: u64) -> SessionKey {
    SessionKey::new(realm, *fresh_key().as_bytes())
}

pub(super) fn fresh_upstream() -> HeaderValue {
    let text = format!("up-{:032x}", u128::from_le_bytes(*fresh_key().as_bytes()));
    HeaderValue::try_from(text).expect("visible ASCII")
}

impl<T: SessionStore> Given<T> {
    pub(super) async fn new(store: &T, owner: Owner) -> Self {
        Self::named(store, owner, fresh(7), fresh_upstream()).await
    }

    pub(super) async fn named(
        store: &T,
        owner: Owner,
        key: SessionKey,
        upstream: HeaderValue,
    ) -> Self {
        let lease = store.open(owner, fresh_owner()).await;
        let lease = lease.expect("there should be room for a session");
        let named = store
            .establish(&lease, SessionName::new(key, SECRET, upstream.clone()))
            .await;
        named.expect("a session of a new name should be established");
        Self {
            store: store.clone(),
            key,
            owner,
            lease,
            upstream,
        }
    }

    pub(super) async fn load(&self) -> SessionLease {
        let loaded = self.store.load(self.key, self.owner).await;
        loaded.expect("the owner should find the session")
    }

    async fn is_gone(&self, why: &str) {
        let loaded = self.store.load(self.key, self.owner).await;
        assert_kind(loaded, NotFound, why);
        assert!(self.lease.is_ended(), "{why}: its record should know");
    }
}

async fn live<T: SessionStore>(store: T) {
    for owner in [fresh_owner(), Owner::ANONYMOUS] {
        let streams = fresh_owner();
        let lease = store.open(owner, streams).await.expect("there is room");
        assert!(!lease.is_established() && !lease.is_ended());
        assert_eq!((lease.owner(), lease.streams()), (owner, streams));
        let (key, upstream) = (fresh(1), fresh_upstream());
        let loaded = store.load(key, owner).await;
        assert_kind(loaded, NotFound, "to load what has no name yet");
        let named = store
            .establish(&lease, SessionName::new(key, SECRET, upstream.clone()))
            .await;
        named.expect("it should be established");

        let loaded = store.load(key, owner).await.expect("it should be found");
        assert!(
            loaded.is_same(&lease),
            "a node should have one record of a session"
        );
        assert_eq!(loaded.upstream(), Some(&upstream));
        assert!(loaded.verify(&SECRET) && !loaded.verify(&[4; 16]));
        assert!(loaded.is_established() && loaded.version().is_none());
        assert_eq!(loaded.leases(), 2);
        let version = ProtocolVersion::V2025_06_18;
        let learned = store.learn(key, owner, version).await;
        learned.expect("a version should be learned");
        // Also when nobody had it meanwhile.
        drop((lease, loaded));
        let loaded = store.load(key, owner).await.expect("it should be found");
        assert_eq!(loaded.version(), Some(version));
        assert_eq!((loaded.owner(), loaded.streams()), (owner, streams));
        assert_eq!(loaded.leases(), 1);
    }
    // Nothing that was taken back is there.
    let owner = fresh_owner();
    let lease = store.open(owner, fresh_owner()).await.expect("room");
    let abandoned = store.abandon(&lease).await;
    abandoned.expect("what is open can be abandoned");
    let given = Given::new(&store, owner).await;
    let abandoned = store.abandon(&given.lease).await;
    abandoned.expect("to abandon what is established should do nothing");
    given.load().await;
}

async fn b01_foreign_is_unknown<T: SessionStore>(store: T) {
    let given = Given::new(&store, fresh_owner()).await;
    let open = Given::new(&store, Owner::ANONYMOUS).await;
    let (key, owner) = (given.key, given.owner);
    let other_realm = SessionKey::new(8, *key.id());
    for (key, owner) in [
        (key, fresh_owner()),
        (key, Owner::ANONYMOUS),
        (open.key, owner),
        (fresh(7), owner),
        (other_realm, owner),
    ] {
        assert_kind(store.load(key, owner).await, NotFound, "to load");
        assert_kind(store.end(key, owner).await, NotFound, "to end");
        let version = ProtocolVersion::V2025_06_18;
        let learned = store.learn(key, owner, version).await;
        assert_kind(learned, NotFound, "to learn");
    }
    assert_eq!(given.load().await.version(), None);
    assert!(!open.load().await.is_ended());
}

async fn b11_names_are_unique<T: SessionStore>(store: T) {
    let owner = fresh_owner();
    let given = Given::new(&store, owner).await;
    for owner in [owner, fresh_owner()] {
        for (key, upstream) in [
            (given.key, fresh_upstream()),
            (fresh(7), given.upstream.clone()),
        ] {
            let lease = store.open(owner, fresh_owner()).await.expect("room");
            let named = store
                .establish(&lease, SessionName::new(key, SECRET, upstream))
                .await;
            assert_kind(named, Conflict, "to take a name that is another's");
            store.abandon(&lease).await.expect("it can be abandoned");
        }
    }
    given.load().await;
    // B16: another realm has names of its own.
    let (id, upstream) = (*given.key.id(), given.upstream.clone());
    let other = Given::named(&store, owner, SessionKey::new(9, id), upstream.clone()).await;
    assert!(!other.load().await.is_same(&given.lease));
    // What its server calls it is free again once it has ended; its key is not (B14).
    let ended = store.end(given.key, owner).await;
    ended.expect("the owner should end it");
    let lease = store.open(owner, fresh_owner()).await.expect("room");
    let named = store.establish(
        &lease,
        SessionName::new(given.key, SECRET, fresh_upstream()),
    );
    assert_kind(named.await, Conflict, "to take the name of what has ended");
    store.abandon(&lease).await.expect("it can be abandoned");
    let again = Given::named(&store, owner, fresh(7), upstream).await;
    again.load().await;
    given.is_gone("it has ended").await;
}

async fn b11_name_is_asked_for_again<T: SessionStore>(store: T) {
    let given = Given::new(&store, fresh_owner()).await;
    let name = |key, upstream: &HeaderValue| SessionName::new(key, SECRET, upstream.clone());
    for _ in 0..2 {
        let again = store.establish(&given.lease, name(given.key, &given.upstream));
        let again = again.await;
        again.expect("who had no answer and asks again should be told that it is the name");
        assert!(given.load().await.is_same(&given.lease));
    }
    for (key, upstream) in [
        (fresh(7), given.upstream.clone()),
        (given.key, fresh_upstream()),
    ] {
        let other = store.establish(&given.lease, name(key, &upstream)).await;
        assert_kind(other, Conflict, "to take a second name");
    }
    given.load().await;
    // What was another's stays another's, however often somebody asks.
    let lease = store.open(given.owner, fresh_owner()).await.expect("room");
    let key = fresh(7);
    for _ in 0..2 {
        let named = store.establish(&lease, name(key, &given.upstream)).await;
        assert_kind(named, Conflict, "to take a name that is another's");
    }
    store.abandon(&lease).await.expect("it can be abandoned");
    let ended = store.end(given.key, given.owner).await;
    ended.expect("the owner should end it once, however often it was named");
    let again = store.establish(&given.lease, name(given.key, &given.upstream));
    assert!(again.await.is_err(), "what has ended has no name");
    given.is_gone("it has ended").await;
}

async fn end_once<T: SessionStore>(store: T) {
    let given = Given::new(&store, fresh_owner()).await;
    let calls = Arc::<AtomicUsize>::default();
    let key = HookKey::new();
    for key in [key, key, HookKey::new()] {
        let calls = Arc::clone(&calls);
        given.lease.on_end(key, move || {
            calls.fetch_add(1, Relaxed);
        });
    }
    let ends: Vec<_> = (0..8)
        .map(|_| tokio::spawn(store.end(given.key, given.owner)))
        .collect();
    let mut ended = 0;
    for end in ends {
        let end = end.await.expect("a store should not panic");
        match end {
            Ok(()) => ended += 1,
            Err(error) => assert_eq!(error.kind(), NotFound, "{error}"),
        }
    }
    assert_eq!(ended, 1, "of many one should end it");
    given.is_gone("it has ended").await;
    assert_eq!(calls.load(Relaxed), 2, "one hook per key should be called");
    let late = Arc::clone(&calls);
    given.lease.on_end(key, move || {
        late.fetch_add(1, Relaxed);
    });
    assert_eq!(
        calls.load(Relaxed),
        3,
        "it should not be too late for a hook"
    );
    assert!(given.lease.lease().is_none());
}

async fn are_listed<T: SessionStore>(store: T) {
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(Given::new(&store, fresh_owner()).await);
    }
    let ended = all.pop().expect("there are some");
    let end = store.end(ended.key, ended.owner).await;
    end.expect("the owner should end it");
    for limit in [0, 1, 7, 1000] {
        let (mut from, mut seen) = (0, HashSet::new());
        loop {
            let page = store.list(from, limit).await.expect("it should be listed");
            let next = page.next();
            for session in page.into_sessions() {
                let key = session.key().expect("what is listed has a name");
                assert!(seen.insert(key), "each should be listed once");
            }
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        assert!(all.iter().all(|one| seen.contains(&one.key)));
        assert!(!seen.contains(&ended.key), "what has ended is not there");
    }
    let expired = store.expire(7, 0, 1000).await.expect("it should be told");
    let expired = expired.into_sessions();
    let is_here = |one: &Given<T>| expired.iter().any(|gone| gone.is_same(&one.lease));
    assert!(!all.iter().any(is_here), "what is leased does not expire");
}

async fn a_dropped_future_leaves_nothing_locked<T: SessionStore>(store: T, polls: u32) {
    let owner = fresh_owner();
    give_up(store.open(owner, fresh_owner()), polls).await;
    let lease = store.open(owner, fresh_owner()).await.expect("room");
    let named = store.establish(&lease, SessionName::new(fresh(7), SECRET, fresh_upstream()));
    give_up(named, polls).await;
    store.abandon(&lease).await.expect("it can be abandoned");

    let given = Given::new(&store, owner).await;
    let (key, version) = (given.key, ProtocolVersion::V2025_11_25);
    give_up(store.load(key, owner), polls).await;
    give_up(store.learn(key, owner, version), polls).await;
    give_up(store.expire(7, 0, 10), polls).await;
    give_up(store.list(0, 10), polls).await;
    given.load().await;
    give_up(store.end(key, owner), polls).await;
    // Whether it has ended is not known; now it has.
    if let Err(error) = store.end(key, owner).await {
        assert_eq!(error.kind(), NotFound, "{error}");
    }
    given.is_gone("it has ended").await;
    Given::new(&store, owner).await.load().await;
}

async fn give_up<F: Future + Unpin>(mut future: F, polls: u32) {
    for _ in 0..polls {
        if poll(&mut future).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}
