use std::{
    collections::VecDeque,
    sync::{MutexGuard, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{
    super::{Expired, SessionRecord, record::now},
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
    /// Found meanwhile, by who needed the room.
    found: VecDeque<SessionRecord>,
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            shard: 0,
            place: 0,
            starts_at: None,
            room_at: i64::MIN,
            found: VecDeque::new(),
        }
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
/// What is found and not asked for is forgotten beyond that.
const MAX_FOUND: usize = 4_096;

/// How idle sessions end.
///
/// Nothing is sorted, because every request of a session would have to sort it anew: a walk goes
/// through all of them, a few at a time, once in an eighth of the idle time.
impl Shared {
    fn hand(&self) -> MutexGuard<'_, Hand> {
        // Nothing in here can panic half way.
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn expire(&self, limit: usize) -> Expired {
        let Some(every) = self.every() else {
            return Expired::new(Vec::new(), Duration::MAX);
        };
        let mut sessions = Vec::new();
        let again_in = {
            let mut hand = self.hand();
            let found = limit.min(hand.found.len());
            sessions.extend(hand.found.drain(..found));
            let wait = hand.starts_at.map_or(0, |at| at - now());
            match u64::try_from(wait) {
                _ if !hand.found.is_empty() => Duration::ZERO,
                Ok(wait @ 1..) => Duration::from_nanos(wait),
                _ if self.walk(&mut hand, limit - sessions.len(), &mut sessions) => {
                    let nanos = i64::try_from(every.as_nanos()).unwrap_or(i64::MAX);
                    hand.starts_at = Some(now().saturating_add(nanos));
                    every
                }
                _ => Duration::ZERO,
            }
        };
        // Told after all is unlocked.
        for session in &sessions {
            session.tell_end();
        }
        Expired::new(sessions, again_in)
    }

    /// Ends what has expired, as far as a short look goes.
    pub(super) fn make_room(&self) {
        let mut sessions = Vec::new();
        {
            let mut hand = self.hand();
            let now = now();
            if now < hand.room_at {
                return;
            }
            hand.room_at = now + ROOM_EVERY;
            self.walk(&mut hand, LOOKS, &mut sessions);
            let room = MAX_FOUND.saturating_sub(hand.found.len());
            hand.found.extend(sessions.iter().take(room).cloned());
        }
        for session in &sessions {
            session.tell_end();
        }
    }

    fn every(&self) -> Option<Duration> {
        let idle = self.limits.idle?;
        Some((idle / 8).max(Duration::from_millis(1)))
    }

    /// Goes on, and says whether all have been looked at.
    fn walk(&self, hand: &mut Hand, limit: usize, sessions: &mut Vec<SessionRecord>) -> bool {
        let before = self.idle_before();
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
