//! What the check of `Host` and `Origin` costs, over a service that does nothing.
//!
//! The same request goes round and round, with and without the layer in turns within one run, so
//! that nothing but the layer is in the difference.

use std::{
    cell::Cell,
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    process::ExitCode,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, ORIGIN, USER_AGENT},
};
use shadowcat::origin::OriginLayer;
use tower::{Layer, Service};

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/report.rs"]
mod report;

const ROUNDS: usize = 31;
const CALLS: u32 = 20_000;

/// Keeps the request for the next round.
#[derive(Clone)]
struct Empty(Rc<Cell<Option<Request<()>>>>);

impl Service<Request<()>> for Empty {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        self.0.set(Some(request));
        Answer
    }
}

/// Makes its response when it is asked for it, so that nobody has to carry one about.
struct Answer;

impl Future for Answer {
    type Output = Result<Response<()>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(())))
    }
}

fn main() -> ExitCode {
    let listed = OriginLayer::new()
        .add_host("mcp.example.com")
        .and_then(|layer| layer.add_host("mcp.example.org:8443"))
        .and_then(|layer| layer.add_origin("https://app.example.com"))
        .expect("valid");
    let loopback = OriginLayer::loopback();
    let local = "localhost:8080";
    report::check("origin/ns", compare(&loopback, local, None), 60.0);
    let elsewhere = "mcp.example.org:8443";
    report::info("origin/listed_ns", compare(&listed, elsewhere, None));
    // A field has to be removed, which no client asks for that is no browser.
    let page = Some("http://localhost:5173");
    report::info("origin/page_ns", compare(&loopback, local, page));
    report::finish()
}

/// Nanoseconds per call that the layer adds: the difference of the medians.
fn compare(layer: &OriginLayer, host: &'static str, origin: Option<&'static str>) -> f64 {
    let slot = Rc::new(Cell::new(Some(request(host))));
    let mut bare = Empty(Rc::clone(&slot));
    let mut layered = layer.layer(bare.clone());
    let origin = origin.map(HeaderValue::from_static);
    // Whoever is refused does not come back for another round.
    run(&mut layered, &slot, origin.as_ref());
    let allocated = alloc::allocations(|| run(&mut layered, &slot, origin.as_ref()));
    assert_eq!(allocated, 0, "allocates nothing");
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(time(|| run(&mut layered, &slot, origin.as_ref())));
        without.push(time(|| run(&mut bare, &slot, origin.as_ref())));
    }
    report::median(&mut with) - report::median(&mut without)
}

fn request(host: &'static str) -> Request<()> {
    let mut request = Request::new(());
    for (name, value) in [
        (HOST, host),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "application/json, text/event-stream"),
        (AUTHORIZATION, "Bearer 0123456789"),
        (USER_AGENT, "bench"),
        (CONTENT_LENGTH, "300"),
    ] {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    request
}

fn run<S>(service: &mut S, slot: &Cell<Option<Request<()>>>, origin: Option<&HeaderValue>)
where
    S: Service<Request<()>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..CALLS {
        let mut request = black_box(slot.take().expect("it came back"));
        if let Some(origin) = origin {
            request.headers_mut().insert(ORIGIN, origin.clone());
        }
        let call = pin!(service.call(request));
        black_box(call.poll(&mut cx).is_ready());
    }
}

#[allow(
    clippy::disallowed_types,
    reason = "measures the machine, not a paused clock"
)]
fn time(run: impl FnOnce()) -> f64 {
    let start = std::time::Instant::now();
    run();
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}
