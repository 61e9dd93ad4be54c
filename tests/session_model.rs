//! SE-1 to SE-8: two principals, whatever they send and whatever the server answers, in any order.
//!
//! Histories are made up from seeds, and each step is compared with an oracle that is a list of
//! sessions. A failure names its seed, and the shortest history that fails in the same way;
//! `SHADOWCAT_MODEL_SEED=<seed>` runs that one alone, and `SHADOWCAT_MODEL_HISTORIES` says how many are
//! run.

#[path = "session_model/op.rs"]
mod op;
#[path = "session_model/tally.rs"]
mod tally;
#[path = "session_model/world.rs"]
mod world;

mod session_support;

use std::{
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

use op::{Op, history};
use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};
use tally::Tally;
use world::run;

/// How many histories all tests run together.
const HISTORIES: u64 = 20_000;
/// How many tests share them, so that they run side by side.
const SHARDS: u64 = 4;
/// A history has up to so many operations.
const LONGEST: usize = 22;

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

/// Runs a history; what is wrong with it, if it fails.
fn check(ops: &[Op]) -> Result<Tally, String> {
    IS_RUNNING.set(true);
    let result = catch_unwind(AssertUnwindSafe(|| run(ops)));
    IS_RUNNING.set(false);
    result.map_err(|panic| {
        let message = panic.downcast_ref::<String>().cloned();
        let message = message.or(panic.downcast_ref::<&str>().map(|&text| text.to_owned()));
        message.unwrap_or_default()
    })
}

fn shard(nth: u64) {
    keep_quiet();
    let histories = env("SHADOWCAT_MODEL_HISTORIES").unwrap_or(HISTORIES);
    let first = nth << 32;
    let seeds = match env("SHADOWCAT_MODEL_SEED") {
        Some(seed) if seed >> 32 == nth => seed..seed + 1,
        Some(_) => return,
        None => first..first + histories / SHARDS,
    };
    let is_sample = seeds.end - seeds.start >= 100;
    let mut tally = Tally::default();
    for seed in seeds {
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 5_000,
            ..Config::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let tree = history(LONGEST).new_tree(&mut runner).expect("a history");
        let tally = RefCell::new(&mut tally);
        let result = runner.run_one(tree, |ops| {
            let found = check(&ops).map_err(TestCaseError::fail)?;
            tally.borrow_mut().add(&found);
            Ok(())
        });
        if let Err(TestError::Fail(reason, ops)) = result {
            let ops: Vec<_> = ops.iter().map(|op| format!("    {op:?}\n")).collect();
            panic!("seed {seed}: {reason}\n{}", ops.concat());
        }
    }
    println!("{tally:?}");
    if is_sample {
        tally.assert_that_all_happens();
    }
}

#[test]
fn se_1_to_8_hold_in_the_first_quarter_of_histories() {
    shard(0);
}

#[test]
fn se_1_to_8_hold_in_the_second_quarter_of_histories() {
    shard(1);
}

#[test]
fn se_1_to_8_hold_in_the_third_quarter_of_histories() {
    shard(2);
}

#[test]
fn se_1_to_8_hold_in_the_last_quarter_of_histories() {
    shard(3);
}
