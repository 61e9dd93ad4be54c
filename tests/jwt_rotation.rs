//! What keys count for while they come and go.

mod jwt_support;

use std::time::Duration;

use jwt_support::issuer::{Answer, KeyServer};
use jwt_support::signer::Signer;
use jwt_support::{
    AUDIENCE, UNKNOWN_KEY, at, begin, claims, claims_with, decide, decide_now, hold, jwks, pass,
    refusal, serving, until,
};
use shadowcat::auth::Decision;
use shadowcat::auth::jwt::{Issuer, JwksUrl, JwtAuthorizer};

#[tokio::test(start_paused = true)]
async fn c70_t27_old_and_new_keys_count_while_both_are_there() {
    let _held = hold();
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let (server, authorizer) = serving(jwks([&old])).await;
    let old_token = old.token(&claims());
    assert!(decide(&authorizer, &old_token).await.is_ok());

    server.answer(Answer::Document(jwks([&old, &new])));
    pass(JwksUrl::COOLDOWN).await;
    // The first token of the new key brings it, and is not refused.
    assert!(decide(&authorizer, &new.token(&claims())).await.is_ok());
    assert!(decide_now(&authorizer, &old_token).is_ok());
    assert_eq!(server.requests(), 2);
    // The old key's verdicts are still the same ones.
    assert_eq!(authorizer.stats().verified_total, 2);

    // When the old one is gone, nobody asks; it is noticed all the same, with a token that is known.
    server.answer(Answer::Document(jwks([&new])));
    pass(JwksUrl::DEFAULT_REFRESH).await;
    assert!(
        decide_now(&authorizer, &old_token).is_ok(),
        "not noticed yet"
    );
    until(|| authorizer.stats().keys == 1).await;
    assert_eq!(server.requests(), 3);
    assert_eq!(refusal(decide_now(&authorizer, &old_token)), UNKNOWN_KEY);
    assert!(decide_now(&authorizer, &new.token(&claims())).is_ok());
}

/// It counted on for as long as its keys could be believed without their issuer: a day.
#[tokio::test(start_paused = true)]
async fn t27_key_that_was_withdrawn_while_nobody_came_does_not_count() {
    let _held = hold();
    let (old, new, kept) = (Signer::ed("old"), Signer::ed("new"), Signer::ed("kept"));
    let (server, authorizer) = serving(jwks([&old, &kept])).await;
    let (known, still) = (old.token(&claims()), kept.token(&claims()));
    assert!(decide(&authorizer, &known).await.is_ok());
    assert!(decide(&authorizer, &still).await.is_ok());

    server.answer(Answer::Document(jwks([&new, &kept])));
    pass(2 * JwksUrl::DEFAULT_REFRESH).await;
    // Both whose verdict is known, and others: all wait for one fetch.
    let other = old.token(&claims_with("sub", "mallory".into()));
    let waiting: Vec<_> = [&known, &other, &still]
        .map(|token| match begin(&authorizer, token) {
            Decision::Later(decision) => decision,
            Decision::Now(decided) => panic!("by keys that may be gone: {decided:?}"),
        })
        .into();
    let mut decided = Vec::new();
    for decision in waiting {
        decided.push(decision.await);
    }
    let good = decided.pop().expect("the last one").map(drop);
    assert_eq!(good, Ok(()), "its key is there still");
    for decided in decided {
        assert_eq!(refusal(decided), UNKNOWN_KEY);
    }
    assert_eq!(server.requests(), 2);
    // Of the key that was kept, the verdict was known.
    assert_eq!(authorizer.stats().verified_total, 2);
    assert!(decide_now(&authorizer, &still).is_ok());
}

#[tokio::test(start_paused = true)]
async fn c69_if_the_issuer_cannot_be_asked_its_last_keys_count_after_all() {
    let _held = hold();
    let signer = Signer::ed("k");
    let (server, authorizer) = serving(jwks([&signer])).await;
    let token = signer.token(&claims());
    assert!(decide(&authorizer, &token).await.is_ok());
    server.answer(Answer::Nothing);
    // It failed, and nobody came: then it is asked once more, but not waited for each time that it is.
    for (idle, waits) in [(20, true), (5, false), (9, false), (20, true)] {
        pass(Duration::from_secs(idle * 60)).await;
        let decided = match begin(&authorizer, &token) {
            Decision::Now(decided) => {
                assert!(!waits, "after {idle} min");
                until(|| authorizer.stats().fetches_total == server.requests() as u64).await;
                decided
            }
            Decision::Later(decision) => {
                assert!(waits, "after {idle} min");
                decision.await
            }
        };
        assert!(decided.is_ok(), "after {idle} min");
    }
    assert_eq!(authorizer.stats().verified_total, 1);
}

/// Another issuer's keys may be doubtful, and which tokens those are of is known once they are read.
#[tokio::test(start_paused = true)]
async fn doubt_in_one_issuer_does_not_have_another_ones_tokens_verified_again() {
    let _held = hold();
    let (one, other) = (Signer::ed("k"), Signer::ed("k"));
    let server = KeyServer::start(Answer::Document(jwks([&one]))).await;
    let fixed = jwt_support::keys([&other]);
    let fixed = Issuer::new("https://other.example.com", AUDIENCE, fixed).expect("valid");
    let issuers = [jwt_support::issuer(at(&server)), fixed];
    let authorizer = JwtAuthorizer::new(issuers).expect("valid");
    let theirs = other.token(&claims_with("iss", "https://other.example.com".into()));
    assert!(decide(&authorizer, &one.token(&claims())).await.is_ok());
    assert!(decide(&authorizer, &theirs).await.is_ok());
    server.answer(Answer::Stall(Vec::new()));
    pass(2 * JwksUrl::DEFAULT_REFRESH).await;
    for _ in 0..3 {
        assert!(decide_now(&authorizer, &theirs).is_ok());
    }
    assert_eq!(authorizer.stats().verified_total, 2);
    let one = begin(&authorizer, &one.token(&claims()));
    assert!(matches!(one, Decision::Later(_)));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_the_same_name_is_another_key() {
    let _held = hold();
    let (old, new) = (Signer::ed("k"), Signer::ed("k"));
    let (server, authorizer) = serving(jwks([&old])).await;
    assert!(decide(&authorizer, &old.token(&claims())).await.is_ok());
    server.answer(Answer::Document(jwks([&new])));
    pass(JwksUrl::DEFAULT_REFRESH).await;
    assert!(decide_now(&authorizer, &old.token(&claims())).is_ok());
    until(|| authorizer.stats().fetches_total == 2 && server.requests() == 2).await;
    until(|| decide_now(&authorizer, &old.token(&claims())).is_err()).await;
    assert!(decide_now(&authorizer, &new.token(&claims())).is_ok());
}
