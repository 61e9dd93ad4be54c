//! A server that is a script, and interceptors that note what they see.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

pub(crate) mod odd;

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use shadowcat::{
    intercept::{self, Decision, InterceptLayer, Interceptor, Interest, Links, Message, Verdict},
    message,
    sse::{Decoder, Frame as SseFrame},
};
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt};

pub(crate) type Inner = Request<Full<Bytes>>;

pub(crate) const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","arguments":{"n":9007199254740993}}}"#;
pub(crate) const LIST: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/list"}"#;
pub(crate) const NOTE: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
pub(crate) const RESULT: &str = r#"{"jsonrpc":"2.0","id":7,"result":{"x": 1.0}}"#;
pub(crate) const LOG: &str =
    r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"hi"}}"#;
pub(crate) const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#;

/// A POST that nobody has read.
pub(crate) fn unread(body: &str) -> Inner {
    Request::post("/mcp")
        .header("content-type", "application/json")
        .header("content-length", body.len())
        .body(Full::from(body.to_owned()))
        .expect("a valid request")
}

/// A POST that a layer outside has read.
pub(crate) fn post(body: &str) -> Inner {
    let mut request = unread(body);
    let message = message::Message::new(Bytes::copy_from_slice(body.as_bytes()));
    request.extensions_mut().insert(message);
    request
}

pub(crate) fn get() -> Inner {
    let request = Request::get("/mcp").header("accept", "text/event-stream");
    request.body(Full::default()).expect("a valid request")
}

/// Events of the default type with these data.
pub(crate) fn events(data: &[&str]) -> String {
    data.iter()
        .map(|data| format!("data: {data}\n\n"))
        .collect()
}

/// The data of all events.
pub(crate) fn data(stream: &str) -> Vec<String> {
    let mut chunk = Bytes::copy_from_slice(stream.as_bytes());
    let mut decoder = Decoder::new();
    let mut data = Vec::new();
    while let Some(frame) = decoder.decode(&mut chunk).expect("small events") {
        if let SseFrame::Event(event) = frame
            && let Some(value) = event.data()
        {
            data.push(String::from_utf8(value.into_owned()).expect("UTF-8"));
        }
    }
    assert!(decoder.is_clean(), "whole events: {stream:?}");
    data
}

/// Answers every request in the same way, and keeps what it was asked.
#[derive(Clone)]
pub(crate) struct Server {
    kind: &'static str,
    chunks: Vec<Bytes>,
    asked: Arc<Mutex<Vec<(Parts, Bytes)>>>,
}

impl Server {
    pub(crate) fn new(kind: &'static str, chunks: Vec<Bytes>) -> Self {
        Self {
            kind,
            chunks,
            asked: Arc::default(),
        }
    }

    pub(crate) fn json(body: &str) -> Self {
        Self::new(
            "application/json",
            vec![Bytes::copy_from_slice(body.as_bytes())],
        )
    }

    pub(crate) fn stream(body: &str) -> Self {
        Self::new(
            "text/event-stream",
            vec![Bytes::copy_from_slice(body.as_bytes())],
        )
    }

    /// The same bytes, in chunks of that length.
    pub(crate) fn cut(mut self, len: usize) -> Self {
        let whole = self.chunks.concat();
        self.chunks = whole.chunks(len).map(Bytes::copy_from_slice).collect();
        self
    }

    pub(crate) fn was_asked(&self) -> bool {
        !self.asked.lock().expect("no panic").is_empty()
    }

    /// The one request that has come, with its body.
    pub(crate) fn one(&self) -> (Parts, String) {
        let mut asked = std::mem::take(&mut *self.asked.lock().expect("no panic"));
        assert_eq!(asked.len(), 1, "asked once");
        let (parts, body) = asked.remove(0);
        (parts, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }
}

impl<B> Service<Request<B>> for Server
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::fmt::Debug,
{
    type Response = Response<Chunks>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            this.asked.lock().expect("no panic").push((parts, body));
            let len: usize = this.chunks.iter().map(Bytes::len).sum();
            let response = Response::builder()
                .header("content-type", this.kind)
                .header("content-length", len);
            Ok(response.body(Chunks(this.chunks.into())).expect("valid"))
        })
    }
}

/// A body of these frames.
#[derive(Debug)]
pub(crate) struct Chunks(pub(crate) VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.0.pop_front().map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// The server's end of a body that a test writes; dropping it ends the body.
pub(crate) type Say = mpsc::UnboundedSender<Bytes>;

/// A body that a test writes.
pub(crate) struct Said(pub(crate) mpsc::UnboundedReceiver<Bytes>);

impl Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(cx)
            .map(|said| said.map(|said| Ok(Frame::data(said))))
    }
}

/// Answers its one request with a body that a test writes.
#[derive(Clone)]
pub(crate) struct Live {
    kind: &'static str,
    said: Arc<Mutex<Option<Said>>>,
}

impl Live {
    pub(crate) fn new(kind: &'static str) -> (Self, Say) {
        let (say, said) = mpsc::unbounded_channel();
        let said = Arc::new(Mutex::new(Some(Said(said))));
        (Self { kind, said }, say)
    }
}

impl<B> Service<Request<B>> for Live {
    type Response = Response<Said>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let said = self.said.lock().expect("no panic").take();
        let response = Response::builder().header("content-type", self.kind);
        let response = response.body(said.expect("asked once"));
        std::future::ready(Ok(response.expect("valid")))
    }
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Had {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

pub(crate) async fn ask<L: Links>(
    layer: &InterceptLayer<L>,
    server: &Server,
    request: Inner,
) -> Had {
    let Ok(response) = layer.layer(server.clone()).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Had {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).expect("UTF-8"),
    }
}

/// What interceptors have seen, in that order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    pub(crate) fn note(&self, what: impl Into<String>) {
        self.0.lock().expect("no panic").push(what.into());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

/// Decides about everything at once.
pub(crate) fn all<F>(decide: F) -> impl Interceptor<Future = intercept::Unneeded>
where
    F: Fn(&intercept::Context, &Message) -> Verdict + Send + Sync + 'static,
{
    intercept::sync_fn(Interest::all(), decide)
}

/// Lets everything pass.
pub(crate) fn identity() -> impl Interceptor {
    all(|_, _| Verdict::Continue)
}

/// Notes everything under that name, and lets it pass.
pub(crate) fn noting(name: &'static str, seen: &Seen) -> impl Interceptor {
    let seen = seen.clone();
    all(move |cx, message| {
        seen.note(format!("{name} {:?} {:?}", cx.direction(), message.kind()));
        Verdict::Continue
    })
}

/// Decides about a client's requests alone.
pub(crate) fn requests<F, D>(decide: F) -> impl Interceptor
where
    F: Fn(&intercept::Context, &Message) -> D + Send + Sync + 'static,
    D: Into<Decision<intercept::Unneeded>>,
    F: 'static,
    D: 'static,
{
    intercept::sync_fn(Interest::requests("*"), decide)
}

/// Decides about what the server says.
pub(crate) fn back<F>(decide: F) -> impl Interceptor
where
    F: Fn(&intercept::Context, &Message) -> Verdict + Send + Sync + 'static,
{
    let interest = Interest::in_direction(intercept::Direction::ToClient);
    intercept::sync_fn(interest, decide)
}
