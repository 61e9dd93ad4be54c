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
    within_limit(
        "lost answers are given again",
        ses11_lost_answers_are_given_again(&store, idle * 2),
    )
    .await;
    within_limit("what is used stays", used_stays(&store, idle * 2)).await;
}

/// Asks what expires in a realm, a few at a time, with a memory of what it has had.
struct Caller {
    realm: u64,
    after: u64,
}

impl Caller {
    const fn new(realm: u64) -> Self {
        Self { realm, after: 0 }
    }

    /// What it is given, and whether there is more. It has had that if it is to be `kept`.
    async fn ask<T: SessionStore>(
        &mut self,
        store: &T,
        limit: usize,
        is_kept: bool,
    ) -> (Vec<SessionRecord>, bool) {
        let expired = store.expire(self.realm, self.after, limit).await;
        let expired = expired.expect("it should be told");
        let (after, last) = (self.after, expired.last());
        if is_kept {
            self.after = last;
        }
        let has_more = expired.again_in().is_zero();
        let sessions = expired.into_sessions();
        assert!(sessions.len() <= limit, "no more than it may");
        assert_eq!(last > after, !sessions.is_empty(), "it names the last one");
        (sessions, has_more)
    }

    /// All that there is.
    async fn all<T: SessionStore>(&mut self, store: &T) -> Vec<SessionRecord> {
        let mut all = Vec::new();
        loop {
            let (sessions, has_more) = self.ask(store, 3, true).await;
            all.extend(sessions);
            if !has_more {
                return all;
            }
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
        let mut caller = Caller::new(realm);
        let found = caller.all(store).await;
        for (key, session) in &given {
            let times = found.iter().filter(|found| found.is_same(session)).count();
            let is_ours = key.realm() == realm;
            assert_eq!(times, usize::from(is_ours), "a realm is told of its own");
            assert!(session.is_ended() || !is_ours);
        }
        assert!(caller.all(store).await.is_empty(), "it is told once");
    }
}

async fn ses11_lost_answers_are_given_again<T: SessionStore>(store: &T, after: Duration) {
    const REALM: u64 = 102;
    let mut given = Vec::new();
    for _ in 0..20 {
        let one = Given::named(store, fresh_owner(), fresh(REALM), fresh_upstream()).await;
        given.push(one.lease.record().clone());
    }
    tokio::time::sleep(after).await;
    let mut caller = Caller::new(REALM);
    let mut found: Vec<SessionRecord> = Vec::new();
    let mut is_kept = true;
    while found.len() < given.len() {
        // Each answer is lost twice, and the caller may ask for more or less the next time.
        let mut lost = Vec::new();
        for limit in [3, 5] {
            lost = caller.ask(store, limit, false).await.0;
        }
        let (sessions, has_more) = caller.ask(store, 4, is_kept).await;
        assert!(sessions.is_empty() == lost.is_empty());
        let is_lost = |one: &SessionRecord| lost.iter().any(|lost| lost.is_same(one));
        assert!(sessions.iter().all(is_lost), "it is given again");
        let count = found.len() + sessions.len();
        assert!(has_more || count == given.len(), "there is more");
        if is_kept {
            let is_new = |one: &SessionRecord| !found.iter().any(|had| had.is_same(one));
            assert!(sessions.iter().all(is_new), "it is not given again");
            found.extend(sessions);
        }
        is_kept = !is_kept;
    }
    assert!(caller.all(store).await.is_empty());
    for session in given {
        assert!(found.iter().any(|found| found.is_same(&session)));
    }
}

async fn used_stays<T: SessionStore>(store: &T, after: Duration) {
    let leased = Given::new(store, fresh_owner()).await;
    tokio::time::sleep(after).await;
    let found = Caller::new(leased.key.realm()).all(store).await;
    assert!(!found.iter().any(|found| found.is_same(&leased.lease)));
    leased.load().await;
    drop(leased);
}
