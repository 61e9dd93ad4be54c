//! What interceptors cost in memory, counted by the allocator. One test alone: it counts for the whole
//! process.

mod intercept_support;

use std::{alloc::System, convert::Infallible, future::ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::Full;
use intercept_support::{CALL, Chunks, LOG, back, events, post, requests};
use shadowcat::intercept::{Chain, InterceptLayer, Interceptor, Interest, Links, Verdict, sync_fn};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_test::{assert_ready, assert_ready_ok, task};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const EVENTS: usize = 100;

/// How often it allocates to look at a stream of events, each in a chunk of its own.
fn per_stream(layer: &InterceptLayer<impl Links>) -> usize {
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        // Shared once, so that a part of it costs no allocation.
        let event = Bytes::from(events(&[LOG]).into_bytes());
        let chunks = std::iter::repeat_n(event, EVENTS).collect();
        let response = Response::builder().header("content-type", "text/event-stream");
        ready(Ok::<_, Infallible>(
            response.body(Chunks(chunks)).expect("valid"),
        ))
    });
    let mut service = layer.layer(inner);
    let response = assert_ready_ok!(task::spawn(service.call(post(CALL))).poll());
    let mut body = task::spawn(response.into_body());
    let region = Region::new(ALLOCATOR);
    for _ in 0..EVENTS {
        let frame = assert_ready!(body.enter(|cx, body| body.poll_frame(cx)));
        assert!(frame.is_some_and(|frame| frame.is_ok()));
    }
    let change = region.change();
    change.allocations + change.reallocations
}

/// What nobody is interested in allocates nothing, and neither does a verdict that is there at once.
#[test]
fn verdicts_that_are_there_at_once_allocate_nothing() {
    let inner = service_fn(|_: Request<Full<Bytes>>| {
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::default())))
    });
    let other = sync_fn(Interest::requests("tools/list"), |_, _| Verdict::Continue);
    let mut service = InterceptLayer::new(other).layer(inner);
    let mut asked = Vec::from([post(CALL)]);
    let mut calls = Vec::with_capacity(1);
    let region = Region::new(ALLOCATOR);
    calls.extend(asked.drain(..).map(|request| service.call(request)));
    let change = region.change();
    assert_eq!((change.allocations, change.reallocations), (0, 0));

    let of_requests = InterceptLayer::new(requests(|_, _| Verdict::Continue));
    assert_eq!(per_stream(&of_requests), 0);
    let identity = || back(|_, _| Verdict::Continue);
    let ten = (0..10).fold(Chain::new(), |chain, _| chain.add_interceptor(identity()));
    assert_eq!(
        per_stream(&InterceptLayer::new((identity(), identity()))),
        0
    );
    assert_eq!(per_stream(&InterceptLayer::new(ten)), 0);
    // A passing deadline does not change that.
    let patient = identity().with_timeout(None);
    assert_eq!(per_stream(&InterceptLayer::new(patient)), 0);
}
