//! SE-1 to SE-8, D06 to D11: two principals and their sessions, whatever they send, whatever the server
//! answers, and whatever happens in between.
//!
//! Histories are made up from seeds. Requests stay under way while others come, sessions end under
//! them, and streams are resumed; each step is compared with an oracle that is a list of sessions. A
//! failure names its seed, and the shortest history that fails in the same way;
//! `SHADOWCAT_MODEL_SEED=<seed>` runs that one alone, and `SHADOWCAT_MODEL_HISTORIES` says how many are
//! run.

#[path = "session_model/op.rs"]
mod op;
#[path = "session_model/requests.rs"]
mod requests;
#[path = "session_model/server.rs"]
mod server;
#[path = "session_model/streams.rs"]
mod streams;
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
use session_support::settle;
use tally::Tally;
use world::World;

/// How many histories all tests run together.
const HISTORIES: u64 = 20_000;
/// How many tests share them, so that they run side by side.
const SHARDS: u64 = 4;
/// A history has up to so many operations.
const LONGEST: usize = 40;

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

thread_local! {
    /// Whether a history is run: each one that fails on the way to the shortest would print why.
    static IS_RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Runs a history, and panics if anything is not as it has to be.
fn run(history: &[Op]) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new();
        for op in history {
            world.step(op).await;
            // Chores are done, and what is said on a stream nobody reads is recorded.
            settle().await;
            world.check();
        }
        world.finish().await;
        world.tally
    })
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

/// Seeds that are next to each other as numbers that are not (SplitMix64).
const fn mixed(seed: u64) -> u64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
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
    // Of fewer, what is rare may be missing.
    let is_sample = seeds.end - seeds.start >= 1_000;
    let mut tally = Tally::default();
    for seed in seeds {
        let config = Config {
            failure_persistence: None,
            max_shrink_iters: 5_000,
            ..Config::default()
        };
        let (one, two) = (mixed(seed), mixed(!seed));
        let bytes = [one.to_le_bytes(), two.to_le_bytes()].concat();
        let rng = TestRng::from_seed(RngAlgorithm::XorShift, &bytes);
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
    println!("{tally:#?}");
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
