//! What a limiter keeps of its keys when there are more of them than it has room for.

mod rate_limit_support;

use std::{
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use rate_limit_support::{FakeClock, check, limiter, quota, spend, streams};
use shadowcat::rate_limit::{Budget, Charge, Clock, Hold, Limiter, LocalLimiter, RejectionKind};

const T: Duration = Duration::from_millis(700);

/// D20, RL-8: keys that come and go while others push them out. Each may be forgotten only when that
/// changes nothing, so that none gets two bursts, and the places are never lost.
#[test]
fn d20_threads_that_push_each_other_out_give_nobody_two_bursts() {
    const THREADS: u64 = 16;
    let (limiter, _) = limiter(quota(3, T));
    let limiter = limiter.with_max_keys(56).with_max_streams(streams(1));
    let start = Barrier::new(THREADS as usize);
    let admitted: Vec<u32> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS)
            .map(|thread| {
                let (limiter, start) = (&limiter, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut admitted = 0;
                    for key in 0..200 {
                        let charge = Charge::new(1).with_hold(Some(Hold::Call));
                        admitted += u32::from(check(limiter, key, charge).is_ok());
                        // Over at once, so it opens accounts that mean nothing and may go at any time.
                        let over = Charge::new(0).with_hold(Some(Hold::Call));
                        drop(check(limiter, 1_000 * thread + key, over));
                    }
                    admitted
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect()
    });
    let stats = limiter.stats();
    assert_eq!(stats.open, 0, "all was given back");
    // The clock stands still: no more than a burst of each place, and of what all others share.
    let (units, places) = (admitted.iter().sum::<u32>(), stats.keys as u32);
    assert_eq!(places, 112);
    assert!(units <= 3 * (places + 1), "{units}");
    assert!(units >= 3 * (places - 6), "{units}: places were lost");
}

/// R04: an honest key is told apart from all others, exactly.
#[test]
fn r04_flood_of_keys_leaves_an_honest_one_alone() {
    // The benchmark takes ten million; a hundredth of that in a hundredth of the places is the same.
    const FLOOD: u64 = 100_000;
    let clock = FakeClock::default();
    let limiter = LocalLimiter::new(quota(10, Duration::from_secs(60)))
        .with_clock(clock.clone())
        .with_max_keys(1_000);
    for _ in 0..5 {
        assert_eq!(spend(&limiter, 0, 1), Ok(()));
    }
    for key in 1..FLOOD {
        // Most of them are refused together with others.
        drop(check(&limiter, key, Charge::new(1)));
        clock.advance(Duration::from_micros(1));
    }
    let stats = limiter.stats();
    assert!(stats.keys <= 2_002, "{stats:?}");
    assert!(stats.overflowed_total > FLOOD / 2, "{stats:?}");
    for _ in 0..5 {
        assert_eq!(spend(&limiter, 0, 1), Ok(()));
    }
    assert!(spend(&limiter, 0, 1).is_err());
}

/// R05: whoever is at the end of its quota cannot be forgotten by making the table forget.
#[test]
fn r05_flood_of_keys_does_not_evict_who_is_at_quota() {
    let (limiter, clock) = limiter(quota(2, Duration::from_secs(60)));
    let limiter = limiter.with_max_keys(56).with_max_streams(streams(1));
    assert_eq!(spend(&limiter, 0, 2), Ok(()));
    for round in 1..200_u64 {
        for key in 0..100 {
            // Not even those that are forgotten at once, because they have spent nothing.
            let over = Charge::new(0).with_hold(Some(Hold::Call));
            drop(check(&limiter, round * 1_000 + key, over));
            // Nor by those that have spent as much, and later.
            drop(check(&limiter, round * 1_000_000 + key, Charge::new(2)));
        }
        clock.advance(Duration::from_millis(100));
        assert!(spend(&limiter, 0, 1).is_err(), "after {round} rounds");
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
}

/// R05: nor can somebody who has something open.
#[test]
fn key_that_has_something_open_keeps_its_place() {
    for hold in [Hold::Call, Hold::Stream, Hold::Resumption] {
        let (limiter, clock) = limiter(quota(2, T));
        let limiter = limiter.with_max_keys(7).with_max_streams(streams(1));
        let charge = Charge::new(1).with_hold(Some(hold));
        let admission = check(&limiter, 0, charge).expect("the first one");
        // All units are back, and it is the oldest of all.
        clock.advance(T * 100);
        for key in 1..100 {
            drop(check(&limiter, key, Charge::new(1)));
        }
        // What is open is counted where it was.
        assert_eq!(limiter.stats().open, 1);
        let again = check(&limiter, 0, charge);
        assert_eq!(again.is_ok(), hold == Hold::Resumption, "{hold:?}");
        assert_eq!(limiter.stats().open, 1 + u64::from(again.is_ok()));
        drop((admission, again));
        assert_eq!(limiter.stats().open, 0);
        assert!(check(&limiter, 0, charge).is_ok());
    }
}

/// R05: nor does anybody get what it takes to come back anew.
#[test]
fn key_that_has_come_back_too_often_keeps_its_place() {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7).with_resumes(quota(1, T * 1_000));
    let resume = Charge::new(1).with_budget(Budget::Resumes);
    assert!(check(&limiter, 0, resume).is_ok());
    clock.advance(T * 100);
    for key in 1..100 {
        drop(check(&limiter, key, Charge::new(1)));
    }
    assert!(check(&limiter, 0, resume).is_err());
    clock.advance(T * 900);
    assert!(check(&limiter, 0, resume).is_ok());
}

/// A full table has one account for all that it has no room for, and room again when units are back.
#[test]
fn full_table_sends_new_keys_to_one_account_until_there_is_room() {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7);
    for key in 0..7 {
        assert_eq!(spend(&limiter, key, 1), Ok(()));
    }
    assert_eq!(spend(&limiter, 100, 1), Ok(()));
    assert_eq!(spend(&limiter, 101, 1), Ok(()));
    assert_eq!(spend(&limiter, 102, 1), Err(T), "they share");
    assert_eq!(spend(&limiter, 0, 1), Ok(()), "nobody else does");
    let stats = limiter.stats();
    assert_eq!((stats.keys, stats.overflowed_total), (7, 3));
    clock.advance(T);
    // Places of their own, but one in two thousand is taken for one that has shared.
    let whole = (103..108).filter(|key| spend(&limiter, *key, 2).is_ok());
    assert!(whole.count() >= 3);
    let stats = limiter.stats();
    assert_eq!((stats.evicted_total, stats.overflowed_total), (5, 3));
}

/// It tells as many apart as it says, wherever their places happen to be.
#[test]
fn table_has_room_for_all_keys_that_it_promises() {
    for max in [1, 7, 8, 14, 15, 56, 100, 448, 1_000, 7_168, 10_000, 114_688] {
        // Several tables, because each has another hash.
        for _ in 0..(10_000 / max).clamp(1, 50) {
            let (limiter, _) = limiter(quota(10, Duration::from_secs(3_600)));
            fill(&limiter.with_max_keys(max), max);
        }
    }
    // Without being told, or whatever else it is told.
    let limiter = LocalLimiter::new(quota(10, Duration::from_secs(3_600)));
    fill(&limiter.with_clock(FakeClock::default()), 100_000);
    assert_eq!(LocalLimiter::DEFAULT_MAX_KEYS, 100_000);
}

#[track_caller]
fn fill(limiter: &LocalLimiter<impl Clock>, max: usize) {
    for key in 0..max as u64 {
        assert_eq!(spend(limiter, key, 1), Ok(()));
    }
    let stats = limiter.stats();
    assert_eq!((stats.keys, stats.overflowed_total), (max, 0), "of {max}");
}

#[test]
fn other_clock_leaves_the_number_of_keys() {
    let limiter = LocalLimiter::new(quota(1, T)).with_max_keys(7);
    let limiter = limiter.with_clock(FakeClock::default());
    for key in 0..100 {
        drop(check(&limiter, key, Charge::new(1)));
    }
    assert_eq!(limiter.stats().keys, 7);
}

/// R04: an honest key below its rate has all its units most of the time, and is told apart all the same,
/// however many come meanwhile that nobody sees again.
#[test]
fn r04_flood_does_not_evict_who_comes_again() {
    for per_second in [5_000_u64, 20_000] {
        let (limiter, clock) = limiter(quota(10, Duration::from_secs(1)));
        let limiter = limiter.with_max_keys(1_000);
        for _ in 0..2 {
            clock.advance(Duration::from_secs(2));
            assert_eq!(spend(&limiter, 0, 1), Ok(()));
        }
        let mut key = 0;
        for _ in 0..30 {
            for _ in 0..2 * per_second {
                key += 1;
                clock.advance(Duration::from_secs(1) / per_second as u32);
                drop(check(&limiter, key, Charge::new(1)));
            }
            assert_eq!(
                spend(&limiter, 0, 1),
                Ok(()),
                "{per_second} keys per second"
            );
        }
        assert!(limiter.stats().overflowed_total > per_second);
    }
}

/// Seven places, in which keys were used at several times, in turn, and twice. All their units are back.
fn used_twice() -> (LocalLimiter<FakeClock>, FakeClock) {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7);
    for key in 0..7 {
        assert_eq!(spend(&limiter, key, 1), Ok(()));
        assert_eq!(spend(&limiter, key, 1), Ok(()));
        clock.advance(T * 2);
    }
    (limiter, clock)
}

fn overflowed(limiter: &LocalLimiter<FakeClock>, key: u64) -> bool {
    let before = limiter.stats().overflowed_total;
    drop(check(limiter, key, Charge::new(2)));
    limiter.stats().overflowed_total > before
}

/// Whoever comes twice is remembered; but of seven places, two are for those who are new.
#[test]
fn keys_that_come_again_leave_two_places_and_lose_the_oldest() {
    let (limiter, _) = used_twice();
    assert!(!overflowed(&limiter, 100) && !overflowed(&limiter, 101));
    assert!(overflowed(&limiter, 102), "the others keep theirs");
    for key in 2..7 {
        assert!(!overflowed(&limiter, key), "{key} was used later");
    }
    assert_eq!(limiter.stats().evicted_total, 2);
    assert!(overflowed(&limiter, 0) && overflowed(&limiter, 1));
}

/// For a minute, or as long as it takes until all units are back, if that is longer.
#[test]
fn keys_that_do_not_come_again_for_long_lose_their_places() {
    const MINUTE: Duration = Duration::from_secs(60);
    let (limiter, clock) = used_twice();
    // The oldest one for a minute now.
    clock.advance(MINUTE - T * 12);
    assert!(!overflowed(&limiter, 100) && !overflowed(&limiter, 101));
    assert!(overflowed(&limiter, 102), "the last five of them are kept");
    clock.advance(T * 12 + Duration::from_nanos(1));
    // Their own units and those of the one that is shared are back.
    for key in 103..110 {
        assert!(!overflowed(&limiter, key), "{key}");
    }
    assert!(overflowed(&limiter, 110));
}

/// Of those that mean nothing, the one that was used last is the one that may be used again.
#[test]
fn key_that_was_used_last_is_forgotten_last() {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7);
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
    clock.advance(T / 2);
    assert_eq!(spend(&limiter, 1, 1), Ok(()));
    clock.advance(T / 2);
    for key in 2..7 {
        assert_eq!(spend(&limiter, key, 2), Ok(()));
    }
    clock.advance(T / 2);
    // Two of them have all their units.
    assert!(!overflowed(&limiter, 100));
    assert!(!overflowed(&limiter, 1), "it is still there");
    assert!(overflowed(&limiter, 0));
}

/// Whoever has spent what all share, and then gets a place, has not a second burst.
#[test]
fn key_takes_what_it_owes_along_to_an_account_of_its_own() {
    const MINUTE: Duration = Duration::from_secs(60);
    let (limiter, clock) = limiter(quota(5, MINUTE));
    let limiter = limiter.with_max_keys(7);
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
    for key in 1..7 {
        assert_eq!(spend(&limiter, key, 5), Ok(()));
    }
    clock.advance(MINUTE - Duration::from_millis(1));
    assert_eq!(spend(&limiter, 100, 5), Ok(()), "of what all share");
    assert_eq!(limiter.stats().overflowed_total, 1);
    clock.advance(Duration::from_millis(1));
    let wait = MINUTE - Duration::from_millis(1);
    assert_eq!(spend(&limiter, 100, 1), Err(wait), "as before");
    assert_eq!(limiter.stats().overflowed_total, 1, "but it has a place");
    clock.advance(wait);
    assert_eq!(spend(&limiter, 100, 1), Ok(()));
}

/// As long as it may owe anything, whoever else has had a part since.
#[test]
fn key_owes_for_a_window_what_it_has_spent_of_what_all_share() {
    let (limiter, clock) = limiter(quota(2, T));
    // So that no other window is longer.
    let limiter = limiter.with_max_keys(7).with_resumes(quota(1, T));
    let all = |cost| {
        for key in 0..7 {
            assert_eq!(spend(&limiter, key, cost), Ok(()));
        }
    };
    let tenths = |tenths: u32| clock.advance(T * tenths / 10);
    all(2);
    assert_eq!(spend(&limiter, 101, 1), Ok(()));
    tenths(18);
    all(1);
    assert_eq!(spend(&limiter, 100, 2), Ok(()));
    // More than a window after the first one that has shared.
    tenths(10);
    assert_eq!(spend(&limiter, 102, 1), Ok(()));
    tenths(2);
    // All places are free: but of two units that it has spent, one is not back.
    assert!(spend(&limiter, 100, 2).is_err());
    assert_eq!(limiter.stats().overflowed_total, 3, "it has one of them");
}

/// Nobody owes what others have spent.
#[test]
fn key_that_had_no_part_in_what_is_owed_has_its_burst() {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7);
    for key in 0..7 {
        assert_eq!(spend(&limiter, key, 2), Ok(()));
    }
    clock.advance(T);
    assert_eq!(spend(&limiter, 100, 2), Ok(()));
    clock.advance(T);
    // One in four thousand is taken for one that had.
    let whole = (101..108).filter(|key| spend(&limiter, *key, 2).is_ok());
    assert!(whole.count() >= 5);
    assert_eq!(limiter.stats().overflowed_total, 1);
}

/// What is charged to all that have no place is counted like the rest.
#[test]
fn keys_without_a_place_are_counted() {
    let (limiter, _) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7).with_max_streams(streams(5));
    for key in 0..7 {
        assert_eq!(spend(&limiter, key, 2), Ok(()));
    }
    let call = Charge::new(1).with_hold(Some(Hold::Call));
    let open = [100, 101].map(|key| check(&limiter, key, call).expect("there are two units"));
    let refused = check(&limiter, 102, call).expect_err("they are spent");
    assert_eq!(refused.kind(), RejectionKind::OverQuota);
    let stats = limiter.stats();
    assert_eq!((stats.allowed_total, stats.over_quota_total), (9, 1));
    assert_eq!((stats.overflowed_total, stats.open), (3, 2));
    drop(open);
    assert_eq!(limiter.stats().open, 0);
}

/// What costs nothing leaves nothing to remember, and takes nobody's place.
#[test]
fn free_request_of_a_new_key_opens_no_account() {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7);
    for key in 0..7 {
        assert_eq!(spend(&limiter, key, 2), Ok(()));
    }
    for key in 100..200 {
        assert_eq!(spend(&limiter, key, 0), Ok(()));
    }
    clock.advance(T * 2);
    for key in 100..200 {
        assert_eq!(spend(&limiter, key, 0), Ok(()));
    }
    let stats = limiter.stats();
    assert_eq!((stats.evicted_total, stats.overflowed_total), (0, 0));
    assert_eq!(stats.allowed_total, 207);
}

/// Two buckets are locked for a key that is new, in one order, or threads would wait for each other for
/// ever.
#[test]
fn d20_threads_with_new_keys_never_wait_for_each_other_for_ever() {
    const THREADS: u64 = 8;
    const EACH: u64 = 20_000;
    let (limiter, _) = limiter(quota(1, T));
    // Four buckets, so that most pairs meet.
    let limiter = limiter.with_max_keys(14).with_max_streams(streams(1));
    let (done, all) = mpsc::channel();
    for thread in 0..THREADS {
        let (limiter, done) = (limiter.clone(), done.clone());
        thread::spawn(move || {
            for key in 0..EACH {
                let over = Charge::new(0).with_hold(Some(Hold::Call));
                drop(check(&limiter, thread * EACH + key, over));
            }
            done.send(()).expect("the test waits");
        });
    }
    for _ in 0..THREADS {
        all.recv_timeout(Duration::from_secs(60))
            .expect("a thread waits for another one, which waits for it");
    }
    assert_eq!(limiter.stats().allowed_total, THREADS * EACH);
}
