//! A clock that a test moves, and limits.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::{
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use shadowcat::{
    auth::Principal,
    message::Message,
    rate_limit::{
        Charge, Clock, Decision, Limiter, LocalLimiter, LocalSlot, Quota, RateLimitLayer,
        RejectionKind, Verdict,
    },
};

#[derive(Clone, Debug, Default)]
pub(crate) struct FakeClock(Arc<AtomicU64>);

impl FakeClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(nanos(by), Relaxed);
    }

    pub(crate) fn set(&self, nanos: u64) {
        self.0.store(nanos, Relaxed);
    }

    pub(crate) fn nanos(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).expect("it is short")
}

/// `burst` units, one of which comes back each `interval`.
pub(crate) fn quota(burst: u32, interval: Duration) -> Quota {
    let quota = Quota::per(interval, 1).and_then(|quota| quota.with_burst(burst));
    quota.expect("a quota")
}

/// A limiter of that quota, and its clock.
pub(crate) fn limiter(quota: Quota) -> (LocalLimiter<FakeClock>, FakeClock) {
    let clock = FakeClock::default();
    // Small, because each is filled with places that take a while to make.
    let limiter = LocalLimiter::new(quota).with_max_keys(500);
    (limiter.with_clock(clock.clone()), clock)
}

pub(crate) fn streams(max: u16) -> NonZeroU16 {
    NonZeroU16::new(max).expect("not zero")
}

/// What becomes of a charge.
pub(crate) fn check<C: Clock>(
    limiter: &LocalLimiter<C>,
    key: u64,
    charge: Charge,
) -> Verdict<LocalSlot> {
    match limiter.check(&key, charge) {
        Decision::Now(verdict) => verdict,
        Decision::Later(_) => panic!("it is local"),
    }
}

/// The time to wait for units, if there are not enough.
pub(crate) fn spend<C: Clock>(
    limiter: &LocalLimiter<C>,
    key: u64,
    cost: u32,
) -> Result<(), Duration> {
    match check(limiter, key, Charge::new(cost)) {
        Ok(_) => Ok(()),
        Err(rejection) => {
            assert_eq!(rejection.kind(), RejectionKind::OverQuota);
            Err(rejection.retry_after())
        }
    }
}

pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

/// A message that somebody has read, of somebody who is known.
pub(crate) fn message(who: &Principal, body: &str) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp")
        .header("content-type", "application/json")
        .body(Full::from(body.to_owned()))
        .expect("a valid request");
    let read = Message::new(Bytes::copy_from_slice(body.as_bytes()));
    request.extensions_mut().insert(read);
    request.extensions_mut().insert(who.clone());
    request
}

/// The time until a unit of [`layer`] is back.
pub(crate) const T: Duration = Duration::from_millis(1_500);

/// For everybody together: `burst` requests, one of which comes back each `T`.
pub(crate) fn layer(burst: u32) -> (RateLimitLayer<(), LocalLimiter<FakeClock>>, FakeClock) {
    let (limiter, clock) = limiter(quota(burst, T));
    (RateLimitLayer::with_limiter((), limiter), clock)
}
