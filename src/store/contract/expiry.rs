use std::time::Duration;

use super::{
    session::{Given, fresh, fresh_upstream},
    stream::fresh_owner,
    within_limit,
};
use crate::store::{SessionRecord, SessionStore};

/// What a store of sessions has to do about those that nobody uses.
///
/// `store` lets a session expire that nobody has used for `idle`, and has to have done so when asked
/// after twice that. It has room for 100 sessions.
///
/// # Panics
///
/// If the store does something else, or nothing for a minute.
pub async fn run_expiry<T: SessionStore>(store: T, idle: Duration) {
    within_limit(
        "realms expire apart",
        b16_realms_expire_apart(&store, idle * 2),
    )
    .await;
    within_limit("what is used stays", used_stays(&store, idle * 2)).await;
}

/// All that expires in a realm.
async fn expired<T: SessionStore>(store: &T, realm: u64) -> Vec<SessionRecord> {
    let mut all = Vec::new();
    loop {
        let expired = store.expire(realm, 3).await.expect("it should be told");
        let again_in = expired.again_in();
        let sessions = expired.into_sessions();
        assert!(sessions.len() <= 3, "no more than it may");
        all.extend(sessions);
        if !again_in.is_zero() {
            return all;
        }
    }
}

async fn b16_realms_expire_apart<T: SessionStore>(store: &T, after: Duration) {
    let mut given = Vec::new();
    for nth in 0..20 {
        let (key, upstream) = (fresh(100 + nth % 2), fresh_upstream());
        let one = Given::named(store, fresh_owner(), key, upstream).await;
        given.push((one.key, one.lease.record().clone()));
    }
    tokio::time::sleep(after).await;
    for realm in [100, 101] {
        let found = expired(store, realm).await;
        for (key, session) in &given {
            let times = found.iter().filter(|found| found.is_same(session)).count();
            let is_ours = key.realm() == realm;
            assert_eq!(times, usize::from(is_ours), "a realm is told of its own");
            assert!(session.is_ended() || !is_ours);
        }
        assert!(expired(store, realm).await.is_empty(), "it is told once");
    }
}

async fn used_stays<T: SessionStore>(store: &T, after: Duration) {
    let leased = Given::new(store, fresh_owner()).await;
    tokio::time::sleep(after).await;
    let found = expired(store, leased.key.realm()).await;
    assert!(!found.iter().any(|found| found.is_same(&leased.lease)));
    leased.load().await;
    drop(leased);
}
