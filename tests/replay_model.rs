//! RPL-1 to RPL-15: whatever happens, in any order, nobody loses an event in silence, gets one twice,
//! or gets somebody else's.
//!
//! Histories are made up from seeds. A failure names its seed, and the shortest history that fails in
//! the same way; `SHADOWCAT_MODEL_SEED=<seed>` runs that one alone, and `SHADOWCAT_MODEL_HISTORIES`
//! says how many are run.

#[path = "replay_model/mod.rs"]
mod model;

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use model::op::{Op, Setup, history, setup};
use model::tally::{Tally, What};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// How many histories all tests run together.
const HISTORIES: u64 = 20_000;
/// How many tests share them, so that they run side by side.
const SHARDS: u64 = 4;
/// A history has up to so many operations.
const LONGEST: usize = 140;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

thread_local! {
    /// Whether a history is run: each one that fails on the way to the shortest would print why.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

fn keep_quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !IS_RUNNING.get() {
                print(info);
            }
        }));
    });
}

/// Checks the histories of some seeds.
fn check(seeds: impl Iterator<Item = u64>, mut test: impl FnMut(Setup, &[Op])) {
    keep_quiet();
    for seed in seeds {
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 20_000,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let tree = (setup(), history(LONGEST)).new_tree(&mut runner);
        let tree = tree.expect("a history");
        let test = RefCell::new(&mut test);
        let result = runner.run_one(tree, |(setup, history)| {
            let mut test = test.borrow_mut();
            IS_RUNNING.set(true);
            let result = catch_unwind(AssertUnwindSafe(|| test(setup, &history)));
            IS_RUNNING.set(false);
            result.map_err(|panic| {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or(panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
                TestCaseError::fail(message.unwrap_or_default())
            })
        });
        if let Err(TestError::Fail(reason, (setup, history))) = result {
            let ops: Vec<_> = history.iter().map(|op| format!("    {op:?}\n")).collect();
            panic!("seed {seed}: {reason}\n{setup:?}\n{}", ops.concat());
        }
    }
}

fn shard(nth: u64) {
    let histories = env("SHADOWCAT_MODEL_HISTORIES").unwrap_or(HISTORIES);
    let first = nth << 32;
    let seeds = match env("SHADOWCAT_MODEL_SEED") {
        Some(seed) if seed >> 32 == nth => seed..seed + 1,
        Some(_) => return,
        None => first..first + histories / SHARDS,
    };
    let is_sample = seeds.end - seeds.start >= 100;
    let mut tally = Tally::default();
    check(seeds, |setup, history| {
        tally.add(&model::run(setup, history));
    });
    println!("{tally}");
    if is_sample {
        assert!(tally.median() >= 30, "histories are too short");
        for what in [What::Resume, What::SecondAttach, What::Evict] {
            assert!(tally.share(what) >= 0.05, "too few of {what:?}");
        }
    }
}

/// What one is sent is the same without the other, as long as they do not share a cap.
#[test]
fn rpl_14_nobody_notices_his_neighbour() {
    let histories = env("SHADOWCAT_MODEL_HISTORIES").unwrap_or(HISTORIES);
    let first = SHARDS << 32;
    let seeds = match env("SHADOWCAT_MODEL_SEED") {
        Some(seed) if seed >> 32 == SHARDS => seed..seed + 1,
        Some(_) => return,
        None => first..first + histories / 10,
    };
    let mut sent = 0;
    check(seeds, |mut setup, history| {
        setup.max_detached = 1000;
        let history: Vec<_> = history.iter().cloned().map(Op::in_one_way).collect();
        let both = model::run_alone(setup, &history, 0, |_| true);
        let alone = model::run_alone(setup, &history, 0, |op| op.who() != Some(1));
        sent += alone.len();
        for (at, (one, other)) in alone.iter().zip(&both).enumerate() {
            assert_eq!(one, other, "RPL-14: {at}");
        }
        assert_eq!(alone.len(), both.len(), "RPL-14");
    });
    println!("{sent} events were sent to one of two");
}

#[test]
fn rpl_1_to_15_hold_in_the_first_quarter_of_histories() {
    shard(0);
}

#[test]
fn rpl_1_to_15_hold_in_the_second_quarter_of_histories() {
    shard(1);
}

#[test]
fn rpl_1_to_15_hold_in_the_third_quarter_of_histories() {
    shard(2);
}

#[test]
fn rpl_1_to_15_hold_in_the_last_quarter_of_histories() {
    shard(3);
}
