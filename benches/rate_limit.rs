//! What it costs to count, beside tower_governor in the same run: per request, per key, per frame.
//!
//! The same requests go round and round, with and without a layer in turns within one run, so that
//! nothing but the layer is in the difference.

use std::{
    convert::Infallible,
    future::Future,
    hint::black_box,
    num::{NonZeroU16, NonZeroU32},
    pin::{Pin, pin},
    process::ExitCode,
    rc::Rc,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body::Frame;
use http_body_util::Full;
use limited::{ByDigest, ByToken, Inner, Requests, governor};
use shadowcat::{
    auth::Principal,
    message::{Message, MessageLayer},
    peer::PeerAddr,
    rate_limit::{
        ByPeer, ByPrincipal, BySession, ByTool, Charge, Decision, Limiter, LocalLimiter, Quota,
        RateKey, RateLimitLayer, ResponseBody,
    },
    session::{Session, SessionLayer},
};
use tower::{Layer, Service, ServiceBuilder, service_fn};
use tower_governor::key_extractor::GlobalKeyExtractor;

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/limited.rs"]
mod limited;
#[path = "support/report.rs"]
mod report;

const ROUNDS: usize = 101;
const BATCHES: usize = 300;
/// As many as stay in a core's first cache.
const BATCH: usize = 32;
const CALLS: f64 = (BATCHES * BATCH) as f64;

/// Nanoseconds that it takes to let a known key in, over an empty service.
const LIMIT: f64 = 80.0;
/// The same, over what tower_governor takes with a string for a key.
const GOVERNOR_LIMIT: f64 = 0.65;
const BYTES_LIMIT: f64 = 96.0;
/// Of a table that ten million keys have been through.
const FLOODED_MIB_LIMIT: f64 = 64.0;
/// What a check takes then, over what it takes with few keys.
const FLOODED_LIMIT: f64 = 2.0;
/// What two threads do against one: its inverse, so that less is better.
const THREADS_LIMIT: f64 = 1.0 / 1.7;
const FRAME_LIMIT: f64 = 5.0;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    if !args.iter().any(|arg| arg == "--bench") {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return ExitCode::SUCCESS;
    }
    let parts: [(&str, fn()); 4] = [
        ("requests", requests),
        ("keys", keys),
        ("threads", threads),
        ("frames", frames),
    ];
    // All of them, unless some are named.
    let names = |arg: &String| parts.iter().any(|(name, _)| arg == name);
    let picks = args.iter().any(names);
    for (name, part) in parts {
        if !picks || args.iter().any(|arg| arg == name) {
            part();
        }
    }
    report::finish()
}

/// As much as nobody here uses up.
fn plenty() -> Quota {
    let quota = Quota::per_second(100_000_000).expect("a quota");
    quota.with_burst(u32::MAX).expect("a quota")
}

/// What is in the requests from the start.
#[derive(Clone)]
struct Facts {
    principal: Principal,
    message: Option<Message>,
    session: Session,
}

fn requests() {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let principal = Principal::builder("3f2b8c1e-6f0a-4d8e-9a55-000000000001");
    let principal = principal.with_issuer("https://login.example.com");
    let principal = principal.build().expect("it has a name");
    let plain = Facts {
        session: session(&principal),
        principal,
        message: None,
    };
    let facts = Facts {
        message: Some(Message::new(Bytes::from_static(call.as_bytes()))),
        ..plain.clone()
    };

    let tool = layer((ByPrincipal, ByTool::new(["drop_*"]))).add_tool_cost("drop_*", 10);
    let limiter = LocalLimiter::new(plenty()).with_max_streams(NonZeroU16::MAX);
    let held = RateLimitLayer::with_limiter(ByPrincipal, limiter);
    // In turns, so that what the machine does meanwhile is done to all of them.
    let mut subjects = [
        Subject::new("nothing", &layer(()), &facts),
        Subject::new("principal", &layer(ByPrincipal), &facts),
        Subject::new("tower_governor", &governor(ByToken), &facts),
        Subject::new("session", &layer(BySession), &facts),
        Subject::new("tower_governor_by_digest", &governor(ByDigest), &facts),
        Subject::new(
            "tower_governor_by_nothing",
            &governor(GlobalKeyExtractor),
            &facts,
        ),
        Subject::new("principal_without_message", &layer(ByPrincipal), &plain),
        Subject::new("peer", &layer(ByPeer::new()), &plain),
        Subject::new("tool_with_cost", &tool, &facts),
        Subject::new("principal_with_slot", &held, &facts),
    ];
    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let nanos = (subject.measure)();
            subject.nanos.push(nanos);
        }
    }
    let [_, principal, theirs, session, ..] = &subjects;
    let ratios = [principal, session].map(|ours| (ours.name, ours.ratio(theirs)));
    for subject in &mut subjects {
        let name = format!("rate_limit/ns/{}", subject.name);
        let nanos = report::median(&mut subject.nanos);
        match subject.name {
            "principal" | "session" => report::check(&name, nanos, LIMIT),
            _ => report::info(&name, nanos),
        }
    }
    for (name, ratio) in ratios {
        let name = format!("rate_limit/ratio/{name}_to_tower_governor");
        report::check(&name, ratio, GOVERNOR_LIMIT);
    }
}

/// What is measured, and what it took in each round.
struct Subject {
    name: &'static str,
    measure: Box<dyn FnMut() -> f64>,
    nanos: Vec<f64>,
}

impl Subject {
    fn new<L>(name: &'static str, layer: &L, facts: &Facts) -> Self
    where
        L: Layer<Inner> + 'static,
        L::Service: Service<Request<Full<Bytes>>, Error = Infallible> + 'static,
    {
        Self {
            name,
            measure: Box::new(compare(layer, facts)),
            nanos: Vec::new(),
        }
    }

    /// The median of the rounds' ratios.
    fn ratio(&self, other: &Self) -> f64 {
        let both = self.nanos.iter().zip(&other.nanos);
        let mut ratios: Vec<_> = both.map(|(ours, theirs)| ours / theirs).collect();
        report::median(&mut ratios)
    }
}

fn layer<K: RateKey>(key: K) -> RateLimitLayer<K> {
    RateLimitLayer::new(key, plenty())
}

/// A session's fact, as the layer makes it.
fn session(principal: &Principal) -> Session {
    let (found, seen) = std::sync::mpsc::channel();
    let inner = service_fn(move |request: Request<_>| {
        let session = request.extensions().get::<Session>().cloned();
        found
            .send(session.expect("told by the layer"))
            .expect("heard");
        let _: Request<shadowcat::body::RequestBody<Full<Bytes>>> = request;
        std::future::ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let layers = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(SessionLayer::default());
    let mut service = layers.service(inner);
    let mut request = Request::post("/mcp")
        .header("content-type", "application/json")
        .body(Full::from(
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#,
        ))
        .expect("a valid request");
    request.extensions_mut().insert(principal.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let answered = runtime.expect("a runtime").block_on(service.call(request));
    drop(answered);
    seen.recv().expect("it was called")
}

/// Measures the nanoseconds per call that the layer adds.
fn compare<L>(layer: &L, facts: &Facts) -> impl FnMut() -> f64 + use<L>
where
    L: Layer<Inner>,
    L::Service: Service<Request<Full<Bytes>>, Error = Infallible>,
{
    let requests = Requests::default();
    requests
        .borrow_mut()
        .extend((0..BATCH).map(|_| request(facts)));
    let mut bare = Inner(Rc::clone(&requests));
    let mut layered = layer.layer(bare.clone());
    let mut next = Vec::with_capacity(BATCH);
    // The first one may allocate: its key is new.
    run(&mut layered, &requests, &mut next);
    let allocated = alloc::allocations(|| run(&mut layered, &requests, &mut next));
    if std::any::type_name::<L>().contains("shadowcat") {
        assert_eq!(allocated, 0, "allocates nothing");
    }
    move || {
        let with = time(|| run(&mut layered, &requests, &mut next));
        let without = time(|| run(&mut bare, &requests, &mut next));
        (with - without) / CALLS
    }
}

fn run<S>(service: &mut S, requests: &Requests, next: &mut Vec<Request<Full<Bytes>>>)
where
    S: Service<Request<Full<Bytes>>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..BATCHES {
        next.append(&mut requests.borrow_mut());
        assert_eq!(next.len(), BATCH, "nobody is refused");
        for request in next.drain(..) {
            let call = pin!(service.call(black_box(request)));
            black_box(call.poll(&mut cx).is_ready());
        }
    }
}

fn request(facts: &Facts) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp").body(Full::default()).expect("valid");
    for (name, value) in [
        (HOST, "mcp.example.com"),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "application/json, text/event-stream"),
        (
            AUTHORIZATION,
            "Bearer 8f14e45fceea167a5a36dedd4bea25439b74c9897bac770ffc029102a200c5de",
        ),
        (USER_AGENT, "bench"),
        (CONTENT_LENGTH, "300"),
    ] {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    let Facts {
        principal,
        message,
        session,
    } = facts.clone();
    let extensions = request.extensions_mut();
    extensions.insert(PeerAddr::new(([203, 0, 113, 9], 4242).into()));
    extensions.insert(principal);
    extensions.insert(session);
    if let Some(message) = message {
        extensions.insert(message);
    }
    request
}

/// Few keys, and what is left of many.
fn keys() {
    const FEW: u64 = 10_000;
    const MANY: u64 = 10_000_000;
    const COUNT: u64 = 1_000_000;

    // So slow that none of them is forgotten.
    let quota = Quota::per_minute(1)
        .and_then(|quota| quota.with_burst(1_000_000))
        .expect("a quota");
    for max in [1_000, FEW, 100_000] {
        let before = alloc::live_bytes();
        let limiter = LocalLimiter::new(quota).with_max_keys(max as usize);
        for key in 0..max {
            charge(&limiter, key);
        }
        let bytes = (alloc::live_bytes() - before) / max as f64;
        report::check(
            &format!("rate_limit/bytes_per_key/{max}"),
            bytes,
            BYTES_LIMIT,
        );
    }
    let before = alloc::live_bytes();
    let limiter = LocalLimiter::new(quota);
    for key in 0..FEW {
        charge(&limiter, key);
    }
    let check = || {
        let mut times: Vec<_> = (0..ROUNDS as u64)
            .map(|round| {
                let keys = (0..COUNT / 10).map(|nth| (nth * 7 + round) % FEW);
                time(|| keys.for_each(|key| charge(&limiter, key))) / (COUNT / 10) as f64
            })
            .collect();
        report::median(&mut times)
    };
    let few = check();
    report::info("rate_limit/check_ns/10000", few);

    let flood = time(|| (FEW..MANY).for_each(|key| charge(&limiter, key)));
    report::info("rate_limit/new_key_ns", flood / (MANY - FEW) as f64);
    let flooded = (alloc::live_bytes() - before) / f64::from(1 << 20);
    report::check("rate_limit/flooded/mib", flooded, FLOODED_MIB_LIMIT);
    let stats = limiter.stats();
    report::info("rate_limit/flooded/keys", stats.keys as f64);
    report::info(
        "rate_limit/flooded/overflowed",
        stats.overflowed_total as f64,
    );
    let bytes = (alloc::live_bytes() - before) / stats.keys as f64;
    report::check("rate_limit/bytes_per_key/full", bytes, BYTES_LIMIT);
    report::check(
        "rate_limit/flooded/check_ratio",
        check() / few,
        FLOODED_LIMIT,
    );
    // None of them is in any cache; tower_governor's are not either, and are never forgotten.
    let all = time(|| (0..COUNT).for_each(|nth| charge(&limiter, (nth * 7_919) % MANY)));
    report::info("rate_limit/flooded/any_key_ns", all / COUNT as f64);
}

fn charge(limiter: &impl Limiter, key: u64) {
    match limiter.check(&key, Charge::new(1)) {
        Decision::Now(verdict) => drop(black_box(verdict)),
        Decision::Later(_) => unreachable!("it is local"),
    }
}

/// The same work by one thread and by two, each with keys of its own.
fn threads() {
    const COUNT: u64 = 1_000_000;
    let limiter = LocalLimiter::new(plenty());
    let keys = |count: u64| {
        let limiter = &limiter;
        move |nth: u64| (0..COUNT).for_each(|key| charge(limiter, nth + 2 * (key % count)))
    };
    for count in [1, 100] {
        let ratio = times(keys(count));
        let name = format!("rate_limit/two_threads/{count}_keys_each");
        report::info(&format!("{name}/times_of_one"), 1.0 / ratio);
        report::check(&format!("{name}/time_to_one"), ratio, THREADS_LIMIT);
    }
    // Several keys are in one bucket, and its cache lines go to and fro.
    for count in [1_000, 40_000] {
        let name = format!("rate_limit/two_threads/{count}_keys_each/times_of_one");
        report::info(&name, 1.0 / times(keys(count)));
    }
    // What a map in shards is like that has a lock in each.
    let quota = ::governor::Quota::per_second(NonZeroU32::MAX);
    let other = ::governor::RateLimiter::dashmap(quota);
    let check = |key: u64| drop(black_box(other.check_key(&key)));
    let work = |nth: u64| (0..COUNT).for_each(|key| check(nth + 2 * (key % 100)));
    let name = "rate_limit/two_threads/100_keys_each/times_of_one_by_governor";
    report::info(name, 1.0 / times(work));
}

fn times(work: impl Fn(u64) + Sync) -> f64 {
    let mut ratios = Vec::new();
    for _ in 0..9 {
        let alone = time(|| work(0)) + time(|| work(1));
        let start = Barrier::new(3);
        let together = thread::scope(|scope| {
            let threads: Vec<_> = (0..2)
                .map(|nth| {
                    let (start, work) = (&start, &work);
                    scope.spawn(move || {
                        start.wait();
                        time(|| work(nth))
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
    report::median(&mut ratios)
}

/// Never at its end.
struct Endless(Bytes);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// What a slot costs each frame of a stream.
fn frames() {
    let (mut held, mut free) = (pin!(stream(true)), pin!(stream(false)));
    let mut bare = pin!(endless().into_body());
    let (mut with, mut without, mut inner) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(frame(held.as_mut()));
        without.push(frame(free.as_mut()));
        inner.push(frame(bare.as_mut()));
    }
    let [with, without, inner] = [with, without, inner].map(|mut times| report::median(&mut times));
    report::check("rate_limit/slot/frame_ns", with - without, FRAME_LIMIT);
    report::info("rate_limit/slot/frame_ns_over_inner_body", with - inner);
}

/// A body of the layer, that keeps a slot or none.
fn stream(is_held: bool) -> ResponseBody<Endless> {
    let mut limiter = LocalLimiter::new(plenty());
    if is_held {
        limiter = limiter.with_max_streams(NonZeroU16::MIN);
    }
    let inner = service_fn(|_: Request<()>| std::future::ready(Ok::<_, Infallible>(endless())));
    let mut service = RateLimitLayer::with_limiter((), limiter).layer(inner);
    let mut call = pin!(service.call(Request::new(())));
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) else {
        panic!("it is ready")
    };
    response.into_body()
}

fn endless() -> Response<Endless> {
    Response::new(Endless(Bytes::from_static(b"data: 1\n\n")))
}

/// Nanoseconds per frame.
fn frame<B: http_body::Body<Data = Bytes>>(mut body: Pin<&mut B>) -> f64 {
    const COUNT: usize = 300_000;
    let mut cx = Context::from_waker(Waker::noop());
    let all = time(|| {
        for _ in 0..COUNT {
            drop(black_box(body.as_mut().poll_frame(&mut cx)));
        }
    });
    all / COUNT as f64
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
