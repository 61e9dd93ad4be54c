//! What counting costs in memory, counted by the allocator. One test alone: it counts for the whole
//! process.

mod rate_limit_support;

use std::{alloc::System, convert::Infallible, future::ready, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use rate_limit_support::{LIST, limiter, message, quota, spend, streams};
use shadowcat::{
    auth::Principal,
    rate_limit::{ByPrincipal, RateLimitLayer},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A key that is known costs no allocation, and no flood of keys makes the table grow.
#[test]
fn known_key_allocates_nothing_and_many_keys_take_what_was_said() {
    const KEYS: u64 = 10_000;
    let (many, _) = limiter(quota(10, Duration::from_secs(60)));
    let many = many.with_max_keys(KEYS as usize);
    let region = Region::new(ALLOCATOR);
    for key in 0..KEYS {
        assert_eq!(spend(&many, key, 1), Ok(()));
    }
    let change = region.change();
    let held = change.bytes_allocated - change.bytes_deallocated;
    assert!(held as u64 / KEYS <= 96, "{held} bytes");
    let region = Region::new(ALLOCATOR);
    for key in 0..10 * KEYS {
        // Refused or not.
        let _ = spend(&many, key, 1);
    }
    assert_eq!(region.change().allocations, 0);
    drop(many);

    let alice = Principal::builder("alice").build().expect("it has a name");
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())))
    });
    for max in [None, Some(streams(1))] {
        let (mut limiter, _) = limiter(quota(1_000, Duration::from_secs(60)));
        if let Some(max) = max {
            limiter = limiter.with_max_streams(max);
        }
        let mut service = RateLimitLayer::with_limiter(ByPrincipal, limiter).layer(inner);
        let mut requests: Vec<_> = (0..100).map(|_| message(&alice, LIST)).collect();
        // All accounts are there when the service is: not even the first request waits for them.
        for _ in 0..2 {
            let request = requests.pop().expect("there are many");
            let region = Region::new(ALLOCATOR);
            let call = service.call(request);
            let change = region.change();
            assert_eq!((change.allocations, change.reallocations), (0, 0));
            drop(assert_ready_ok!(task::spawn(call).poll()));
        }
    }
}
