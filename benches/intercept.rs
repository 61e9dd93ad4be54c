//! What interceptors cost: where nobody is interested, for each event that somebody looks at, and for each
//! that is changed.
//!
//! The same requests and events go round and round, with and without the layer in turns within one run, so
//! that nothing but the layer is in the difference.

use std::{
    convert::Infallible,
    hint::black_box,
    pin::{Pin, pin},
    process::ExitCode,
    rc::Rc,
    task::{Context, Waker},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body::Body;
use http_body_util::Full;
use limited::{Inner, Requests};
use script::{Frames, Script};
use shadowcat::{
    intercept::{
        Chain, Direction, InterceptLayer, Interceptor, Interest, Links, Redact, Unneeded, Verdict,
        async_fn, sync_fn,
    },
    message::Message,
};
use tower::{Layer, Service};

#[path = "support/alloc.rs"]
mod alloc;
#[allow(dead_code)]
#[path = "support/limited.rs"]
mod limited;
#[path = "support/payload.rs"]
mod payload;
#[path = "support/report.rs"]
mod report;
#[allow(dead_code)]
#[path = "support/script.rs"]
mod script;

const ROUNDS: usize = 31;
const SET_UPS: usize = 7;
const BATCHES: usize = 300;
/// As many as stay in a core's first cache.
const BATCH: usize = 32;
const CALLS: f64 = (BATCHES * BATCH) as f64;
const EVENTS: usize = 20_000;

/// Nanoseconds per request that nobody is interested in.
const REQUEST_LIMIT: f64 = 30.0;
/// The same per event, and of a frame that nobody looks into.
const FRAME_LIMIT: f64 = 10.0;
/// Nanoseconds per event that is looked at, and allocations.
const IDENTITY_LIMIT: f64 = 800.0;
const ALLOCATIONS_LIMIT: f64 = 2.0;
/// Nanoseconds per event that is changed.
const REPLACE_LIMIT: f64 = 1_500.0;
/// What ten interceptors may take, over ten times what one more takes.
const LINEAR_LIMIT: f64 = 1.2;

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == "--bench") {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return ExitCode::SUCCESS;
    }
    requests();
    events();
    report::finish()
}

fn identity(interest: Interest) -> impl Interceptor<Future = Unneeded> {
    sync_fn(interest, |_, _| Verdict::Continue)
}

fn to_client() -> Interest {
    Interest::in_direction(Direction::ToClient)
}

fn requests() {
    let other = || identity(Interest::requests("resources/*"));
    // First, so that what is judged does not find the machine asleep.
    let nobody = compare(&InterceptLayer::new(()), Some(0));
    report::info("intercept/request/nobody_ns", nobody);
    let one = compare(&InterceptLayer::new(other()), Some(0));
    report::check("intercept/request/uninterested_ns", one, REQUEST_LIMIT);
    let three = InterceptLayer::new((other(), other(), other()));
    report::info(
        "intercept/request/three_uninterested_ns",
        compare(&three, Some(0)),
    );
    let chain = Chain::new()
        .add_interceptor(other())
        .add_interceptor(other());
    let chain = compare(&InterceptLayer::new(chain), Some(0));
    report::info("intercept/request/two_uninterested_in_a_chain_ns", chain);
    let layer = InterceptLayer::new(identity(Interest::requests("tools/*")));
    report::info("intercept/request/identity_ns", compare(&layer, None));
    let layer = InterceptLayer::new(identity(Interest::responses("tools/*")));
    report::info("intercept/request/watched_ns", compare(&layer, None));
    // Those of another method, one of which may be in the stream of this one.
    let layer = InterceptLayer::new(identity(Interest::responses("resources/*")));
    report::info(
        "intercept/request/watched_for_others_ns",
        compare(&layer, None),
    );
    let late = async_fn(Interest::requests("tools/*"), |_, _| async {
        Ok(Verdict::Continue)
    });
    report::info(
        "intercept/request/async_ns",
        compare(&InterceptLayer::new(late), None),
    );
}

fn events() {
    // Of requests, so that nobody looks into what comes back.
    let free = per_event(&InterceptLayer::new(identity(Interest::requests("*"))));
    report::check("intercept/event/uninterested_ns", free.ns, FRAME_LIMIT);
    report::check(
        "intercept/event/uninterested_allocations",
        free.allocations,
        0.0,
    );
    // Only the response matters, and of notifications only the keys are read.
    let responses = per_event(&InterceptLayer::new(identity(Interest::responses("*"))));
    report::info("intercept/event/only_responses_ns", responses.ns);
    let one = per_event(&InterceptLayer::new(identity(to_client())));
    report::check("intercept/event/identity_ns", one.ns, IDENTITY_LIMIT);
    report::check(
        "intercept/event/identity_allocations",
        one.allocations,
        ALLOCATIONS_LIMIT,
    );
    let two = per_event(&InterceptLayer::new((
        identity(to_client()),
        identity(to_client()),
    )));
    let ten = per_event(&InterceptLayer::new(ten()));
    report::info("intercept/event/two_ns", two.ns);
    report::info("intercept/event/ten_ns", ten.ns);
    report::check(
        "intercept/event/ten_allocations",
        ten.allocations,
        one.allocations,
    );
    // Of a chain, whose length the compiler does not know.
    let chain = |count| {
        let each = (0..count).map(|_| identity(to_client()));
        InterceptLayer::new(each.fold(Chain::new(), Chain::add_interceptor))
    };
    let dynamic = [1, 10, 100].map(|count| per_event(&chain(count)));
    report::info("intercept/event/ten_in_a_chain_ns", dynamic[1].ns);
    report::info("intercept/event/hundred_in_a_chain_ns", dynamic[2].ns);
    report::check(
        "intercept/event/hundred_to_ten_in_a_chain",
        (dynamic[2].ns - dynamic[0].ns) / 11.0 / (dynamic[1].ns - dynamic[0].ns),
        LINEAR_LIMIT,
    );
    report::check(
        "intercept/event/hundred_in_a_chain_allocations",
        dynamic[2].allocations,
        one.allocations,
    );
    let redact = Redact::new(to_client()).add_pointer("/params/progress");
    let redact = per_event(&InterceptLayer::new(redact.expect("a pointer")));
    report::check("intercept/event/replace_ns", redact.ns, REPLACE_LIMIT);
    report::info("intercept/event/replace_allocations", redact.allocations);
    let late = async_fn(to_client(), |_, _| async { Ok(Verdict::Continue) });
    let late = per_event(&InterceptLayer::new(late));
    report::info("intercept/event/async_ns", late.ns);
    report::info("intercept/event/async_allocations", late.allocations);
}

fn ten() -> impl Links {
    let one = || identity(to_client());
    (
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
    )
}

/// Nanoseconds per call that the layer adds: the median of several set-ups, because where the requests happen
/// to lie in memory makes up to twenty of them.
fn compare<L>(layer: &L, allocations: Option<usize>) -> f64
where
    L: Layer<Inner>,
    L::Service: Service<Request<Full<Bytes>>, Error = Infallible>,
{
    let mut kept = Vec::new();
    let mut differences: Vec<_> = (0..SET_UPS)
        .map(|nth| {
            kept.push(vec![0_u8; nth * 1_040]);
            compare_once(layer, allocations)
        })
        .collect();
    report::median(&mut differences)
}

/// The difference of the medians.
fn compare_once<L>(layer: &L, allocations: Option<usize>) -> f64
where
    L: Layer<Inner>,
    L::Service: Service<Request<Full<Bytes>>, Error = Infallible>,
{
    let requests = Requests::default();
    requests.borrow_mut().extend((0..BATCH).map(|_| request()));
    let mut bare = Inner(Rc::clone(&requests));
    let mut layered = layer.layer(bare.clone());
    let mut next = Vec::with_capacity(BATCH);
    run(&mut layered, &requests, &mut next);
    let allocated = alloc::allocations(|| run(&mut layered, &requests, &mut next));
    if let Some(expected) = allocations {
        assert_eq!(allocated, expected, "allocates nothing");
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(time(|| run(&mut layered, &requests, &mut next)) / CALLS);
        without.push(time(|| run(&mut bare, &requests, &mut next)) / CALLS);
    }
    report::median(&mut with) - report::median(&mut without)
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
            let mut call = pin!(service.call(black_box(request)));
            while black_box(call.as_mut().poll(&mut cx)).is_pending() {}
        }
    }
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp").body(Full::default()).expect("valid");
    for (name, value) in [
        (HOST, "mcp.example.com"),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "application/json, text/event-stream"),
        (AUTHORIZATION, "Bearer 0123456789"),
        (USER_AGENT, "bench"),
        (CONTENT_LENGTH, "300"),
    ] {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    let message = Message::new(Bytes::from(payload::call_body()));
    request.extensions_mut().insert(message);
    request
}

/// What the layer adds to an event of 300 bytes that comes alone.
struct Cost {
    ns: f64,
    allocations: f64,
}

fn per_event<L>(layer: &L) -> Cost
where
    L: Layer<Script>,
    L::Service: Service<
            Request<Full<Bytes>>,
            Response = http::Response<<L as Streams>::Body>,
            Error = Infallible,
        >,
    L: Streams,
{
    let event = script::events(1);
    let script = Script::stream(Frames::new(event.clone(), EVENTS));
    let mut layered = layer.layer(script.clone());
    let mut bare = script;
    let mut allocated = 0;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let mut body = Box::pin(script::ask(&mut layered, request()).into_body());
        let mut ns = 0.0;
        allocated = alloc::allocations(|| ns = time(|| read(body.as_mut(), event.len())));
        with.push(ns / EVENTS as f64);
        let mut body = Box::pin(script::ask(&mut bare, request()).into_body());
        without.push(time(|| read(body.as_mut(), event.len())) / EVENTS as f64);
    }
    Cost {
        ns: report::median(&mut with) - report::median(&mut without),
        allocations: allocated as f64 / EVENTS as f64,
    }
}

/// A layer whose services answer with a body.
trait Streams {
    type Body: Body<Data = Bytes>;
}

impl<L> Streams for InterceptLayer<L> {
    type Body = shadowcat::intercept::ResponseBody<Frames>;
}

fn read<B: Body<Data = Bytes>>(mut body: Pin<&mut B>, len: usize) {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..EVENTS {
        let std::task::Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) else {
            panic!("the next frame is ready")
        };
        let data = black_box(frame).into_data();
        // Redacted, it is longer.
        assert!(data.is_ok_and(|data| data.len() >= len), "a whole event");
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
