//! A stream's latency, while many requests with tokens that are not good come to the same server.
//!
//! Events come from outside of the server, as from an upstream, and say when: what counts is how long
//! the server takes to hand them on.

use std::convert::Infallible;
use std::future::ready;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use shadowcat::auth::AuthLayer;
use shadowcat::auth::jwt::JwtAuthorizer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};
use tower::{Layer, service_fn};

/// How often there is an event.
const PACE: Duration = Duration::from_millis(2);
const EVENTS: usize = 1_000;
const CONNECTIONS: u32 = 16;

/// Microseconds between when an event comes and when it is there.
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) refused: f64,
}

type Guard = (Arc<JwtAuthorizer>, String);

/// What comes from outside.
struct Events(mpsc::Receiver<Bytes>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|event| event.map(Frame::data).map(Ok))
    }
}

/// Sends events that say when, until nobody takes them.
async fn produce(events: mpsc::Sender<Bytes>, epoch: Instant) {
    let mut due = interval(PACE);
    loop {
        due.tick().await;
        let event = format!("data: {:020}\n\n", epoch.elapsed().as_nanos());
        if events.send(event.into()).await.is_err() {
            return;
        }
    }
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).enable_all();
    builder.build().expect("a runtime")
}

/// With a good token and its authorizer, `rate` requests a second come with that token's signature
/// changed; or as it is, if it is none.
pub(crate) fn run(flood: Option<Guard>, rate: u32) -> Latency {
    let epoch = Instant::now();
    // One thread, so that whatever keeps it busy is felt.
    let server = runtime(1);
    let listener = server.block_on(TcpListener::bind(("127.0.0.1", 0)));
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    let authorizer = flood.as_ref().map(|(guard, _)| Arc::clone(guard));
    let outside = runtime(1);
    server.spawn(serve(listener, authorizer, outside.handle().clone(), epoch));
    let (stop, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let flooding = flood.map(|(_, token)| {
        let (stop, refused) = (Arc::clone(&stop), Arc::clone(&refused));
        thread::spawn(move || {
            let client = Builder::new_current_thread().enable_all().build();
            let flooded = (0..CONNECTIONS).map(|nth| {
                let (token, stop, refused) =
                    (token.clone(), Arc::clone(&stop), Arc::clone(&refused));
                ask(address, token, nth, rate / CONNECTIONS, stop, refused)
            });
            let all = async {
                let mut tasks = tokio::task::JoinSet::new();
                flooded.for_each(|task| drop(tasks.spawn(task)));
                tasks.join_all().await;
            };
            client.expect("a runtime").block_on(all);
        })
    });
    let client = Builder::new_current_thread().enable_all().build();
    let started = Instant::now();
    let mut took = client.expect("a runtime").block_on(listen(address, epoch));
    let refused = refused.load(Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    if let Some(flooding) = flooding {
        flooding.join().expect("no panic");
    }
    server.shutdown_background();
    outside.shutdown_background();
    took.sort_by(f64::total_cmp);
    let part = |part: f64| took[(took.len() as f64 * part) as usize];
    Latency {
        p50: part(0.5),
        p99: part(0.99),
        refused,
    }
}

async fn serve(
    listener: TcpListener,
    authorizer: Option<Arc<JwtAuthorizer>>,
    outside: Handle,
    epoch: Instant,
) {
    let events = service_fn(move |_: Request<Incoming>| {
        let (sender, events) = mpsc::channel(16);
        outside.spawn(produce(sender, epoch));
        let mut response = Response::new(Events(events));
        let kind = http::HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        ready(Ok::<_, Infallible>(response))
    });
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("TCP");
        let io = TokioIo::new(stream);
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new());
        let (authorizer, events) = (authorizer.clone(), events.clone());
        tokio::spawn(async move {
            // Whoever goes away, goes away.
            let _over = match authorizer {
                // The listener has no token: it is the stream that is there already.
                Some(authorizer) => {
                    let layer = AuthLayer::new(authorizer).with_optional(true);
                    let service = TowerToHyperService::new(layer.layer(events));
                    http.serve_connection(io, service).await.is_ok()
                }
                None => {
                    let service = TowerToHyperService::new(events);
                    http.serve_connection(io, service).await.is_ok()
                }
            };
        });
    }
}

/// How long each event took.
async fn listen(address: SocketAddr, epoch: Instant) -> Vec<f64> {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .await
        .expect("sent");
    let mut took = Vec::with_capacity(EVENTS);
    let mut text = Vec::new();
    let mut seen = 0;
    while took.len() < EVENTS {
        stream.read_buf(&mut text).await.expect("more");
        let now = Instant::now();
        while let Some(at) = memchr::memmem::find(&text[seen..], b"data: ") {
            let number = seen + at + 6;
            let Some(digits) = text.get(number..number + 20) else {
                break;
            };
            let digits = std::str::from_utf8(digits).expect("ASCII");
            let due = epoch + Duration::from_nanos(digits.parse().expect("a number"));
            took.push((now - due).as_nanos() as f64 / 1_000.0);
            seen = number + 20;
        }
    }
    // What came while others were still connecting is no measure.
    took.split_off(EVENTS / 10)
}

/// Sends one request after another over one connection, at its pace.
async fn ask(
    address: SocketAddr,
    token: String,
    nth: u32,
    rate: u32,
    stop: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
) {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.set_nodelay(true).expect("TCP");
    let pause = Duration::from_secs(1) / rate;
    let mut due = Instant::now() + pause * nth / CONNECTIONS;
    let mut answer = Vec::new();
    let (message, signature) = token.rsplit_once('.').unwrap_or((&token, ""));
    for count in 0_u32.. {
        if stop.load(Relaxed) {
            return;
        }
        sleep_until(due).await;
        due += pause;
        // Each another one: the first characters of a signature, which are never the good ones.
        let number = format!("{:08}", nth * 1_000_000 + count);
        let bad = if signature.is_empty() {
            format!("{message}{number}")
        } else {
            format!("{message}.{number}{}", &signature[8..])
        };
        let request = format!(
            "POST / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {bad}\r\ncontent-length: 0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        answer.clear();
        // The body ends with an object.
        while !answer.ends_with(b"}}") {
            assert_ne!(stream.read_buf(&mut answer).await.expect("more"), 0);
        }
        assert!(
            answer.starts_with(b"HTTP/1.1 401"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        refused.fetch_add(1, Relaxed);
    }
}
