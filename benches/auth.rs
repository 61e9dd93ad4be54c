//! What auth costs, over a service that does nothing: to let somebody in, to refuse, to look up
//! scopes.
//!
//! The same requests go round and round, with and without the layer in turns within one run; what a
//! client would have sent anew is put back while nobody looks at the clock. So nothing but the layer
//! is in the difference.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    hint::black_box,
    pin::{Pin, pin},
    process::ExitCode,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::Full;
use shadowcat::{
    auth::{AuthLayer, MetadataService, Principal, ScopeLayer, Scopes, StaticTokens},
    message::Message,
};
use tower::{Layer, Service};

#[path = "support/alloc.rs"]
mod alloc;
#[path = "support/report.rs"]
mod report;

const ROUNDS: usize = 151;
const BATCHES: usize = 100;
/// As many as stay in a core's first cache.
const BATCH: usize = 32;
const CALLS: f64 = (BATCHES * BATCH) as f64;

const TOKEN: &str = "0123456789abcdefghijklmnopqrstuv";

/// Nanoseconds that it takes to let somebody in, over an empty service.
const LIMIT: f64 = 60.0;

type Body = Full<Bytes>;

type Requests = Rc<RefCell<Vec<Request<Body>>>>;

/// Keeps the requests for the next round.
#[derive(Clone)]
struct Inner(Requests);

impl Service<Request<Body>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.borrow_mut().push(request);
        Answer
    }
}

/// Does by hand what nobody who lets somebody in gets round: to take the credentials out, and to say
/// who it is.
#[derive(Clone)]
struct ByHand {
    principal: Principal,
    inner: Inner,
}

impl Service<Request<Body>> for ByHand {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        request.headers_mut().remove(AUTHORIZATION);
        let principal = self.principal.clone();
        match request.extensions_mut().get_mut::<Principal>() {
            Some(place) => *place = principal,
            None => drop(request.extensions_mut().insert(principal)),
        }
        self.inner.call(request)
    }
}

/// Makes its response when it is asked for it, so that nobody has to carry one about.
struct Answer;

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(Body::default())))
    }
}

fn main() -> ExitCode {
    if !std::env::args().any(|arg| arg == "--bench") {
        // `cargo test --all-targets` runs this binary too; numbers from there would mean nothing.
        return ExitCode::SUCCESS;
    }
    let known = |count: usize, expires_at: Option<SystemTime>| {
        let alice = principal(expires_at);
        let others = (1..count).map(|nth| format!("other-{nth}"));
        let tokens = std::iter::once(TOKEN.to_owned()).chain(others);
        let tokens = tokens.fold(StaticTokens::new(), |tokens, token| {
            let added = tokens.add_token(&token, alice.clone());
            added.expect("a valid token")
        });
        AuthLayer::new(tokens).with_metadata(&metadata())
    };
    let token = Some(TOKEN);
    let alice = principal(None);
    let by_hand = |inner| ByHand {
        principal: alice.clone(),
        inner,
    };
    report::check("auth/ns", compare(&known(1, None), &[], token), LIMIT);
    // Over what everybody has to do who lets somebody in.
    report::info(
        "auth/ns/over_by_hand",
        compare_with(&known(1, None), by_hand, &[], token),
    );
    report::info("auth/ns/100_tokens", compare(&known(100, None), &[], token));
    let soon = SystemTime::now() + Duration::from_secs(3_600);
    report::info(
        "auth/ns/expiring",
        compare(&known(1, Some(soon)), &[], token),
    );
    let optional = known(1, None).with_optional(true);
    report::info("auth/ns/nobody", compare(&optional, &[], None));
    refuse(&known(1, None));

    let call = Bytes::from_static(
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#,
    );
    let scopes = |names: &[&str]| Scopes::new(names).expect("valid");
    let rules = ScopeLayer::new()
        .with_base(scopes(&["read"]))
        .add_method("tools/call", scopes(&["call"]))
        .add_tool("delete_*", scopes(&["admin"]))
        .add_tool("drop_*", scopes(&["admin"]))
        .add_resource("file:///private/*", scopes(&["private"]));
    let facts = [Fact::Principal(alice), Fact::Message(Message::new(call))];
    report::info("auth/scopes/ns", compare(&rules, &facts, None));
    report::finish()
}

fn metadata() -> MetadataService {
    MetadataService::builder("https://mcp.example.com/mcp")
        .add_authorization_server("https://login.example.com")
        .build()
        .expect("valid")
}

fn principal(expires_at: Option<SystemTime>) -> Principal {
    let mut alice = Principal::builder("alice").with_scopes(["read", "call"]);
    if let Some(at) = expires_at {
        alice = alice.with_expiry(at);
    }
    alice.build().expect("it has a name")
}

/// What is in the request from the start.
enum Fact {
    Principal(Principal),
    Message(Message),
}

/// Nanoseconds per call that the layer adds: the median of the differences.
fn compare<L>(layer: &L, facts: &[Fact], token: Option<&str>) -> f64
where
    L: Layer<Inner>,
    L::Service: Service<Request<Body>, Error = Infallible>,
{
    compare_with(layer, |bare| bare, facts, token)
}

/// The same over `other`.
fn compare_with<L, S>(
    layer: &L,
    other: impl FnOnce(Inner) -> S,
    facts: &[Fact],
    token: Option<&str>,
) -> f64
where
    L: Layer<Inner>,
    L::Service: Service<Request<Body>, Error = Infallible>,
    S: Service<Request<Body>, Error = Infallible>,
{
    let requests = Requests::default();
    requests.borrow_mut().reserve(BATCH);
    let bare = Inner(Rc::clone(&requests));
    let mut layered = layer.layer(bare.clone());
    let mut other = other(bare);
    let mut round = Round::new(requests, facts, token);
    // From the first round on the principal has its place in the extensions; to make it, `http`
    // allocates once per request.
    round.run(&mut layered);
    let mut allocated = 0;
    round.run_with(&mut layered, |work| allocated += alloc::allocations(work));
    assert_eq!(allocated, 0, "allocates nothing");
    // Of rounds that follow each other, in turns: what slows one down mostly slows both.
    let mut added: Vec<f64> = (0..ROUNDS)
        .map(|nth| {
            if nth % 2 == 0 {
                round.run(&mut layered) - round.run(&mut other)
            } else {
                -round.run(&mut other) + round.run(&mut layered)
            }
        })
        .collect();
    report::median(&mut added)
}

/// Requests on their way.
struct Round {
    back: Requests,
    next: Vec<Request<Body>>,
    token: Option<HeaderValue>,
}

impl Round {
    fn new(back: Requests, facts: &[Fact], token: Option<&str>) -> Self {
        back.borrow_mut().extend((0..BATCH).map(|_| request(facts)));
        Self {
            back,
            next: Vec::with_capacity(BATCH),
            token: token.map(credentials),
        }
    }

    /// Nanoseconds per call.
    fn run<S>(&mut self, service: &mut S) -> f64
    where
        S: Service<Request<Body>, Error = Infallible>,
    {
        let mut spent = 0.0;
        self.run_with(service, |work| spent += time(work));
        spent / CALLS
    }

    fn run_with<S>(&mut self, service: &mut S, mut watch: impl FnMut(&mut dyn FnMut()))
    where
        S: Service<Request<Body>, Error = Infallible>,
    {
        for _ in 0..BATCHES {
            self.next.append(&mut self.back.borrow_mut());
            assert_eq!(self.next.len(), BATCH, "nobody is refused");
            if let Some(token) = &self.token {
                for request in &mut self.next {
                    request.headers_mut().insert(AUTHORIZATION, token.clone());
                }
            }
            let next = &mut self.next;
            watch(&mut || next.drain(..).for_each(|request| call(service, request)));
        }
    }
}

fn call<S>(service: &mut S, request: Request<Body>)
where
    S: Service<Request<Body>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let call = pin!(service.call(black_box(request)));
    black_box(call.poll(&mut cx).is_ready());
}

/// What it takes to refuse, the response and the end of the request included.
fn refuse(layer: &AuthLayer<StaticTokens>) {
    let mut service = layer.layer(Inner(Requests::default()));
    for (name, token) in [("no_token", None), ("unknown_token", Some("unknown"))] {
        let token = token.map(credentials);
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let mut spent = 0.0;
            for _ in 0..BATCHES {
                let mut requests: Vec<_> = (0..BATCH).map(|_| request(&[])).collect();
                if let Some(token) = &token {
                    for request in &mut requests {
                        request.headers_mut().insert(AUTHORIZATION, token.clone());
                    }
                }
                let refuse = || requests.drain(..).for_each(|one| call(&mut service, one));
                spent += time(refuse);
            }
            times.push(spent / CALLS);
        }
        let name = format!("auth/refused_ns/{name}");
        report::info(&name, report::median(&mut times));
    }
}

fn credentials(token: &str) -> HeaderValue {
    HeaderValue::try_from(format!("Bearer {token}")).expect("ASCII")
}

fn request(facts: &[Fact]) -> Request<Body> {
    let mut request = Request::post("/mcp").body(Body::default()).expect("valid");
    for (name, value) in [
        (HOST, "mcp.example.com"),
        (CONTENT_TYPE, "application/json"),
        (ACCEPT, "application/json, text/event-stream"),
        (USER_AGENT, "bench"),
        (CONTENT_LENGTH, "300"),
    ] {
        let value = HeaderValue::from_static(value);
        request.headers_mut().insert(name, value);
    }
    let extensions = request.extensions_mut();
    for fact in facts {
        match fact {
            Fact::Principal(principal) => drop(extensions.insert(principal.clone())),
            Fact::Message(message) => drop(extensions.insert(message.clone())),
        }
    }
    request
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
