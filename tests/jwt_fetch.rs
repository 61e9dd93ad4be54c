//! How keys are fetched: when, from where, and what comes of it.

mod jwt_support;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jwt_support::issuer::{Answer, KeyServer, ok};
use jwt_support::signer::Signer;
use jwt_support::{
    UNKNOWN_KEY, at, authorizer, begin, claims, claims_with, decide, decide_now, hold, jwks, pass,
    poll, refusal, serving, soon, unavailable, until,
};
use serde_json::json;
use shadowcat::auth::Decision;
use shadowcat::auth::jwt::JwksUrl;

#[tokio::test(start_paused = true)]
async fn the_first_token_waits_for_the_keys_and_others_with_it() {
    let _held = hold();
    let signer = Signer::ed("k");
    let (server, authorizer) = serving(jwks([&signer])).await;
    let mut waiting = Vec::new();
    for nth in 0..50 {
        let token = signer.token(&claims_with("sub", nth.to_string().into()));
        match begin(&authorizer, &token) {
            Decision::Later(decision) => waiting.push(decision),
            Decision::Now(decided) => panic!("without keys: {decided:?}"),
        }
    }
    for (nth, decision) in waiting.into_iter().enumerate() {
        let principal = decision.await.expect("a good token");
        assert_eq!(principal.subject(), nth.to_string());
    }
    assert_eq!(server.requests(), 1);
    let head = server.head();
    assert!(head.starts_with("GET /keys?v=1 HTTP/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("host: 127.0.0.1:{}\r\n", server.port)),
        "{head}"
    );
    // From now on, nobody waits.
    assert!(decide_now(&authorizer, &signer.token(&claims())).is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_can_be_fetched_before_the_first_token() {
    let _held = hold();
    let signer = Signer::ed("k");
    let (server, authorizer) = serving(jwks([&signer])).await;
    authorizer.fetch_keys().await.expect("keys");
    authorizer.fetch_keys().await.expect("the same ones");
    assert!(decide_now(&authorizer, &signer.token(&claims())).is_ok());
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn t24_unknown_keys_are_looked_for_once_in_a_cooldown() {
    let _held = hold();
    let signer = Signer::ed("k");
    let (server, authorizer) = serving(jwks([&signer])).await;
    authorizer.fetch_keys().await.expect("keys");
    let mut unknown = (0..20_000).map(|nth| {
        let mut header = signer.header();
        header["kid"] = format!("unknown-{nth}").into();
        signer.token_of(&header, &claims())
    });
    // Within the cooldown of the first fetch, each is answered at once.
    for token in unknown.by_ref().take(5_000) {
        assert_eq!(refusal(decide_now(&authorizer, &token)), UNKNOWN_KEY);
    }
    assert_eq!(server.requests(), 1);
    // After it, one more fetch is made, for the first of them.
    pass(JwksUrl::COOLDOWN).await;
    let first = unknown.next().expect("one more");
    assert_eq!(refusal(decide(&authorizer, &first).await), UNKNOWN_KEY);
    for token in unknown.by_ref().take(10_000) {
        assert_eq!(refusal(decide_now(&authorizer, &token)), UNKNOWN_KEY);
    }
    assert_eq!(server.requests(), 2);
    assert_eq!(authorizer.stats().verified_total, 0);
    // And those whose key is known never wait.
    assert!(decide_now(&authorizer, &signer.token(&claims())).is_ok());
}

#[tokio::test(start_paused = true)]
async fn t24_no_more_wait_for_a_fetch_than_may() {
    let _held = hold();
    let signer = Signer::ed("k");
    let server = KeyServer::start(Answer::Stall(Vec::new())).await;
    let authorizer = authorizer(at(&server));
    let token = |nth: usize| signer.token(&claims_with("sub", nth.to_string().into()));
    let waiting: Vec<_> = (0..1_024)
        .map(|nth| begin(&authorizer, &token(nth)))
        .collect();
    assert!(
        waiting
            .iter()
            .all(|decision| matches!(decision, Decision::Later(_)))
    );
    let one_more = decide_now(&authorizer, &token(1_024));
    assert_eq!(unavailable(one_more), Duration::from_secs(1));
    drop(waiting);
    assert!(matches!(begin(&authorizer, &token(0)), Decision::Later(_)));
}

#[tokio::test(start_paused = true)]
async fn d21_a_fetch_goes_on_without_whoever_began_it() {
    let _held = hold();
    let signer = Signer::ed("k");
    let (server, authorizer) = serving(jwks([&signer])).await;
    let Decision::Later(mut leader) = begin(&authorizer, &signer.token(&claims())) else {
        panic!("without keys")
    };
    assert!(poll(&mut leader).is_pending());
    let other = signer.token(&claims_with("sub", "bob".into()));
    let Decision::Later(follower) = begin(&authorizer, &other) else {
        panic!("without keys")
    };
    drop(leader);
    assert_eq!(follower.await.expect("a good token").subject(), "bob");
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn c69_the_last_good_keys_count_until_they_are_too_old() {
    let _held = hold();
    let signer = Signer::ed("k");
    let server = KeyServer::start(Answer::Document(jwks([&signer]))).await;
    let url = at(&server)
        .with_refresh(Duration::from_secs(60))
        .with_max_stale(Duration::from_secs(600));
    let authorizer = authorizer(url);
    let token = signer.token(&claims());
    assert!(decide(&authorizer, &token).await.is_ok());
    let answers = [
        Answer::Nothing,
        Answer::Raw(b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n".to_vec()),
        Answer::Raw(b"HTTP/1.1 429 Later\r\ncontent-length: 0\r\n\r\n".to_vec()),
        Answer::Document("<html>".to_owned()),
        Answer::Document(json!({"keys": []}).to_string()),
    ];
    let unknown = Signer::ed("unknown").token(&claims());
    // Every 59 s. It is asked when the keys are 60 s old, and then 30, 60, 120 and 240 s after it has
    // failed: less and less often.
    let asked = [1, 2, 3, 3, 4, 4, 4, 5];
    for (answer, asked) in answers.into_iter().cycle().zip(asked) {
        server.answer(answer);
        pass(Duration::from_secs(59)).await;
        assert!(decide_now(&authorizer, &token).is_ok(), "never waits");
        assert_eq!(authorizer.stats().fetches_total, asked);
        if server.requests() < asked as usize {
            // Whose key is not known waits for what comes of it.
            unavailable(soon(decide(&authorizer, &unknown)).await);
        }
        assert_eq!(server.requests(), asked as usize);
    }
    assert_eq!(authorizer.stats().keys, 1);
    pass(Duration::from_secs(600 - 8 * 59 - 1)).await;
    assert!(decide_now(&authorizer, &token).is_ok(), "one more second");
    pass(Duration::from_secs(1)).await;
    // Too old, cached or not.
    let after = unavailable(decide_now(&authorizer, &token));
    assert_eq!(after, Duration::from_secs(8 * 59 + 240 - 600));
    assert_eq!(authorizer.stats().keys, 0);

    // And there are some again.
    server.answer(Answer::Document(jwks([&signer])));
    pass(after).await;
    assert!(decide(&authorizer, &token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn c69_at_the_start_it_is_tried_again_soon_and_then_less_often() {
    let _held = hold();
    let signer = Signer::ed("k");
    let server = KeyServer::start(Answer::Nothing).await;
    let authorizer = authorizer(at(&server));
    let token = signer.token(&claims());
    let mut backoff = Duration::from_secs(1);
    for nth in 1..=5 {
        let told = unavailable(decide(&authorizer, &token).await);
        assert_eq!(told, backoff);
        assert_eq!(server.requests(), nth);
        // Meanwhile everybody is answered at once.
        assert_eq!(unavailable(decide_now(&authorizer, &token)), backoff);
        assert_eq!(server.requests(), nth);
        pass(backoff).await;
        backoff *= 2;
    }
    server.answer(Answer::Document(jwks([&signer])));
    assert!(decide(&authorizer, &token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn c69_while_keys_cannot_be_had_nobody_says_that_there_is_no_such_key() {
    let _held = hold();
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let (server, authorizer) = serving(jwks([&old])).await;
    authorizer.fetch_keys().await.expect("keys");
    server.answer(Answer::Nothing);
    pass(JwksUrl::COOLDOWN).await;
    let token = new.token(&claims());
    for decided in [
        decide(&authorizer, &token).await,
        decide_now(&authorizer, &token),
    ] {
        assert_eq!(unavailable(decided), JwksUrl::COOLDOWN);
    }
    assert!(decide_now(&authorizer, &old.token(&claims())).is_ok());
    server.answer(Answer::Document(jwks([&new])));
    pass(JwksUrl::COOLDOWN).await;
    assert!(decide(&authorizer, &token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn keys_may_be_kept_for_ever() {
    let _held = hold();
    let signer = Signer::ed("k");
    let server = KeyServer::start(Answer::Document(jwks([&signer]))).await;
    let url = at(&server)
        .with_refresh(Duration::MAX)
        .with_max_stale(Duration::MAX);
    let authorizer = authorizer(url);
    let token = signer.token(&claims());
    assert!(decide(&authorizer, &token).await.is_ok());
    pass(Duration::from_secs(10 * 365 * 24 * 60 * 60)).await;
    assert!(decide_now(&authorizer, &token).is_ok());
    assert_eq!(server.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn c69_a_server_that_stalls_is_given_up() {
    let _held = hold();
    let signer = Signer::ed("k");
    let half = ok(&jwks([&signer]));
    for stalled in [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        half[..half.len() - 1].to_vec(),
    ] {
        let server = KeyServer::start(Answer::Stall(stalled)).await;
        let authorizer = authorizer(at(&server));
        let Decision::Later(mut decision) = begin(&authorizer, &signer.token(&claims())) else {
            panic!("without keys")
        };
        until(|| server.requests() == 1).await;
        assert!(poll(&mut decision).is_pending());
        pass(JwksUrl::TIMEOUT).await;
        let after = unavailable(soon(decision).await);
        assert_eq!(after, Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn c69_a_server_that_trickles_is_given_up_as_late() {
    let _held = hold();
    let signer = Signer::ed("k");
    let server = KeyServer::start(Answer::Trickle(ok(&jwks([&signer])))).await;
    let authorizer = authorizer(at(&server));
    let Decision::Later(mut decision) = begin(&authorizer, &signer.token(&claims())) else {
        panic!("without keys")
    };
    until(|| server.requests() == 1).await;
    let second = Duration::from_secs(1);
    for _ in 1..JwksUrl::TIMEOUT.as_secs() {
        pass(second).await;
        assert!(poll(&mut decision).is_pending());
    }
    pass(second).await;
    assert_eq!(unavailable(soon(decision).await), second);
}

#[tokio::test(start_paused = true)]
async fn keys_are_neither_refreshed_too_often_nor_forgotten_before_they_are() {
    let _held = hold();
    let signer = Signer::ed("k");
    let server = KeyServer::start(Answer::Document(jwks([&signer]))).await;
    let url = at(&server)
        .with_refresh(Duration::ZERO)
        .with_max_stale(Duration::ZERO);
    let authorizer = authorizer(url);
    let token = signer.token(&claims());
    assert!(decide(&authorizer, &token).await.is_ok());
    let second = Duration::from_secs(1);
    pass(JwksUrl::COOLDOWN - second).await;
    assert!(decide_now(&authorizer, &token).is_ok());
    assert_eq!(authorizer.stats().fetches_total, 1);
    pass(second).await;
    // As old as they may become is when they are fetched again, so there are none until then.
    assert!(soon(decide(&authorizer, &token)).await.is_ok());
    assert_eq!(server.requests(), 2);
}

#[test]
fn a_runtime_that_is_shut_down_leaves_nothing_behind() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let signer = Signer::ed("k");
    let token = signer.token(&claims());
    let first = runtime();
    let server = first.block_on(KeyServer::start(Answer::Stall(Vec::new())));
    let url = at(&server);
    let authorizer = authorizer(url);
    // Outside of any, nobody can fetch.
    assert_eq!(
        unavailable(decide_now(&authorizer, &token)),
        Duration::from_secs(1)
    );
    let begun = {
        let _within = first.enter();
        begin(&authorizer, &token)
    };
    let Decision::Later(decision) = begun else {
        panic!("without keys")
    };
    drop(first);
    let second = runtime();
    assert!(unavailable(second.block_on(decision)) >= Duration::from_secs(1));
    assert_eq!(authorizer.stats().fetches_total, 1);
}

/// A fetch that nobody can make any more once ended on the thread that began it, under the lock that it
/// then wanted itself.
#[test]
fn d24_a_runtime_that_is_shut_down_hangs_nobody() {
    let nowhere = || authorizer(JwksUrl::loopback("http://127.0.0.1:1/keys").expect("a URL"));
    // Told by another thread: one that hangs says nothing.
    let (said, heard) = mpsc::channel();
    let gone = said.clone();
    thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().build().expect("a runtime");
        let handle = runtime.handle().clone();
        drop(runtime);
        let _within = handle.enter();
        let token = Signer::ed("k").token(&claims());
        let Decision::Later(decision) = begin(&nowhere(), &token) else {
            panic!("it waits for what is over already")
        };
        let left = unavailable(tokio_test::block_on(decision));
        let ensured = tokio_test::block_on(nowhere().fetch_keys());
        gone.send((left, ensured.is_err())).expect("somebody hears");
    });
    let (left, is_error) = heard.recv_timeout(LIMIT).expect("it hangs");
    assert!(left >= Duration::from_secs(1), "{left:?}");
    assert!(is_error);

    // And while it is being shut down, with a request under way.
    let (arrived, begun) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let authorizer = nowhere();
        let token = Signer::ed("k").token(&claims());
        runtime.spawn(async move {
            arrived.send(()).expect("somebody hears");
            goes_on.recv().expect("it is told");
            drop(begin(&authorizer, &token));
        });
        begun.recv().expect("it began");
        let handle = runtime.handle().clone();
        let shut = thread::spawn(move || drop(runtime));
        // What is spawned now is dropped.
        while !is_closed(&handle) {
            thread::yield_now();
        }
        go_on.send(()).expect("it waits");
        shut.join().expect("no panic");
        said.send((Duration::ZERO, true)).expect("somebody hears");
    });
    heard.recv_timeout(LIMIT).expect("it hangs");
}

/// How long something may take that takes no time.
const LIMIT: Duration = Duration::from_secs(10);

fn is_closed(handle: &tokio::runtime::Handle) -> bool {
    let task = handle.spawn(std::future::pending::<()>());
    if task.is_finished() {
        return true;
    }
    task.abort();
    false
}
