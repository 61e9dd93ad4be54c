use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use http::Request;
use tokio::sync::OwnedSemaphorePermit;

use super::*;
use crate::auth::{RejectionKind, jwt::sample};

/// One that checks no signature at once.
fn busy() -> JwtAuthorizer {
    let authorizer = JwtAuthorizer::new([sample::issuer()]).expect("valid");
    let trusted = authorizer.shared.trusted.clone();
    let digests = Arc::clone(&authorizer.shared.digests);
    JwtAuthorizer::with(trusted, digests, 1 << 20, Duration::ZERO)
}

fn begin(authorizer: &JwtAuthorizer, token: &str) -> Decision<Deciding> {
    authorizer.authorize(Credentials::new(token, &Request::new(())))
}

#[track_caller]
fn later(authorizer: &JwtAuthorizer, token: &str) -> Deciding {
    match begin(authorizer, token) {
        Decision::Later(deciding) => deciding,
        Decision::Now(decided) => panic!("at once: {decided:?}"),
    }
}

fn is_pending(deciding: &mut Deciding) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(deciding).as_mut().poll(&mut cx).is_pending()
}

#[tokio::test]
async fn c61_signatures_that_may_not_be_checked_at_once_are_on_other_threads() {
    let authorizer = busy();
    let principal = later(&authorizer, sample::ALICE).await.expect("good");
    assert_eq!(principal.subject(), "alice");
    let rejection = later(&authorizer, &sample::forged()).await;
    assert_eq!(rejection, Err(Fault::Signature.into()));
    // What is known is known at once, and so is what needs no signature to be told.
    assert!(matches!(
        begin(&authorizer, sample::ALICE),
        Decision::Now(Ok(_))
    ));
    assert!(matches!(begin(&authorizer, "a.b.c"), Decision::Now(Err(_))));
    assert_eq!(authorizer.stats().verified_total, 2);
}

/// A flood of what comes to no signature kept a thread busy, and nobody saw it.
#[test]
fn c61_what_is_refused_before_its_signature_counts_too() {
    let unknown = {
        let (_, rest) = sample::ALICE.split_once('.').expect("three parts");
        // {"typ":"at+jwt","alg":"EdDSA","kid":"other"}
        format!("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Im90aGVyIn0.{rest}")
    };
    for (token, fault) in [
        ("a.b.c", Fault::Malformed),
        ("e30.e30.YQ", Fault::Header),
        ("eyJhbGciOiJSUzI1NiJ9.e30.YQ", Fault::Issuer),
        (&unknown, Fault::UnknownKey),
        (&sample::forged(), Fault::Signature),
    ] {
        let authorizer = JwtAuthorizer::new([sample::issuer()]).expect("valid");
        let Decision::Now(decided) = begin(&authorizer, token) else {
            panic!("it is known")
        };
        assert_eq!(decided, Err(fault.into()), "{token}");
        let spent = authorizer.shared.pace.last_spent();
        assert!(!spent.is_zero(), "{token}");
    }
}

#[test]
fn b38_verdict_dies_with_its_token() {
    let authorizer = JwtAuthorizer::new([sample::issuer()]).expect("valid");
    let principal = match begin(&authorizer, sample::ALICE) {
        Decision::Now(decided) => decided.expect("good"),
        Decision::Later(_) => panic!("nobody else is there"),
    };
    let expiry = principal.expires_at().expect("in 2100");
    let end = millis_of(expiry + Issuer::MAX_LEEWAY);
    let digest = authorizer.shared.digests.digest(sample::ALICE);
    let digest = digest.expect("short enough");
    let at = |time| authorizer.shared.verdicts.get(&digest, time);
    assert_eq!(at(end - 1), Some(principal));
    assert_eq!(at(end), None);
    assert_eq!(authorizer.stats().cached, 0);
}

#[test]
fn c45_by_a_clock_before_1970_no_token_counts() {
    let second = Duration::from_secs(1);
    assert_eq!(millis_of(SystemTime::UNIX_EPOCH + second), 1_000);
    assert_eq!(millis_of(SystemTime::UNIX_EPOCH), 0);
    assert_eq!(millis_of(SystemTime::UNIX_EPOCH - second), i64::MAX);
}

#[tokio::test]
async fn many_requests_with_one_cold_token_cause_one_verification() {
    let authorizer = busy();
    for (token, is_good) in [(sample::ALICE.to_owned(), true), (sample::forged(), false)] {
        let before = authorizer.stats().verified_total;
        let waiting: Vec<_> = (0..100).map(|_| later(&authorizer, &token)).collect();
        for decision in waiting {
            assert_eq!(decision.await.is_ok(), is_good);
        }
        assert_eq!(authorizer.stats().verified_total, before + 1);
    }
}

#[tokio::test]
async fn d21_when_the_first_one_goes_away_the_next_one_verifies() {
    let authorizer = busy();
    let first = later(&authorizer, sample::ALICE);
    let mut second = later(&authorizer, sample::ALICE);
    let third = later(&authorizer, sample::ALICE);
    assert!(is_pending(&mut second));
    drop(first);
    assert!(third.await.is_ok());
    assert!(second.await.is_ok());
    assert_eq!(authorizer.stats().verified_total, 1);

    // Also when it was waiting for a thread already.
    let threads = all_threads(&authorizer);
    let mut first = later(&authorizer, sample::BOB);
    let second = later(&authorizer, sample::BOB);
    assert!(is_pending(&mut first));
    drop(first);
    drop(threads);
    assert!(second.await.is_ok());
    assert_eq!(authorizer.stats().verified_total, 2);
}

/// Keeps all threads that signatures may be checked on.
fn all_threads(authorizer: &JwtAuthorizer) -> Vec<OwnedSemaphorePermit> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut next = || {
        let place = authorizer.shared.pace.place().expect("few wait");
        match pin!(place.turn()).poll(&mut cx) {
            Poll::Ready(permit) => permit,
            Poll::Pending => None,
        }
    };
    std::iter::from_fn(&mut next).collect()
}

#[tokio::test]
async fn no_more_signatures_wait_than_may() {
    let authorizer = busy();
    let (message, _) = sample::ALICE.rsplit_once('.').expect("three parts");
    let bad = |nth: u32| {
        use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

        format!(
            "{message}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(nth.to_be_bytes())
        )
    };
    let waiting: Vec<_> = (0..1_024)
        .map(|nth| later(&authorizer, &bad(nth)))
        .collect();
    let Decision::Now(Err(rejection)) = begin(&authorizer, &bad(1_024)) else {
        panic!("one more")
    };
    let second = Duration::from_secs(1);
    assert_eq!(*rejection.kind(), RejectionKind::Unavailable(second));
    for decision in waiting {
        assert_eq!(decision.await, Err(Fault::Signature.into()));
    }
    assert!(later(&authorizer, sample::ALICE).await.is_ok());
}

#[test]
fn outside_of_a_runtime_there_is_no_other_thread() {
    let authorizer = busy();
    assert!(matches!(
        begin(&authorizer, sample::ALICE),
        Decision::Now(Ok(_))
    ));
}

#[test]
fn what_is_shared_and_what_is_not() {
    fn sent<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn moved<T: Send + 'static>() {}

    let authorizer = JwtAuthorizer::new([sample::issuer()]).expect("valid");
    sent(&authorizer);
    moved::<Deciding>();
    let clone = authorizer.clone();
    assert!(Arc::ptr_eq(&authorizer.shared, &clone.shared));
    assert!(matches!(
        begin(&authorizer, sample::ALICE),
        Decision::Now(Ok(_))
    ));
    assert_eq!(clone.stats().cached, 1);
    // Another cache, and the same keys.
    let other = clone.with_cache_bytes(0);
    assert_eq!((other.stats().cached, other.stats().keys), (0, 1));
    for _ in 0..2 {
        assert!(matches!(begin(&other, sample::ALICE), Decision::Now(Ok(_))));
    }
    assert_eq!(other.stats().verified_total, 2);
}
