//! What message, origin and session cost together around a JSON request of a known session: time, and
//! what they allocate, layer by layer.
//!
//! The request comes with what is known of its sender, as it does behind auth: the first fact of a
//! request costs two allocations more than any other, whoever adds it.

use std::convert::Infallible;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use alloc::allocations;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use report::{check, info, median};
use script::Script;
use shadowcat::message::MessageLayer;
use shadowcat::origin::OriginLayer;
use shadowcat::peer::PeerAddr;
use shadowcat::session::SessionLayer;
use tower::{Service, ServiceBuilder};

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/payload.rs"]
mod payload;
#[path = "support/report.rs"]
mod report;
#[path = "support/script.rs"]
#[allow(dead_code)]
mod script;

const ROUNDS: usize = 21;
const CALLS: usize = 2_000;

/// One for each of the facts, `Message` and `Session`, since `http::Extensions` boxes what it keeps. With
/// a principal, its table also grows, because that takes three facts at first.
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

    let session = SessionLayer::default().allow_anonymous();
    let opened = opened(&session);
    let message = ServiceBuilder::new().layer(MessageLayer::new());
    let origin = ServiceBuilder::new().layer(OriginLayer::loopback());
    let all = ServiceBuilder::new()
        .layer(OriginLayer::loopback())
        .layer(MessageLayer::new())
        .layer(session);
    let mut stacks = [
        calls(Script::json(), &opened),
        calls(origin.service(Script::json()), &opened),
        calls(message.service(Script::json()), &opened),
        calls(all.service(Script::json()), &opened),
    ];
    let counted = stacks.each_mut().map(|calls| {
        calls();
        allocations(calls) as f64 / CALLS as f64
    });
    // In turns, so that a busy machine slows all of them.
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (calls, times) in stacks.iter_mut().zip(&mut times) {
            times.push(time(calls) / CALLS as f64);
        }
    }
    let times = times.map(|mut times| median(&mut times));
    for (nth, name) in ["origin", "message", "all"].into_iter().enumerate() {
        info(&format!("guards/{name}_ns"), times[nth + 1] - times[0]);
        let allocated = counted[nth + 1] - counted[0];
        info(&format!("guards/{name}_allocations"), allocated);
    }
    let allocated = counted[3] - counted[0];
    check("guards/allocations", allocated, ALLOCATIONS_LIMIT);
    report::finish()
}

/// A client that is known.
/// The id of a session that is open.
fn opened(layer: &SessionLayer) -> HeaderValue {
    const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#;

    let inner = tower::service_fn(|_: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::<Bytes>::default());
        let upstream = HeaderValue::from_static("upstream");
        response.headers_mut().insert("mcp-session-id", upstream);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let request = Request::post("/mcp")
        .header("content-type", "application/json")
        .body(Full::from(INITIALIZE))
        .expect("a valid request");
    let mut service = ServiceBuilder::new().layer(layer).service(inner);
    script::ask(&mut service, request).headers()["mcp-session-id"].clone()
}

/// Some calls of the session.
fn calls<'a, S, B>(mut service: S, session: &'a HeaderValue) -> Box<dyn FnMut() + 'a>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible> + 'a,
    B: http_body::Body<Data = Bytes>,
{
    let peer = PeerAddr::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)));
    Box::new(move || {
        for _ in 0..CALLS {
            let mut request = script::call(session);
            let host = HeaderValue::from_static("localhost:8080");
            request.headers_mut().insert(HOST, host);
            request.extensions_mut().insert(peer);
            let response = script::ask(&mut service, request);
            assert_eq!(response.status(), 200);
            let mut body = Box::pin(response.into_body());
            while let Some(frame) = script::next(&mut body) {
                black_box(frame);
            }
        }
    })
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
