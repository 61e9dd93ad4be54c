//! RL-1 to RL-10: what a limiter promises, whatever it is asked, under a clock that a test moves.

mod rate_limit_support;

use std::{
    collections::HashMap,
    sync::{
        Barrier,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use proptest::{collection::vec, prelude::*};
use rate_limit_support::{FakeClock, check, limiter, nanos, quota, spend, streams};
use shadowcat::rate_limit::{
    Budget, Charge, Clock, Hold, Limiter, LocalLimiter, LocalSlot, RejectionKind,
};

const T: Duration = Duration::from_millis(700);

/// What happens next.
#[derive(Clone, Debug)]
enum Op {
    /// Time passes.
    Wait(Duration),
    /// A key wants something.
    Spend { key: u64, cost: u32 },
}

fn ops(keys: u64, burst: u32) -> impl Strategy<Value = Vec<Op>> {
    let wait = prop_oneof![
        (0..3 * nanos(T)).prop_map(Duration::from_nanos),
        // To a whole interval, where it matters most.
        (0..4_u32).prop_map(|units| T * units),
        Just(Duration::from_secs(60 * 60)),
    ];
    let spend = (0..keys, 0..=burst).prop_map(|(key, cost)| Op::Spend { key, cost });
    vec(
        prop_oneof![1 => wait.prop_map(Op::Wait), 3 => spend],
        1..200,
    )
}

/// The plainest way to keep the same account: units that are there, as a fraction of an interval.
#[derive(Clone, Debug)]
struct Model {
    burst: u32,
    /// In nanoseconds of an interval.
    units: u64,
    at: u64,
}

impl Model {
    fn new(burst: u32) -> Self {
        let units = u64::from(burst) * nanos(T);
        Self {
            burst,
            units,
            at: 0,
        }
    }

    fn spend(&mut self, now: u64, cost: u32) -> bool {
        let whole = u64::from(self.burst) * nanos(T);
        self.units = (self.units + (now - self.at)).min(whole);
        self.at = now;
        let cost = u64::from(cost) * nanos(T);
        let is_enough = cost <= self.units;
        if is_enough {
            self.units -= cost;
        }
        is_enough
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-1, RL-3, RL-5, RL-7: several keys, each of which has what it would have alone, and what is
    /// refused changes nothing.
    #[test]
    fn rl_5_each_key_has_its_own_units(burst in 1..6_u32, ops in ops(4, 6)) {
        let (limiter, clock) = limiter(quota(burst, T));
        let mut models = HashMap::new();
        for op in ops {
            match op {
                Op::Wait(time) => clock.advance(time),
                Op::Spend { cost, .. } if cost > burst => {}
                Op::Spend { key, cost } => {
                    let model = models.entry(key).or_insert_with(|| Model::new(burst));
                    let expected = model.spend(clock.nanos(), cost);
                    prop_assert_eq!(spend(&limiter, key, cost).is_ok(), expected);
                }
            }
        }
    }

    /// RL-1, as it is told: in every closed window of length w, at most b + ⌊w/T⌋.
    #[test]
    fn rl_1_no_window_has_more_than_the_burst_and_what_comes_back(
        burst in 1..6_u32,
        ops in ops(1, 6),
    ) {
        let (limiter, clock) = limiter(quota(burst, T));
        let mut admitted: Vec<(u64, u32)> = Vec::new();
        for op in ops {
            match op {
                Op::Wait(time) => clock.advance(time),
                Op::Spend { cost, .. } if cost > burst => {}
                Op::Spend { cost, .. } => {
                    if spend(&limiter, 0, cost).is_ok() {
                        admitted.push((clock.nanos(), cost));
                    }
                }
            }
        }
        for (nth, (from, _)) in admitted.iter().enumerate() {
            let mut units = 0;
            for (to, cost) in &admitted[nth..] {
                units += u64::from(*cost);
                prop_assert!(units <= u64::from(burst) + (to - from) / nanos(T));
            }
        }
    }

    /// RL-2: whoever comes no faster than units come back is never refused, with whatever delay.
    #[test]
    fn rl_2_steady_caller_is_never_refused(
        burst in 1..4_u32,
        late in vec(0..2 * nanos(T), 1..100),
    ) {
        let (limiter, clock) = limiter(quota(burst, T));
        for late in late {
            prop_assert_eq!(spend(&limiter, 0, 1), Ok(()));
            clock.advance(T + Duration::from_nanos(late));
        }
    }

    /// RL-4: a refused caller who waits as long as it was told is let in, and a nanosecond earlier is
    /// not.
    #[test]
    fn rl_4_time_to_wait_is_exact(burst in 1..6_u32, ops in ops(1, 6)) {
        let (limiter, clock) = limiter(quota(burst, T));
        for op in ops {
            match op {
                Op::Wait(time) => clock.advance(time),
                Op::Spend { cost, .. } if cost > burst => {}
                Op::Spend { cost, .. } => {
                    if let Err(wait) = spend(&limiter, 0, cost) {
                        clock.advance(wait - Duration::from_nanos(1));
                        prop_assert_eq!(spend(&limiter, 0, cost), Err(Duration::from_nanos(1)));
                        clock.advance(Duration::from_nanos(1));
                        prop_assert_eq!(spend(&limiter, 0, cost), Ok(()));
                    }
                }
            }
        }
    }

    /// RL-6: in a table that is too small for its keys none has more than it would have in a large one,
    /// wherever it is charged and however often it is forgotten; and all that have no place have
    /// together what one has.
    #[test]
    fn rl_6_small_table_gives_no_key_more_than_a_large_one(
        burst in 1..4_u32,
        ops in ops(40, 4),
    ) {
        let clock = FakeClock::default();
        let limiter = LocalLimiter::new(quota(burst, T))
            .with_clock(clock.clone())
            .with_max_keys(7);
        let mut models = HashMap::new();
        let mut shared = Model::new(burst);
        for op in ops {
            match op {
                Op::Wait(time) => clock.advance(time),
                Op::Spend { cost, .. } if cost > burst => {}
                Op::Spend { key, cost } => {
                    let before = limiter.stats().overflowed_total;
                    let is_admitted = spend(&limiter, key, cost).is_ok();
                    let is_shared = limiter.stats().overflowed_total > before;
                    if is_admitted {
                        let model = models.entry(key).or_insert_with(|| Model::new(burst));
                        prop_assert!(model.spend(clock.nanos(), cost), "two bursts for {key}");
                    }
                    if is_shared {
                        let has_units = shared.spend(clock.nanos(), cost);
                        prop_assert_eq!(is_admitted, has_units);
                    }
                }
            }
            prop_assert!(limiter.stats().keys <= 7);
        }
    }

    /// RL-10: whoever is refused, for whatever reason, has changed nothing: the next one finds what it
    /// would have found without.
    #[test]
    fn rl_10_refusal_changes_nothing(
        burst in 1..5_u32,
        asked in vec((0..2_u64, 0..7_u32, any::<bool>(), any::<bool>(), 0..nanos(T)), 1..100),
    ) {
        let [one, other] = [(); 2].map(|()| {
            let (limiter, clock) = limiter(quota(burst, T));
            (limiter.with_max_streams(streams(1)), clock)
        });
        let mut open = Vec::new();
        for (key, cost, holds, closes, later) in asked {
            if closes {
                open.clear();
            }
            let charge = Charge::new(cost).with_hold(holds.then_some(Hold::Call));
            // Refused several times by one, and never asked of the other.
            match check(&one.0, key, charge) {
                Ok(admission) => {
                    let had = check(&other.0, key, charge);
                    let had = had.map_err(|_| TestCaseError::fail("it was changed"))?;
                    prop_assert_eq!(admission.whole_in(), had.whole_in());
                    open.push((admission, had));
                }
                Err(rejection) => {
                    let again = check(&one.0, key, charge).expect_err("nothing has come back");
                    prop_assert_eq!(rejection, again);
                }
            }
            for (_, clock) in [&one, &other] {
                clock.advance(Duration::from_nanos(later));
            }
        }
        let (one, other) = (one.0.stats(), other.0.stats());
        prop_assert_eq!((one.allowed_total, one.open), (other.allowed_total, other.open));
    }

    /// RL-9: a clock that stands still, leaps, or goes back lets in no more than a burst at one time.
    #[test]
    fn rl_9_clock_that_goes_back_gives_no_more_than_a_burst(
        burst in 1..5_u32,
        times in vec(0..20 * nanos(T), 1..30),
    ) {
        let (limiter, clock) = limiter(quota(burst, T));
        let mut latest = 0;
        for time in times {
            clock.set(time);
            let mut admitted = 0;
            while spend(&limiter, 0, 1).is_ok() {
                admitted += 1;
            }
            prop_assert!(admitted <= burst);
            // Time that was there before gives nothing again.
            prop_assert!(time > latest || admitted == 0 || latest == 0);
            latest = latest.max(time);
        }
    }

    /// RL-5 (slots): calls and streams that are open are counted exactly, whatever comes and goes: at
    /// most N of each, 2N in all, and one more that comes back.
    #[test]
    fn slots_are_what_is_open(
        max in 1..4_u16,
        ops in vec((0..3_u64, 0..4_usize, any::<prop::sample::Index>()), 1..150),
    ) {
        let (limiter, _) = limiter(quota(u32::MAX / 4, Duration::from_nanos(1)));
        let limiter = limiter.with_max_streams(streams(max)).with_resumes(quota(1_000, T));
        let mut open: Vec<(u64, Hold, LocalSlot)> = Vec::new();
        for (key, what, which) in ops {
            let hold = match what {
                0 => Hold::Call,
                1 => Hold::Stream,
                2 => Hold::Resumption,
                _ if open.is_empty() => continue,
                _ => {
                    drop(open.swap_remove(which.index(open.len())));
                    continue;
                }
            };
            let max = usize::from(max);
            let count = |open: &[(u64, Hold, LocalSlot)]| {
                let of = |hold| open.iter().filter(|one| one.0 == key && one.1 == hold).count();
                let (calls, streams) = (of(Hold::Call), of(Hold::Stream));
                (calls, streams, calls + streams + of(Hold::Resumption))
            };
            let (calls, streams, all) = count(&open);
            match check(&limiter, key, Charge::new(1).with_hold(Some(hold))) {
                Ok(admission) => {
                    open.push((key, hold, admission.into_slot().expect("it is counted")));
                    let (calls, streams, all) = count(&open);
                    let comes_back = usize::from(hold == Hold::Resumption);
                    prop_assert!(calls <= max && streams <= max && all <= 2 * max + comes_back);
                }
                Err(rejection) => {
                    prop_assert_eq!(rejection.kind(), RejectionKind::TooManyOpen);
                    let is_full = match hold {
                        Hold::Call => calls == max || all >= 2 * max,
                        Hold::Stream => streams == max || all >= 2 * max,
                        _ => all > 2 * max,
                    };
                    prop_assert!(is_full, "refused {hold:?} with {calls}, {streams}, {all}");
                }
            }
            prop_assert_eq!(limiter.stats().open, open.len() as u64);
        }
        drop(open);
        prop_assert_eq!(limiter.stats().open, 0);
    }
}

/// RL-7: what does not fit is not charged in part.
#[test]
fn rl_7_cost_is_charged_whole_or_not_at_all() {
    let (limiter, clock) = limiter(quota(5, T));
    assert_eq!(spend(&limiter, 0, 3), Ok(()));
    assert_eq!(spend(&limiter, 0, 3), Err(T));
    assert_eq!(spend(&limiter, 0, 2), Ok(()), "both are still there");
    clock.advance(T * 5);
    assert_eq!(spend(&limiter, 0, 5), Ok(()));
}

/// R07: no time makes it fit.
#[test]
fn r07_cost_over_the_burst_never_fits() {
    let (limiter, _) = limiter(quota(5, T));
    for cost in [6, u32::MAX] {
        let rejected = check(&limiter, 0, Charge::new(cost)).expect_err("it is too much");
        assert_eq!(rejected.kind(), RejectionKind::NeverFits);
    }
    assert_eq!(spend(&limiter, 0, 5), Ok(()), "nothing was charged");
    assert_eq!(limiter.stats().never_fits_total, 2);
}

/// D19, RL-8: however many ask at one instant, and through whatever clone.
#[test]
fn d19_64_threads_at_one_instant_get_one_burst() {
    const THREADS: u32 = 64;
    const EACH: u32 = 50;
    let (limiter, _) = limiter(quota(1_000, T));
    let (admitted, start) = (AtomicU32::new(0), Barrier::new(THREADS as usize));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let limiter = limiter.clone();
            let (admitted, start) = (&admitted, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..EACH {
                    if spend(&limiter, 0, 1).is_ok() {
                        admitted.fetch_add(1, Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.load(Relaxed), 1_000);
    let stats = limiter.stats();
    assert_eq!(stats.allowed_total, 1_000);
    assert_eq!(stats.over_quota_total, u64::from(THREADS * EACH) - 1_000);
}

/// C46: a process that was stopped for an hour has no more than a burst to give.
#[test]
fn c46_leap_of_the_clock_gives_one_burst() {
    let (limiter, clock) = limiter(quota(3, T));
    for hours in 0..3 {
        clock.set(nanos(Duration::from_secs(60 * 60)) * hours);
        for _ in 0..3 {
            assert_eq!(spend(&limiter, 0, 1), Ok(()));
        }
        assert_eq!(spend(&limiter, 0, 1), Err(T));
    }
}

/// C07, RL-6: coming back has units of its own, and takes none of the others.
#[test]
fn c07_coming_back_is_limited_apart() {
    let (limiter, clock) = limiter(quota(1, T));
    let limiter = limiter.with_resumes(quota(10, Duration::from_millis(100)));
    let resume = Charge::new(1).with_budget(Budget::Resumes);
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
    for _ in 0..10 {
        assert!(check(&limiter, 0, resume).is_ok());
    }
    let refused = check(&limiter, 0, resume).expect_err("that was often");
    assert_eq!(refused.retry_after(), Duration::from_millis(100));
    assert_eq!(spend(&limiter, 0, 1), Err(T));
    clock.advance(T);
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
    assert!(check(&limiter, 0, resume).is_ok());
}

/// What is free costs no time, either, whatever the clock does.
#[test]
fn rl_9_free_request_never_waits() {
    let (limiter, clock) = limiter(quota(1, T));
    clock.set(nanos(T) * 1_000);
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
    clock.set(0);
    assert_eq!(spend(&limiter, 0, 0), Ok(()));
    assert_eq!(spend(&limiter, 0, 1), Err(T * 1_001));
    assert_eq!(spend(&limiter, 1, 0), Ok(()), "nor somebody new");
}

/// Each budget has a limit of its own, or none.
#[test]
fn unlimited_budget_leaves_the_other_one_its_limit() {
    let unlimited = shadowcat::rate_limit::Quota::UNLIMITED;
    let resume = Charge::new(1).with_budget(Budget::Resumes);
    let twice = |limiter: &LocalLimiter<FakeClock>, charge: Charge| {
        let first = check(limiter, 0, charge).is_ok();
        (first, check(limiter, 0, charge).is_ok())
    };
    let (free, _) = limiter(unlimited);
    let free = free.with_resumes(quota(1, T));
    assert_eq!(twice(&free, Charge::new(1)), (true, true));
    assert_eq!(twice(&free, resume), (true, false));
    let (limited, _) = limiter(quota(1, T));
    let limited = limited.with_resumes(unlimited);
    assert_eq!(twice(&limited, Charge::new(1)), (true, false));
    assert_eq!(twice(&limited, resume), (true, true));
}

/// What no clock can tell any more is the same as the latest time that it can.
#[test]
fn latest_time_of_all_is_told_without_an_overflow() {
    #[derive(Clone)]
    struct End;

    impl Clock for End {
        fn now(&self) -> Duration {
            Duration::MAX
        }
    }

    let quota = quota(1, shadowcat::rate_limit::Quota::MAX_WINDOW);
    let limiter = LocalLimiter::new(quota).with_max_keys(1).with_clock(End);
    assert_eq!(spend(&limiter, 0, 1), Ok(()));
    let wait = spend(&limiter, 0, 1).expect_err("it is spent");
    assert_eq!(wait, shadowcat::rate_limit::Quota::MAX_WINDOW);
}

/// Whoever only counts streams says yes to all else.
#[test]
fn unlimited_quota_only_counts_what_is_open() {
    let (limiter, _) = limiter(shadowcat::rate_limit::Quota::UNLIMITED);
    let limiter = limiter.with_max_streams(streams(1));
    let call = Charge::new(u32::MAX).with_hold(Some(Hold::Call));
    for _ in 0..3 {
        let admission = check(&limiter, 0, call).expect("none is open");
        assert!(check(&limiter, 0, call).is_err());
        assert!(check(&limiter, 1, call).is_ok(), "somebody else");
        drop(admission);
    }
}

/// A clock of the system only goes on.
#[test]
fn default_clock_goes_on_and_follows_a_paused_one() {
    use shadowcat::rate_limit::MonotonicClock;

    let clock = MonotonicClock::new();
    let (one, other) = (clock.now(), clock.now());
    assert!(one <= other);
    let paused = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    paused.block_on(async {
        let clock = MonotonicClock::default();
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.now(), Duration::from_secs(5));
    });
}
