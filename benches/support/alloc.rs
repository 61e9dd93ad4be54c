//! Counts what is allocated, by all threads.
//!
//! The lints forbid unsafe code, and an allocator needs some: `stats_alloc` brings it. It costs each
//! allocation a few nanoseconds, which count against what is measured.

// Each benchmark uses some of it.
#![allow(dead_code)]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often `work` allocates, growing what is there included.
pub(crate) fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

/// How many bytes are allocated now.
pub(crate) fn live_bytes() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
