//! What sessions cost: to find one among a million, its memory, and the layer around a request.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;

use alloc::{allocations, live_bytes};
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use report::{check, info, median};
use script::Script;
use shadowcat::auth::Principal;
use shadowcat::message::MessageLayer;
use shadowcat::session::SessionLayer;
use shadowcat::store::{MemorySessionStore, Owner, SessionKey, SessionName, SessionStore};
use tower::{Layer, Service, ServiceBuilder};

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/payload.rs"]
mod payload;
#[path = "support/report.rs"]
mod report;
#[path = "support/script.rs"]
#[allow(dead_code)]
mod script;

const ROUNDS: usize = 11;
const SESSIONS: usize = 1_000_000;

/// Nanoseconds to find a session, and to let it go.
const CHECK_LIMIT: f64 = 150.0;
const BYTES_LIMIT: f64 = 400.0;
/// What two threads do against one: its inverse, so that less is better.
const THREADS_LIMIT: f64 = 1.0 / 1.7;
const ALLOCATIONS_LIMIT: f64 = 2.0;

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == "--bench") {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    let _within = runtime.enter();
    let (store, sessions) = million();
    find(&store, &sessions);
    threads(&store, &sessions);
    drop(store);
    requests();
    report::finish()
}

type Sessions = Vec<(SessionKey, Owner)>;

fn store() -> MemorySessionStore {
    MemorySessionStore::new().with_max_sessions(2 * SESSIONS)
}

/// Each of them has a principal of its own, which is the worst.
fn million() -> (MemorySessionStore, Sessions) {
    let mut random = Random(1);
    let mut sessions: Sessions = Vec::with_capacity(SESSIONS);
    let store = store();
    // Of all that were opened there.
    let path = Some(Arc::new(http::Uri::from_static("/mcp")));
    let before = live_bytes();
    for nth in 0..SESSIONS {
        let owner = Owner::from_bytes(random.bytes());
        let (id, secret) = random.halves();
        let key = SessionKey::new(7, id);
        let lease = now(store.open(owner, Owner::from_bytes(random.bytes()))).expect("room");
        // As the layer copies it: a UUID, that is.
        let upstream = format!("3f2b8c1e-6f0a-4d8e-9a55-{nth:012x}");
        let upstream = HeaderValue::from_bytes(upstream.as_bytes()).expect("ASCII");
        now(store.establish(
            &lease,
            SessionName::new(key, secret, upstream.clone()).with_path(path.clone()),
        ))
        .expect("it is new");
        // Sent to the server once.
        black_box(lease.upstream().cloned());
        sessions.push((key, owner));
    }
    let bytes = (live_bytes() - before) / SESSIONS as f64;
    check("session/bytes", bytes, BYTES_LIMIT);
    (store, sessions)
}

/// In an order that no cache knows.
fn shuffled(sessions: &Sessions, seed: u64) -> Sessions {
    let mut random = Random(seed);
    let mut shuffled = sessions.clone();
    for at in (1..shuffled.len()).rev() {
        shuffled.swap(at, random.next() as usize % (at + 1));
    }
    shuffled
}

fn load(store: &MemorySessionStore, sessions: &[(SessionKey, Owner)]) {
    for (key, owner) in sessions {
        let lease = now(store.load(*key, *owner)).expect("it is there");
        black_box(lease.verify(&[0; 16]));
    }
}

fn find(store: &MemorySessionStore, sessions: &Sessions) {
    const COUNT: usize = 100_000;
    let shuffled = shuffled(sessions, 2);
    for active in [100, 1_000] {
        let some = &shuffled[..active];
        let rounds = COUNT / active;
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| time(|| (0..rounds).for_each(|_| load(store, some))) / COUNT as f64)
            .collect();
        let name = format!("session/check_ns/{active}_active_of_{SESSIONS}");
        check(&name, median(&mut times), CHECK_LIMIT);
    }
    // Every one of them is out of all caches; so is what is read for comparison.
    let mut times: Vec<_> = shuffled
        .chunks(COUNT)
        .map(|part| time(|| load(store, part)) / COUNT as f64)
        .collect();
    info("session/check_ns/all_in_random_order", median(&mut times));
    info("session/one_random_access_ns", random_access());
    let few = &shuffled[..100];
    let unknown: Sessions = (0..few.len() as u64)
        .map(|nth| (SessionKey::new(7, Random(nth).halves().0), few[0].1))
        .collect();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let look = |(key, owner): &(SessionKey, Owner)| {
                black_box(now(store.load(*key, *owner)).is_err());
            };
            time(|| (0..1_000).for_each(|_| unknown.iter().for_each(look))) / 100_000.0
        })
        .collect();
    info("session/unknown_ns", median(&mut times));
    // Those that are there, asked for by somebody else.
    let stranger = Owner::from_bytes([9; 32]);
    let foreign: Sessions = few.iter().map(|(key, _)| (*key, stranger)).collect();
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let look = |(key, owner): &(SessionKey, Owner)| {
                black_box(now(store.load(*key, *owner)).is_err());
            };
            time(|| (0..1_000).for_each(|_| foreign.iter().for_each(look))) / 100_000.0
        })
        .collect();
    info("session/foreign_ns", median(&mut times));
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(
            time(|| {
                for _ in 0..1_000 {
                    black_box(now(store.expire(7, 0, 64)).expect("it tells").again_in());
                }
            }) / 1_000.0,
        );
    }
    info("session/expire_step_ns", median(&mut times));
}

/// What the machine takes to read a word that is in no cache, of as much memory as the sessions take.
fn random_access() -> f64 {
    const LINES: usize = 400 * SESSIONS / 64;
    const COUNT: usize = 200_000;
    let mut random = Random(5);
    let mut memory: Vec<[u64; 8]> = (0..LINES as u64).map(|nth| [nth; 8]).collect();
    // One cycle through all lines (Sattolo).
    for at in (1..LINES).rev() {
        let other = random.next() as usize % at;
        let (one, two) = (memory[at][0], memory[other][0]);
        (memory[at][0], memory[other][0]) = (two, one);
    }
    let mut at = 0;
    time(|| (0..COUNT).for_each(|_| at = black_box(&memory)[at][0] as usize)) / COUNT as f64
}

/// The same work by one thread and by two.
fn threads(store: &MemorySessionStore, sessions: &Sessions) {
    const COUNT: usize = 200_000;
    let orders = [shuffled(sessions, 3), shuffled(sessions, 4)];
    let mut ratios = Vec::new();
    for round in 0..5 {
        let part = |nth: usize| &orders[nth][round * 150_000..][..COUNT];
        let alone = time(|| load(store, part(0))) + time(|| load(store, part(1)));
        let start = Barrier::new(3);
        let together = thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|nth| {
                    let start = &start;
                    scope.spawn(move || {
                        start.wait();
                        time(|| load(store, part(nth)))
                    })
                })
                .collect();
            start.wait();
            let times = threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"));
            times.fold(0.0, f64::max)
        });
        ratios.push(together / alone);
    }
    let ratio = median(&mut ratios);
    info("session/two_threads/times_of_one", 1.0 / ratio);
    check("session/two_threads/time_to_one", ratio, THREADS_LIMIT);
}

/// A call of a known session through the layer, and what it costs without.
fn requests() {
    const CALLS: usize = 2_000;
    let alice = Principal::builder("alice").build().expect("it has a name");
    let mut bare = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .service(Script::json());
    let layer = SessionLayer::new(store());
    let session = opened(&layer, &alice);
    let mut bound = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(layer)
        .service(Script::json());
    let request = || {
        let mut request = script::call(&session);
        request.extensions_mut().insert(alice.clone());
        request
    };
    let mut without = || {
        for _ in 0..CALLS {
            read(script::ask(&mut bare, request()));
        }
    };
    let mut with = || {
        for _ in 0..CALLS {
            let response = script::ask(&mut bound, request());
            debug_assert_eq!(response.status(), 200);
            read(response);
        }
    };
    let counted = [allocations(&mut without), allocations(&mut with)];
    let [counted_without, counted_with] = counted.map(|count| count as f64 / CALLS as f64);
    let (mut withouts, mut withs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        withouts.push(time(&mut without) / CALLS as f64);
        withs.push(time(&mut with) / CALLS as f64);
    }
    let [without, with] = [withouts, withs].map(|mut times| median(&mut times));
    info("session/request/without_ns", without);
    info("session/request/ns", with - without);
    check(
        "session/request/allocations",
        counted_with - counted_without,
        ALLOCATIONS_LIMIT,
    );
}

fn opened(layer: &SessionLayer, who: &Principal) -> HeaderValue {
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;
    let inner = tower::service_fn(|_: Request<Full<Bytes>>| {
        let mut response = http::Response::new(Full::<Bytes>::default());
        let upstream = HeaderValue::from_static("upstream");
        response.headers_mut().insert("mcp-session-id", upstream);
        std::future::ready(Ok::<_, std::convert::Infallible>(response))
    });
    let mut request = Request::post("/mcp")
        .header("content-type", "application/json")
        .body(Full::from(INITIALIZE))
        .expect("a valid request");
    request.extensions_mut().insert(who.clone());
    let mut service = layer.layer(inner);
    let mut call = pin!(service.call(request));
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) {
            return response.headers()["mcp-session-id"].clone();
        }
    }
}

fn read<B: http_body::Body<Data = Bytes>>(response: http::Response<B>) {
    let mut body = Box::pin(response.into_body());
    while let Some(frame) = script::next(&mut body) {
        black_box(frame);
    }
}

/// What is ready.
fn now<F: Future + Unpin>(mut future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(&mut future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a store in memory does not wait"),
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
    start.elapsed().as_nanos() as f64
}

/// The same numbers in each run.
struct Random(u64);

impl Random {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn bytes(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.next().to_le_bytes());
        }
        bytes
    }

    fn halves(&mut self) -> ([u8; 16], [u8; 16]) {
        let bytes = self.bytes();
        let (mut id, mut secret) = ([0; 16], [0; 16]);
        id.copy_from_slice(&bytes[..16]);
        secret.copy_from_slice(&bytes[16..]);
        (id, secret)
    }
}
