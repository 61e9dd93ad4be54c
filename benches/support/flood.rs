//! A stream's latency, while many requests with tokens that are not good come to the same server.
//!
//! The server has one thread, in a process that has a core to itself, so that whatever keeps it busy is
//! felt. Events come from outside of it, as from an upstream, and say when: what counts is how long the
//! server takes to hand them on.

use std::convert::Infallible;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Command;
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
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep_until};
use tower::{Layer, service_fn};

use crate::proc::{Core, Result, Role, can_pin, commands};

/// How long there is no event, at the least.
const PACE: Duration = Duration::from_millis(1);
const EVENTS: usize = 1_000;
const CONNECTIONS: u32 = 16;

/// Microseconds between when an event comes and when it is there.
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) refused: f64,
}

/// What comes from an upstream, byte by byte.
struct Upstream(TcpStream);

impl Body for Upstream {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        let mut room = [0; 1_024];
        let mut room = ReadBuf::new(&mut room);
        Pin::new(&mut self.0).poll_read(cx, &mut room).map(|read| {
            let bytes = Bytes::copy_from_slice(room.filled());
            match read {
                Ok(()) if bytes.is_empty() => None,
                read => Some(read.map(|()| Frame::data(bytes))),
            }
        })
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

/// In a child: serves those whom `authorizer` lets in, and those who have no token, with what is to be
/// had at `upstream`.
pub(crate) fn serve(authorizer: JwtAuthorizer, upstream: SocketAddr) -> Result<()> {
    let _commands = commands();
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build()?;
    let layer = AuthLayer::new(authorizer).with_optional(true);
    let served = async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let events = service_fn(move |_: Request<Incoming>| async move {
                let stream = TcpStream::connect(upstream).await.expect("connected");
                let mut response = Response::new(Upstream(stream));
                let kind = http::HeaderValue::from_static("text/event-stream");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                Ok::<_, Infallible>(response)
            });
            let service = TowerToHyperService::new(layer.clone().layer(events));
            let mut http = hyper::server::conn::http1::Builder::new();
            let served = http
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(served);
        }
    };
    // On the one worker, as connections are.
    runtime.block_on(runtime.spawn(served))?
}

/// Sends events that say when, until nobody takes them.
///
/// Not by tokio's clock, which has milliseconds: by that, requests come several at once, and events
/// always together with them.
#[allow(clippy::disallowed_methods, reason = "a thread of its own")]
fn produce(listener: &std::net::TcpListener, epoch: Instant) {
    let (mut stream, _) = listener.accept().expect("a connection");
    stream.set_nodelay(true).expect("TCP");
    for nth in 0_u64.. {
        thread::sleep(PACE + Duration::from_micros(nth * 379 % 1_000));
        let event = format!("data: {:020}\n\n", epoch.elapsed().as_nanos());
        if stream.write_all(event.as_bytes()).is_err() {
            return;
        }
    }
}

/// A server that knows the keys `set`, and `rate` requests a second with that token's signature changed;
/// or with the token as it is, if it has none.
pub(crate) fn run(set: &str, token: Option<&str>, rate: u32) -> Result<Latency> {
    let epoch = Instant::now();
    if can_pin() {
        // All that is not the server is on the other core.
        let pid = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-acp", "1", &pid]).output()?;
        assert!(pinned.status.success());
    }
    let client = runtime();
    let upstream = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    let at = upstream.local_addr()?.to_string();
    let server = Role::start(Core::Proxy, &["flood", set, &at])?;
    let address = server.addr();
    let (stop, refused) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let flooding = token.map(|token| {
        let (token, stop, refused) = (token.to_owned(), Arc::clone(&stop), Arc::clone(&refused));
        thread::spawn(move || {
            let all = async {
                let mut tasks = tokio::task::JoinSet::new();
                for nth in 0..CONNECTIONS {
                    let (token, stop, refused) =
                        (token.clone(), Arc::clone(&stop), Arc::clone(&refused));
                    tasks.spawn(ask(address, token, nth, rate / CONNECTIONS, stop, refused));
                }
                tasks.join_all().await;
            };
            runtime().block_on(all);
        })
    });
    thread::spawn(move || produce(&upstream, epoch));
    let started = Instant::now();
    let mut took = client.block_on(listen(address, epoch));
    let refused = refused.load(Relaxed) as f64 / started.elapsed().as_secs_f64();
    stop.store(true, Relaxed);
    if let Some(flooding) = flooding {
        flooding.join().expect("no panic");
    }
    took.sort_by(f64::total_cmp);
    let part = |part: f64| took[(took.len() as f64 * part) as usize];
    Ok(Latency {
        p50: part(0.5),
        p99: part(0.99),
        refused,
    })
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
