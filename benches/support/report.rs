//! What every benchmark prints: one line per number, `name value limit PASS|FAIL`.

// Each benchmark uses some of it.
#![allow(dead_code)]

use std::{
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints a number that has to stay at or below `limit`, and remembers if it does not.
pub(crate) fn check(name: &str, value: f64, limit: f64) {
    let verdict = if value <= limit { "PASS" } else { "FAIL" };
    println!("{name} {value:.3} {limit:.3} {verdict}");
    if value > limit || value.is_nan() {
        FAILED.store(true, Ordering::Relaxed);
    }
}

/// Prints a number that nothing depends on.
pub(crate) fn info(name: &str, value: f64) {
    println!("{name} {value:.3} - INFO");
}

/// The middle of the values, or of the middle two.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Fails if any check did.
pub(crate) fn finish() -> ExitCode {
    if FAILED.load(Ordering::Relaxed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
