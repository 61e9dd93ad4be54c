use super::*;
use http::HeaderValue;

use crate::{captured_log::CapturedLog, store::StoreErrorKind};

fn owner(name: u32) -> Owner {
    Owner::new(Some(&name.to_be_bytes()), None)
}

fn key(nth: u32) -> SessionKey {
    let mut id = [0; 16];
    // As random as the keys are that the layer makes.
    id[..8].copy_from_slice(
        &u64::from(nth)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .to_le_bytes(),
    );
    id[8..].copy_from_slice(
        &u64::from(nth)
            .wrapping_mul(0xD1B5_4A32_D192_ED03)
            .to_be_bytes(),
    );
    SessionKey::new(1, id)
}

fn name(nth: u32) -> SessionName {
    SessionName::new(key(nth), [1; 16], HeaderValue::from(nth))
}

fn give(store: &MemorySessionStore, nth: u32) -> SessionRecord {
    let lease = store.shared.open(owner(nth), owner(nth)).expect("room");
    let given = store.shared.establish(&lease, name(nth));
    given.expect("it is new");
    lease.record().clone()
}

/// All that expire.
fn expire(store: &MemorySessionStore) -> (Vec<SessionRecord>, Duration) {
    let (mut all, mut last) = (Vec::new(), 0);
    loop {
        let expired = store.shared.expire(1, last, 7);
        let again_in = expired.again_in();
        last = expired.last();
        all.append(&mut expired.into_sessions());
        if !again_in.is_zero() {
            // It has had them all.
            drop(store.shared.expire(1, last, 0));
            return (all, again_in);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_expire_that_nobody_has_used() {
    let idle = Duration::from_secs(80);
    let store = MemorySessionStore::new().with_idle_timeout(Some(idle));
    let given: Vec<_> = (0..100).map(|nth| give(&store, nth)).collect();
    assert_eq!(expire(&store).1, idle / 8);
    tokio::time::advance(idle / 2).await;
    let held = store.shared.load(key(1), owner(1)).expect("it is there");
    drop(store.shared.load(key(2), owner(2)));
    tokio::time::advance(idle / 2).await;
    // Before anybody has looked.
    assert!(store.shared.load(key(3), owner(3)).is_err());
    assert!(store.shared.end(key(3), owner(3)).is_err());
    assert!(!given[3].is_ended());
    let (expired, _) = expire(&store);
    assert_eq!(expired.len(), 98);
    assert!(expired.iter().all(SessionRecord::is_ended));
    assert!(!given[1].is_ended() && !given[2].is_ended());
    assert_eq!(store.stats().sessions, 2);
    assert_eq!(store.stats().expired_total, 98);

    drop(held);
    tokio::time::advance(idle).await;
    assert_eq!(expire(&store).0.len(), 2);
    assert_eq!(store.stats().sessions, 0);
    assert_eq!(expire(&store).0.len(), 0);
}

/// Nobody has told the store, and nobody will.
#[tokio::test(start_paused = true)]
async fn se5_session_that_has_ended_and_is_still_there_expires_as_any_other() {
    let idle = Duration::from_secs(80);
    let store = MemorySessionStore::new().with_idle_timeout(Some(idle));
    let ended = give(&store, 1);
    ended.end();
    tokio::time::advance(idle).await;
    let (expired, _) = expire(&store);
    assert!(expired.len() == 1 && expired[0].is_same(&ended));
    assert_eq!(store.stats().sessions, 0);
}

/// Two layers of one realm, each of which says what it has had, and neither what the other one had.
#[tokio::test(start_paused = true)]
async fn callers_of_one_realm_do_not_keep_each_other_from_going_on() {
    let idle = Duration::from_secs(80);
    let store = MemorySessionStore::new().with_idle_timeout(Some(idle));
    for nth in 0..20 {
        give(&store, nth);
    }
    tokio::time::advance(idle).await;
    let (mut had, mut last) = ([0, 0], [0, 0]);
    for turn in 0..20 {
        let which = turn % 2;
        let expired = store.shared.expire(1, last[which], 7);
        last[which] = expired.last();
        had[which] += expired.into_sessions().len();
    }
    assert_eq!(had, [20, 20], "what one has not said that it has had");
    assert_eq!(store.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_time_nothing_expires() {
    let store = MemorySessionStore::new().with_idle_timeout(None);
    give(&store, 1);
    tokio::time::advance(Duration::from_secs(1 << 40)).await;
    let (expired, again_in) = expire(&store);
    assert_eq!((expired.len(), again_in), (0, Duration::MAX));
    assert!(store.shared.load(key(1), owner(1)).is_ok());
}

#[test]
fn tombstones_are_bounded_and_the_oldest_go() {
    let store = MemorySessionStore::new().with_max_tombstones(64);
    for nth in 0..1_000 {
        give(&store, nth);
        store.shared.end(key(nth), owner(nth)).expect("it is there");
        let lease = store.shared.open(owner(nth), owner(nth)).expect("room");
        let again = store.shared.establish(&lease, name(nth));
        assert!(again.is_err(), "B14");
        store.shared.abandon(&lease);
    }
    let stats = store.stats();
    assert_eq!(stats.sessions, 0);
    assert!((32..=64).contains(&stats.tombstones), "{stats:?}");
}

#[test]
fn b19_caps_are_exact_and_what_ends_makes_room() {
    let store = MemorySessionStore::new()
        .with_max_sessions(10)
        .with_max_per_owner(4);
    let open = |name| store.shared.open(owner(name), owner(name));
    let mut hers: Vec<_> = (0..4).map(|_| open(1).expect("room")).collect();
    let over = |result: Result<SessionLease, StoreErrorKind>| result.err();
    assert_eq!(over(open(1)), Some(StoreErrorKind::OverQuota));
    let others: Vec<_> = (2..8).map(|name| open(name).expect("room")).collect();
    assert_eq!(over(open(9)), Some(StoreErrorKind::Unavailable));
    // Refused ones leave no trace.
    store.shared.abandon(&hers.pop().expect("four"));
    store.shared.abandon(&others[0]);
    store.shared.abandon(&others[0]);
    assert_eq!(store.stats().sessions, 8);
    assert!(open(1).is_ok() && open(9).is_ok());
    assert_eq!(over(open(9)), Some(StoreErrorKind::Unavailable));
    // Nobody in particular is many.
    let store = MemorySessionStore::new().with_max_per_owner(1);
    for _ in 0..10 {
        assert!(store.shared.open(Owner::ANONYMOUS, owner(1)).is_ok());
    }
}

#[test]
fn b01_foreign_requests_are_counted() {
    let store = MemorySessionStore::new();
    give(&store, 1);
    for _ in 0..3 {
        assert!(store.shared.load(key(1), owner(2)).is_err());
    }
    assert!(store.shared.end(key(1), owner(2)).is_err());
    assert!(store.shared.load(key(2), owner(2)).is_err());
    assert_eq!(store.stats().foreign_total, 4);
}

#[test]
fn d10_d24_threads_load_end_and_expire_the_same_sessions() {
    let idle = Some(Duration::from_nanos(1));
    let store = MemorySessionStore::new().with_idle_timeout(idle);
    for round in 0..50 {
        let first = round * 20;
        for nth in first..first + 20 {
            give(&store, nth);
        }
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for nth in first..first + 20 {
                        match (nth + thread) % 3 {
                            0 => drop(store.shared.end(key(nth), owner(nth))),
                            1 => expire_all(store),
                            _ => match store.shared.load(key(nth), owner(nth)) {
                                // Served whole, or not found.
                                Ok(lease) => assert!(lease.upstream().is_some()),
                                Err(kind) => assert_eq!(kind, StoreErrorKind::NotFound),
                            },
                        }
                    }
                });
            }
        });
        expire_all(&store);
        assert_eq!(store.stats().sessions, 0, "in round {round}");
    }
}

/// Whatever the last walk has found.
fn expire_all(store: &MemorySessionStore) {
    store.shared.hand.lock().expect("not poisoned").look_again();
    store.shared.make_room();
    let mut last = 0;
    loop {
        let expired = store.shared.expire(1, last, usize::MAX);
        last = expired.last();
        if expired.into_sessions().is_empty() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_layer_that_is_gone_expire_and_do_not_pile_up() {
    const COUNT: u32 = 5_000;
    let idle = Duration::from_secs(80);
    let store = MemorySessionStore::new()
        .with_idle_timeout(Some(idle))
        .with_max_sessions(2 * COUNT as usize);
    for nth in 0..COUNT {
        give(&store, nth);
    }
    tokio::time::advance(idle).await;
    // Another realm asks; that of the sessions is gone.
    while (store.shared.expire(2, 0, 1_000).again_in()).is_zero() {}
    let stats = store.stats();
    assert_eq!(stats.sessions, 0);
    assert_eq!(stats.expired_total, u64::from(COUNT));
    let (kept, _) = expire(&store);
    assert_eq!(kept.len() as u64 + stats.unclaimed_total, u64::from(COUNT));
    assert!(stats.unclaimed_total > 0, "they are bounded");
}

#[tokio::test(start_paused = true)]
async fn b08_foreign_requests_are_logged_together() {
    let log = CapturedLog::start();
    let store = MemorySessionStore::new();
    give(&store, 1);
    let attempt = |times| {
        for _ in 0..times {
            assert!(store.shared.load(key(1), owner(2)).is_err());
        }
    };
    attempt(1_000);
    tokio::time::advance(Duration::from_secs(10)).await;
    attempt(1_000);
    let log = log.take();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(log.contains("count=1000"), "{log}");
    assert_eq!(store.stats().foreign_total, 2_000);
}
