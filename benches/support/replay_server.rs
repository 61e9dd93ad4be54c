//! The server whose streams are cut and resumed, over sockets.

use std::convert::Infallible;
use std::future::{self, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use shadowcat::message::MessageLayer;
use shadowcat::replay::ReplayLayer;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tower::{Service, ServiceBuilder};

use super::payload;
use super::proc::{self, Result};

#[path = "../../examples/gateway/serve.rs"]
mod serve;

/// All clients may come at once.
const BACKLOG: u32 = 8_192;

/// Serves until standard input closes; each line on it lets the streams that wait go on.
pub(crate) async fn run() -> Result<()> {
    let mut commands = proc::commands();
    let socket = TcpSocket::new_v4()?;
    socket.bind("127.0.0.1:0".parse()?)?;
    let listener: TcpListener = socket.listen(BACKLOG)?;
    println!("listening on {}", listener.local_addr()?);
    let (go, gate) = watch::channel(());
    tokio::spawn(async move {
        while commands.recv().await.is_some() {
            go.send_replace(());
        }
    });
    let service = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(ReplayLayer::default())
        .service(Teller { gate });
    let options = serve::Options {
        keep_alive: Duration::from_secs(15),
        grace: Duration::ZERO,
    };
    Ok(serve::serve(listener, service, options, future::pending()).await?)
}

/// Answers with a stream whose events say which they are.
#[derive(Clone)]
struct Teller {
    gate: watch::Receiver<()>,
}

/// A stream that a task writes.
struct Told(mpsc::Receiver<String>);

impl Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let told = self.0.poll_recv(cx);
        told.map(|told| told.map(|event| Ok(Frame::data(event.into()))))
    }
}

impl<B> Service<Request<B>> for Teller {
    type Response = Response<Told>;
    type Error = Infallible;
    type Future = Ready<std::result::Result<Response<Told>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let reply = request.headers().get(payload::REPLY);
        let reply = reply.and_then(|reply| reply.to_str().ok());
        let mut words = reply.unwrap_or_default().split(' ');
        let kind = words.next().unwrap_or_default().to_owned();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let (stream, before, total) = (number(), number(), number());
        let (tell, told) = mpsc::channel(1);
        let mut gate = self.gate.clone();
        gate.mark_unchanged();
        tokio::spawn(async move {
            let done = match &kind[..] {
                "numbered" => numbered(&tell, stream, before, total, gate).await,
                _ => live(&tell, stream).await,
            };
            // Nobody wants the rest.
            drop(done);
        });
        let mut response = Response::new(Told(told));
        let value = HeaderValue::from_static("text/event-stream");
        response.headers_mut().insert(CONTENT_TYPE, value);
        ready(Ok(response))
    }
}

/// `before` events, and the rest of `total` when the gate opens; the last is the response.
async fn numbered(
    tell: &mpsc::Sender<String>,
    stream: u64,
    before: u64,
    total: u64,
    mut gate: watch::Receiver<()>,
) -> Result<()> {
    for event in 1..=total {
        if event == before + 1 {
            gate.changed().await?;
        }
        let text = format!("<{stream}/{event}>");
        tell.send(payload::event(event == total, &text)).await?;
    }
    Ok(())
}

/// An event every so many milliseconds, without an end.
async fn live(tell: &mpsc::Sender<String>, every: u64) -> Result<()> {
    let mut ticks = interval(Duration::from_millis(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell.send(payload::event(false, "")).await?;
    }
}
