//! What every store has to do, as a test of any store.
//!
//! [`run`] asks all of it of fresh stores that its argument makes. It panics with what was expected.
//! Each part is public as well, for who wants to know which of them fails.
//!
//! ```
//! use shadowcat::store::{MemoryStore, contract};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! contract::run(MemoryStore::new).await;
//! # }
//! ```
//!
//! # What a store under test may do
//!
//! It may be as slow as it likes, within a minute for each part, and hold other streams: keys and
//! owners are new in each run. It may forget the oldest events of a stream, all but the last, and has
//! to say so; but it must not forget a whole stream meanwhile. So its limits on all streams together
//! should have room for 100 of them and 4 MiB, and streams that have ended should be kept for a
//! minute.
//!
//! A store of sessions is asked by `run_sessions` and `run_expiry`, which are there with the feature
//! `session`.
//!
//! Run it within a tokio runtime, with several threads if the store has threads of its own.

mod appending;
mod ending;
#[cfg(feature = "session")]
mod expiry;
mod owning;
mod purging;
mod reading;
#[cfg(feature = "session")]
mod session;
mod stream;
mod together;
mod watching;

use std::{future::Future, time::Duration};

use super::EventStore;

pub use self::{
    appending::appends, ending::ends, owning::isolates, purging::purges, reading::reads,
    together::works_together, watching::watches,
};
#[cfg(feature = "session")]
pub use self::{expiry::run_expiry, session::run_sessions};

/// Everything that a store has to do.
///
/// # Panics
///
/// If the store does something else, or nothing for a minute.
pub async fn run<T: EventStore>(mut make: impl FnMut() -> T) {
    within_limit("appends", appends(make())).await;
    within_limit("reads", reads(make())).await;
    within_limit("isolates", isolates(make())).await;
    within_limit("ends", ends(make())).await;
    within_limit("watches", watches(make())).await;
    within_limit("purges", purges(make())).await;
    within_limit("works_together", works_together(make())).await;
}

async fn within_limit(part: &str, test: impl Future<Output = ()>) {
    if tokio::time::timeout(Duration::from_secs(60), test)
        .await
        .is_err()
    {
        panic!("`{part}` should be over long before a minute has passed");
    }
}
