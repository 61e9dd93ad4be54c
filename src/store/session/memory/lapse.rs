use std::{
    collections::{HashMap, VecDeque},
    sync::{MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    super::{Expired, SessionKey, SessionRecord, record::now},
    shared::{SHARDS, Shared},
};

/// Where the walk through all sessions is that looks for idle ones.
pub(super) struct Hand {
    shard: usize,
    place: usize,
    /// When the next walk begins.
    starts_at: Option<i64>,
    /// When somebody who needs room may look for it again.
    room_at: i64,
    found: Found,
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            shard: 0,
            place: 0,
            starts_at: None,
            room_at: i64::MIN,
            found: Found::default(),
        }
    }
}

/// What has expired, until somebody of its realm has asked for it and had it: it may be found by those
/// of another, or by who needed the room.
#[derive(Default)]
struct Found {
    by_realm: HashMap<u64, VecDeque<(u64, SessionRecord)>>,
    len: usize,
    /// The number of the last one. Those of a realm are in order.
    last: u64,
}

impl Found {
    /// What is not asked for is forgotten beyond that.
    const MAX: usize = 4_096;

    /// True if another one had to go: the oldest of the realm that has most, which may be one that
    /// nobody asks for any more.
    fn add(&mut self, session: SessionRecord) -> bool {
        let Some(realm) = session.key_ref().map(SessionKey::realm) else {
            return false;
        };
        self.last += 1;
        let found = self.by_realm.entry(realm).or_default();
        found.push_back((self.last, session));
        self.len += 1;
        if self.len <= Self::MAX {
            return false;
        }
        let most = self.by_realm.values_mut().max_by_key(|one| one.len());
        let is_gone = most.and_then(VecDeque::pop_front).is_some();
        self.len -= usize::from(is_gone);
        is_gone
    }

    /// Forgets what a caller has had, and says how many are left.
    fn forget(&mut self, realm: u64, up_to: u64) -> usize {
        let Some(found) = self.by_realm.get_mut(&realm) else {
            return 0;
        };
        let had = found.partition_point(|(number, _)| *number <= up_to);
        found.drain(..had);
        self.len -= had;
        let left = found.len();
        if left == 0 {
            self.by_realm.remove(&realm);
        }
        left
    }

    /// The first of a realm, up to so many, the number of the last of them, and whether there are more.
    fn first(&self, realm: u64, limit: usize) -> (Vec<SessionRecord>, Option<u64>, bool) {
        let Some(found) = self.by_realm.get(&realm) else {
            return (Vec::new(), None, false);
        };
        let count = limit.min(found.len());
        let (numbers, sessions): (Vec<_>, Vec<_>) = found.range(..count).cloned().unzip();
        (sessions, numbers.last().copied(), count < found.len())
    }
}

#[cfg(test)]
impl Hand {
    pub(super) const fn look_again(&mut self) {
        self.room_at = i64::MIN;
    }
}

/// Places that are looked at while a shard is locked: some microseconds, if none is in the cache.
const STEP: usize = 64;
/// Places that a call looks at.
const LOOKS: usize = 1_024;
/// Pause between two looks for room, in nanoseconds: whoever is refused may ask again at once.
const ROOM_EVERY: i64 = 10_000_000;

/// How idle sessions end.
///
/// Nothing is sorted, because every request of a session would have to sort it anew: a walk goes
/// through all of them, a few at a time, once in an eighth of the idle time.
impl Shared {
    fn hand(&self) -> MutexGuard<'_, Hand> {
        // Nothing in here can panic half way.
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expire(&self, realm: u64, after: u64, limit: usize) -> Expired {
        let Some(every) = self.every() else {
            return Expired::new(Vec::new(), after, Duration::MAX);
        };
        let (mut ended, mut unclaimed) = (Vec::new(), 0);
        let expired = {
            let mut hand = self.hand();
            let left = hand.found.forget(realm, after);
            let room = limit.saturating_sub(left);
            let wait = hand.starts_at.map_or(0, |at| at - now());
            let again_in = match u64::try_from(wait) {
                Ok(wait @ 1..) => Duration::from_nanos(wait),
                _ if self.walk(&mut hand, room, &mut ended) => {
                    let nanos = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX);
                    hand.starts_at = Some(now().saturating_add(nanos));
                    every
                }
                _ => Duration::ZERO,
            };
            for session in &ended {
                unclaimed += u64::from(hand.found.add(session.clone()));
            }
            let (sessions, last, has_more) = hand.found.first(realm, limit);
            let again_in = if has_more { Duration::ZERO } else { again_in };
            Expired::new(sessions, last.unwrap_or(after), again_in)
        };
        self.tell(&ended, unclaimed);
        expired
    }

    /// Ends what has expired, as far as a short look goes.
    pub(super) fn make_room(&self) {
        let (mut ended, mut unclaimed) = (Vec::new(), 0);
        {
            let mut hand = self.hand();
            let now = now();
            if now < hand.room_at {
                return;
            }
            hand.room_at = now + ROOM_EVERY;
            self.walk(&mut hand, LOOKS, &mut ended);
            for session in &ended {
                unclaimed += u64::from(hand.found.add(session.clone()));
            }
        }
        self.tell(&ended, unclaimed);
    }

    /// Tells of what has ended, after all is unlocked.
    fn tell(&self, ended: &[SessionRecord], unclaimed: u64) {
        for session in ended {
            session.tell_end();
        }
        if unclaimed > 0 {
            self.unclaimed.fetch_add(unclaimed, Relaxed);
            tracing::warn!(unclaimed, "sessions have expired and nobody asks which");
        }
    }

    fn every(&self) -> Option<Duration> {
        let idle = self.limits.idle?;
        Some((idle / 8).max(Duration::from_millis(1)))
    }

    /// Goes on, and says whether all have been looked at.
    fn walk(&self, hand: &mut Hand, limit: usize, sessions: &mut Vec<SessionRecord>) -> bool {
        let before = self.idle_before(now());
        let full = sessions.len() + limit;
        let mut looks = LOOKS;
        let mut idle = Vec::new();
        while looks > 0 && sessions.len() < full {
            let step = STEP.min(full - sessions.len());
            let looked = {
                let shard = self.shard(hand.shard);
                let Some(found) = shard.look(hand.place, step) else {
                    drop(shard);
                    looks -= 1;
                    (hand.shard, hand.place) = (hand.shard + 1, 0);
                    if hand.shard == SHARDS {
                        hand.shard = 0;
                        return true;
                    }
                    continue;
                };
                // Under the lock, so that nobody loads it in between (D10).
                let unused = found.iter().flatten();
                let unused = unused.filter(|one| one.is_idle_since(before));
                // One that has ended and is still here was forgotten by whoever ended it.
                let ended = unused.filter(|one| one.end_unleased() || one.is_ended());
                idle.extend(ended.cloned());
                found.len()
            };
            (hand.place, looks) = (hand.place + looked, looks.saturating_sub(looked));
            for session in &idle {
                if let Some(key) = session.key() {
                    self.take(hand.shard, &key);
                }
            }
            self.expired.fetch_add(idle.len() as u64, Relaxed);
            sessions.append(&mut idle);
        }
        false
    }
}
