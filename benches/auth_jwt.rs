//! What signed tokens cost: one whose verdict is known, one whose is not, the worst of bad ones and a
//! flood of them, and the memory of verdicts.

use std::collections::HashMap;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, SystemTime};

use alloc::{allocations, live_bytes};
use flood::Latency;
use http::Request;
use jsonwebtoken::{DecodingKey, Validation};
use report::{check, info, median};
use serde::Deserialize;
use serde_json::json;
use shadowcat::auth::jwt::{Algorithm, Issuer, JwtAuthorizer, Keys};
use shadowcat::auth::{Authorize, Credentials, Decision};
use signer::Signer;

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/flood.rs"]
mod flood;
#[path = "support/proc.rs"]
mod proc;
#[path = "support/report.rs"]
mod report;
#[path = "../tests/jwt_support/signer.rs"]
#[allow(dead_code)]
mod signer;

const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// Nanoseconds until a known verdict is there.
const HIT_LIMIT: f64 = 350.0;
/// What an unknown one may cost, to what jsonwebtoken takes with the same back-end.
const MISS_LIMIT: f64 = 1.1;
/// What the worst bad token may cost, to a short one with a bad signature of RSA.
const LARGE_LIMIT: f64 = 4.0;
/// What a flood of bad tokens does to a stream, to no flood.
const FLOOD_LIMIT: f64 = 1.2;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if let [role, name, set, upstream] = &args[..]
        && role == "--role"
        && name == "flood"
    {
        let upstream = upstream.parse().expect("an address");
        flood::serve(authorizer_of(set), upstream).expect("it serves");
        return ExitCode::SUCCESS;
    }
    let mut args = args.into_iter();
    if !args.any(|arg| arg == "--bench") {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return ExitCode::SUCCESS;
    }
    let wanted = args.next();
    let is_wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if is_wanted("hit") {
        hit();
    }
    if is_wanted("miss") {
        for algorithm in [
            Algorithm::Rs256,
            Algorithm::Ps256,
            Algorithm::Es256,
            Algorithm::EdDsa,
        ] {
            miss(algorithm);
        }
    }
    if is_wanted("large") {
        large();
    }
    if is_wanted("bytes") {
        bytes();
    }
    if is_wanted("flood") {
        flood();
    }
    report::finish()
}

fn authorizer(signer: &Signer) -> JwtAuthorizer {
    authorizer_of(&set_of(signer))
}

fn set_of(signer: &Signer) -> String {
    json!({"keys": [signer.jwk()]}).to_string()
}

fn authorizer_of(set: &str) -> JwtAuthorizer {
    let keys = Keys::from_jwks(set).expect("a key");
    let issuer = Issuer::new(ISSUER, AUDIENCE, keys).expect("valid");
    JwtAuthorizer::new([issuer]).expect("valid")
}

/// With an RSA signature, each has some 670 bytes, as tokens do.
fn tokens(signer: &Signer, count: usize) -> Vec<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let exp = now.expect("a clock that goes").as_secs() + 3600;
    let token = |nth: usize| {
        signer.token(&json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": format!("auth0|{nth:024}"),
            "client_id": "3f2b8c1e6f0a4d8e",
            "scope": "tools:read tools:call",
            "iat": exp - 3600,
            "exp": exp,
        }))
    };
    (0..count).map(token).collect()
}

/// Whose it is, which has to be known at once.
fn decide(authorizer: &JwtAuthorizer, token: &str, request: &Request<()>) -> bool {
    match authorizer.authorize(Credentials::new(token, request)) {
        Decision::Now(decided) => black_box(decided).is_ok(),
        Decision::Later(_) => panic!("without a runtime, nothing takes its time"),
    }
}

fn hit() {
    const COUNT: usize = 1_000;

    let signer = Signer::new(Algorithm::Rs256, "k");
    let authorizer = authorizer(&signer);
    let tokens = tokens(&signer, COUNT);
    info("auth_jwt/token_bytes", tokens[0].len() as f64);
    let request = Request::new(());
    let all = || {
        assert!(
            tokens
                .iter()
                .all(|token| decide(&authorizer, token, &request))
        )
    };
    all();
    assert_eq!(allocations(all), 0, "allocates nothing");
    let mut times: Vec<_> = (0..51).map(|_| time(all) / COUNT as f64).collect();
    check("auth_jwt/hit_ns", median(&mut times), HIT_LIMIT);
    assert_eq!(authorizer.stats().verified_total, COUNT as u64);
    let find = |nth: usize, is_one: bool| {
        let request = Request::new(());
        let half = COUNT / 2;
        let own = &tokens[nth * half..][..half];
        let part = if is_one { &tokens[..1] } else { own };
        for _ in 0..ROUNDS * half / part.len() {
            assert!(
                part.iter()
                    .all(|token| decide(&authorizer, token, &request))
            );
        }
    };
    let name = "auth_jwt/hit/two_threads/times_of_one";
    info(
        &format!("{name}/own_tokens"),
        two_threads(|nth| find(nth, false)),
    );
    info(
        &format!("{name}/same_token"),
        two_threads(|nth| find(nth, true)),
    );
}

/// How often one does it, each of which takes some milliseconds.
const ROUNDS: usize = 100;

/// How much faster two threads are than one that does the work of both.
fn two_threads(work: impl Fn(usize) + Sync) -> f64 {
    let mut ratios: Vec<_> = (0..5)
        .map(|_| {
            let alone = time(|| work(0)) + time(|| work(1));
            let start = Barrier::new(2);
            let together = thread::scope(|scope| {
                let timed = |nth: usize| {
                    let (start, work) = (&start, &work);
                    scope.spawn(move || {
                        start.wait();
                        time(|| work(nth))
                    })
                };
                let threads = [timed(0), timed(1)];
                let times = threads.map(|thread| thread.join().expect("no panic"));
                times[0].max(times[1])
            });
            alone / together
        })
        .collect();
    median(&mut ratios)
}

/// What jsonwebtoken is asked for, which is the least that says who it is.
#[derive(Deserialize)]
struct Claims {
    sub: String,
    scope: String,
}

/// The same tokens, first seen by each, in turns.
fn miss(algorithm: Algorithm) {
    const COUNT: usize = 300;

    let signer = Signer::new(algorithm, "k");
    let tokens = tokens(&signer, COUNT);
    let request = Request::new(());
    let jwk = serde_json::from_value(signer.jwk()).expect("a key");
    let key = DecodingKey::from_jwk(&jwk).expect("a key");
    let theirs = algorithm.name().parse().expect("they have it, too");
    let mut validation = Validation::new(theirs);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let mut keys = HashMap::new();
    keys.insert("k".to_owned(), key);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        let authorizer = authorizer(&signer);
        ours.push(time(|| {
            assert!(
                tokens
                    .iter()
                    .all(|token| decide(&authorizer, token, &request))
            );
        }));
        assert_eq!(authorizer.stats().verified_total, COUNT as u64);
        others.push(time(|| {
            for token in &tokens {
                let header = jsonwebtoken::decode_header(token).expect("a header");
                let key = &keys[&header.kid.expect("a name")];
                let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation);
                let claims = decoded.expect("a good token").claims;
                black_box((claims.sub, claims.scope));
            }
        }));
    }
    let [ours, others] = [ours, others].map(|mut times| median(&mut times) / COUNT as f64);
    let name = format!("auth_jwt/miss/{algorithm}");
    info(&format!("{name}/ns"), ours);
    info(&format!("{name}/jsonwebtoken_ns"), others);
    check(&format!("{name}/ratio"), ours / others, MISS_LIMIT);
}

/// Bad tokens that are as long as may be, and made to keep whoever reads them busy.
fn large() {
    const COUNT: usize = 100;

    let signer = Signer::new(Algorithm::Rs256, "k");
    let authorizer = authorizer(&signer);
    let request = Request::new(());
    let good = tokens(&signer, 1).remove(0);
    let (_, signature) = good.rsplit_once('.').expect("three parts");
    let header = signer::encode(signer.header().to_string());
    let forged = |claims: &str| format!("{header}.{}.{signature}", signer::encode(claims));
    let refused = |token: &str| {
        let all = || assert!((0..COUNT).all(|_| !decide(&authorizer, token, &request)));
        let mut times: Vec<_> = (0..15).map(|_| time(all) / COUNT as f64).collect();
        median(&mut times)
    };
    let own = |more: &str| {
        format!(r#"{{"iss":"{ISSUER}","aud":"{AUDIENCE}","sub":"x","exp":4102444800,{more}}}"#)
    };
    let signed = refused(&forged(&own(r#""scope":"a""#)));
    info("auth_jwt/large/small_ns", signed);
    let names: Vec<_> = (0..800).map(|nth| format!(r#""\u0061{nth}":0"#)).collect();
    for (name, claims) in [
        (
            "values",
            format!(r#"{{"iss":"x","a":[{}[]]}}"#, "[],".repeat(3_800)),
        ),
        ("members", format!(r#"{{"iss":"x",{}}}"#, names.join(","))),
        (
            "scopes",
            own(&format!(r#""scope":"{}""#, "a ".repeat(5_500))),
        ),
        (
            "groups",
            own(&format!(r#""scp":[{}"a"]"#, r#""a","#.repeat(900))),
        ),
    ] {
        let taken = refused(&forged(&claims));
        info(&format!("auth_jwt/large/{name}/ns"), taken);
        check(
            &format!("auth_jwt/large/{name}/to_small"),
            taken / signed,
            LARGE_LIMIT,
        );
    }
}

/// As many tokens as there is room for, and more.
fn bytes() {
    let signer = Signer::new(Algorithm::EdDsa, "k");
    let tokens = tokens(&signer, 40_000);
    let authorizer = authorizer(&signer);
    let request = Request::new(());
    let before = live_bytes();
    for token in &tokens {
        assert!(decide(&authorizer, token, &request));
    }
    let taken = live_bytes() - before;
    let stats = authorizer.stats();
    info("auth_jwt/cache/tokens", stats.cached as f64);
    info(
        "auth_jwt/cache/bytes_per_token",
        taken / stats.cached as f64,
    );
    check(
        "auth_jwt/cache/bytes",
        taken,
        JwtAuthorizer::DEFAULT_CACHE_BYTES as f64,
    );
    info(
        "auth_jwt/cache/counted_to_taken",
        stats.cached_bytes as f64 / taken,
    );
}

/// An event stream, while others send tokens with bad signatures.
fn flood() {
    const RATE: u32 = 5_000;

    let run = |signer: &Signer, token: Option<&str>| {
        flood::run(&set_of(signer), token, RATE).expect("it runs")
    };
    let idle = run(&Signer::ed("k"), None);
    info("auth_jwt/flood/idle/p50_us", idle.p50);
    info("auth_jwt/flood/idle/p99_us", idle.p99);
    for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::Es384] {
        let signer = Signer::new(algorithm, "k");
        let good = tokens(&signer, 1).remove(0);
        // The same request, refused before anything is checked: in turns, because of whatever else the
        // machine does.
        let rounds: Vec<_> = (0..3)
            .map(|_| (run(&signer, Some("not a token")), run(&signer, Some(&good))))
            .collect();
        let of = |part: fn(&(Latency, Latency)) -> f64| {
            median(&mut rounds.iter().map(part).collect::<Vec<_>>())
        };
        let name = format!("auth_jwt/flood/{algorithm}");
        info(
            &format!("{name}/malformed/p50_us"),
            of(|(cheap, _)| cheap.p50),
        );
        info(
            &format!("{name}/malformed/p99_us"),
            of(|(cheap, _)| cheap.p99),
        );
        info(&format!("{name}/p50_us"), of(|(_, costly)| costly.p50));
        info(&format!("{name}/p99_us"), of(|(_, costly)| costly.p99));
        info(
            &format!("{name}/refused_per_s"),
            of(|(_, costly)| costly.refused),
        );
        let to_malformed = of(|(cheap, costly)| costly.p50 / cheap.p50);
        let to_idle = of(|(_, costly)| costly.p50) / idle.p50;
        for (to, ratio) in [("malformed", to_malformed), ("idle", to_idle)] {
            let name = format!("{name}/p50_to_{to}");
            match algorithm {
                // So many of those keep a core busy, and more than that there is not for all of this.
                Algorithm::Es384 => info(&name, ratio),
                _ => check(&name, ratio, FLOOD_LIMIT),
            }
        }
        info(
            &format!("{name}/p99_to_malformed"),
            of(|(cheap, costly)| costly.p99 / cheap.p99),
        );
    }
}

/// Nanoseconds.
#[allow(
    clippy::disallowed_types,
    reason = "measures the machine, not a paused clock"
)]
fn time(work: impl FnOnce()) -> f64 {
    let start = std::time::Instant::now();
    work();
    Duration::as_nanos(&start.elapsed()) as f64
}
