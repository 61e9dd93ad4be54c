//! Keys, tokens and an issuer for the tests of signed tokens.

// Not every test binary that includes this uses all of it.
#![allow(dead_code)]

pub(crate) mod issuer;
pub(crate) mod signer;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime};

use http::Request;
use issuer::{Answer, KeyServer};
use serde_json::{Value, json};
use shadowcat::auth::jwt::{Issuer, JwksUrl, JwtAuthorizer, Keys};
use shadowcat::auth::{Authorize, Credentials, Decision, Principal, Rejection, RejectionKind};
use signer::Signer;

pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const AUDIENCE: &str = "https://mcp.example.com/mcp";

pub(crate) const UNKNOWN_KEY: &str = "the token is signed with a key that is not known";

pub(crate) type Decided = Result<Principal, Rejection>;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("a clock that goes").as_secs()
}

/// What a good token says.
pub(crate) fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "editor",
        "scope": "tools:read tools:call",
        "iat": now(),
        "exp": now() + 3600,
    })
}

/// What a good token says, but for one claim. `null` leaves it out.
pub(crate) fn claims_with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    let members = claims.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    claims
}

/// A JWK set of the public keys.
pub(crate) fn jwks<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> String {
    let keys: Vec<_> = signers.into_iter().map(Signer::jwk).collect();
    json!({ "keys": keys }).to_string()
}

pub(crate) fn keys<'a>(signers: impl IntoIterator<Item = &'a Signer>) -> Keys {
    Keys::from_jwks(&jwks(signers)).expect("usable keys")
}

pub(crate) fn issuer(keys: impl Into<Keys>) -> Issuer {
    Issuer::new(ISSUER, AUDIENCE, keys).expect("a valid issuer")
}

pub(crate) fn authorizer(keys: impl Into<Keys>) -> JwtAuthorizer {
    JwtAuthorizer::new([issuer(keys)]).expect("a valid authorizer")
}

/// The keys of that server.
pub(crate) fn at(server: &KeyServer) -> JwksUrl {
    JwksUrl::loopback(&server.url()).expect("a URL of this machine")
}

/// A server with that document, and an authorizer that goes by it.
pub(crate) async fn serving(document: String) -> (KeyServer, JwtAuthorizer) {
    let server = KeyServer::start(Answer::Document(document)).await;
    let authorizer = authorizer(at(&server));
    (server, authorizer)
}

/// The decision, which has to be there at once. Inside of a runtime, that is sure only while the clock is
/// [held](hold): signatures may take so much time, and no more.
pub(crate) fn decide_now(authorizer: &JwtAuthorizer, token: &str) -> Decided {
    match begin(authorizer, token) {
        Decision::Now(decided) => decided,
        Decision::Later(_) => panic!("it takes its time"),
    }
}

pub(crate) async fn decide(authorizer: &JwtAuthorizer, token: &str) -> Decided {
    match begin(authorizer, token) {
        Decision::Now(decided) => decided,
        Decision::Later(decision) => decision.await,
    }
}

pub(crate) fn begin(
    authorizer: &JwtAuthorizer,
    token: &str,
) -> Decision<<JwtAuthorizer as Authorize>::Future> {
    let request = Request::new(());
    authorizer.authorize(Credentials::new(token, &request))
}

/// What the client of a refused token is told.
#[track_caller]
pub(crate) fn refusal(decided: Decided) -> &'static str {
    match decided.expect_err("it is refused").kind() {
        RejectionKind::InvalidToken(text) => text,
        other => panic!("refused as {other:?}"),
    }
}

/// After how long the client of a token that nobody can judge is to come again.
#[track_caller]
pub(crate) fn unavailable(decided: Decided) -> Duration {
    match decided.expect_err("it is refused").kind() {
        RejectionKind::Unavailable(after) => *after,
        other => panic!("refused as {other:?}"),
    }
}

/// Polls once.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Holds the clock of a runtime that was started with it paused, for as long as what it gives is there:
/// time passes when a test lets it [`pass`], and never by itself, however long the machine takes.
pub(crate) fn hold() -> Held {
    // A runtime that has nothing to do moves a paused clock on to the next timer, but not while it has
    // work on another thread.
    let (release, released) = mpsc::channel();
    tokio::task::spawn_blocking(move || {
        let _released = released.recv();
    });
    Held { _release: release }
}

/// A clock that is held.
pub(crate) struct Held {
    _release: mpsc::Sender<()>,
}

/// Lets that much time pass at once.
pub(crate) async fn pass(time: Duration) {
    tokio::time::advance(time).await;
}

/// What a future comes to without any time passing.
#[track_caller]
pub(crate) fn soon<F: Future>(future: F) -> impl Future<Output = F::Output> {
    /// So often all tasks get their turn, and sockets are looked at.
    const TURNS: usize = 1_000_000;

    let caller = std::panic::Location::caller();
    async move {
        let mut future = pin!(future);
        for _ in 0..TURNS {
            let mut cx = Context::from_waker(Waker::noop());
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            tokio::task::yield_now().await;
        }
        panic!("it takes its time, at {caller}")
    }
}

/// Lets other tasks run until it is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    soon(std::future::poll_fn(|_| match is_so() {
        true => Poll::Ready(()),
        false => Poll::Pending,
    }))
    .await;
}
