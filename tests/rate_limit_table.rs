//! What a limiter keeps of its keys when there are more of them than it has room for.

mod rate_limit_support;

use std::{sync::Barrier, thread, time::Duration};

use rate_limit_support::{FakeClock, check, limiter, quota, spend, streams};
use shadowcat::rate_limit::{Budget, Charge, Hold, Limiter, LocalLimiter, RejectionKind};

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
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (limiter, start) = (&limiter, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut admitted = 0;
                    for key in 0..200 {
                        let charge = Charge::new(1).with_hold(Some(Hold::Call));
                        admitted += u32::from(check(limiter, key, charge).is_ok());
                        // Free, so it opens accounts that mean nothing and may go at any time.
                        drop(check(limiter, 1_000 + key, Charge::new(0)));
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
    assert_eq!(stats.keys, 56);
    assert_eq!(stats.open, 0, "all was given back");
    // The clock stands still: no more than a burst of each place, and of what all others share.
    let units: u32 = admitted.iter().sum();
    assert!(units <= 3 * 57, "{units}");
    assert!(units >= 3 * 50, "{units}: places were lost");
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
    assert!(stats.keys <= 1_792, "{stats:?}");
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
    let limiter = limiter.with_max_keys(56);
    assert_eq!(spend(&limiter, 0, 2), Ok(()));
    for round in 1..200_u64 {
        for key in 0..100 {
            // Not even those that are forgotten at once, because they have spent nothing.
            drop(check(&limiter, round * 1_000 + key, Charge::new(0)));
            // Nor by those that have spent as much, and later.
            drop(check(&limiter, round * 1_000_000 + key, Charge::new(2)));
        }
        clock.advance(Duration::from_millis(100));
        assert!(spend(&limiter, 0, 1).is_err(), "after {round} rounds");
    }
    clock.advance(Duration::from_secs(60));
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
}

/// R05: nor can somebody who has a stream open.
#[test]
fn key_with_an_open_stream_keeps_its_place() {
    let (limiter, clock) = limiter(quota(2, T));
    let limiter = limiter.with_max_keys(7).with_max_streams(streams(1));
    let stream = Charge::new(1).with_hold(Some(Hold::Stream));
    let admission = check(&limiter, 0, stream).expect("the first one");
    // All units are back, and it is the oldest of all.
    clock.advance(T * 100);
    for key in 1..100 {
        drop(check(&limiter, key, Charge::new(1)));
    }
    let refused = check(&limiter, 0, stream).expect_err("it is open");
    assert_eq!(refused.kind(), RejectionKind::TooManyOpen);
    drop(admission);
    assert!(check(&limiter, 0, stream).is_ok());
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
    assert_eq!(spend(&limiter, 103, 2), Ok(()), "a place of its own");
    assert_eq!(limiter.stats().evicted_total, 1);
}
