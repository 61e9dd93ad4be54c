//! An MCP server in the same process, whose answers are ready, and a client that polls by hand.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use shadowcat::sse::{Decoder, EventId, Frame as SseFrame, StreamKey};
use tower::Service;

use super::payload;

/// What the server answers: the same to everybody.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) content_type: &'static str,
    pub(crate) body: Frames,
}

impl Script {
    pub(crate) fn stream(body: Frames) -> Self {
        let content_type = "text/event-stream";
        Self { content_type, body }
    }

    pub(crate) fn json() -> Self {
        let body = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        Self {
            content_type: "application/json",
            body: Frames::new(body, 1).then(End::Over),
        }
    }
}

impl<B> Service<Request<B>> for Script {
    type Response = Response<Frames>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Frames>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let mut response = Response::new(self.body.clone());
        let value = HeaderValue::from_static(self.content_type);
        response.headers_mut().insert(CONTENT_TYPE, value);
        ready(Ok(response))
    }
}

/// A body that has the same frame ready again and again.
#[derive(Clone)]
pub(crate) struct Frames {
    frame: Bytes,
    left: usize,
    end: End,
}

#[derive(Clone)]
pub(crate) enum End {
    /// Nothing more comes, but it is not over.
    Silence,
    /// The response to the call.
    Answer(Bytes),
    Over,
}

impl Frames {
    pub(crate) fn new(frame: Bytes, count: usize) -> Self {
        Self {
            frame,
            left: count,
            end: End::Silence,
        }
    }

    pub(crate) fn then(mut self, end: End) -> Self {
        self.end = end;
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))));
        }
        match &mut self.end {
            End::Silence => Poll::Pending,
            End::Over => Poll::Ready(None),
            End::Answer(event) => {
                let event = std::mem::take(event);
                self.end = End::Over;
                Poll::Ready(Some(Ok(Frame::data(event))))
            }
        }
    }
}

/// `count` notifications of 300 bytes in one frame.
pub(crate) fn events(count: usize) -> Bytes {
    let whole = Bytes::from(payload::event(false, "").repeat(count).into_bytes());
    // Shared once, so that a part of it costs no allocation.
    let shared = whole.clone();
    drop(whole);
    shared
}

pub(crate) fn answer() -> End {
    End::Answer(Bytes::from(payload::event(true, "").into_bytes()))
}

/// A call of a tool in that session.
pub(crate) fn call(session: &HeaderValue) -> Request<Full<Bytes>> {
    request(session)
        .method("POST")
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(payload::call_body())))
        .expect("a valid request")
}

/// Asks for what followed that event.
pub(crate) fn resume(session: &HeaderValue, cursor: EventId) -> Request<Full<Bytes>> {
    request(session)
        .header("last-event-id", &cursor.encode()[..])
        .body(Full::default())
        .expect("a valid request")
}

fn request(session: &HeaderValue) -> http::request::Builder {
    Request::builder()
        .uri("/mcp")
        .header(ACCEPT, "application/json, text/event-stream")
        .header("mcp-session-id", session)
        .header("mcp-protocol-version", "2025-06-18")
}

/// A session id as it comes from a socket: clones share its bytes.
pub(crate) fn session(number: usize) -> HeaderValue {
    let text = Bytes::from(format!("3f2b8c1e-6f0a-4d8e-9a55-{number:012x}"));
    let shared = text.clone();
    drop(text);
    HeaderValue::from_maybe_shared(shared).expect("a valid value")
}

/// The response, which has to be there at once.
pub(crate) fn ask<S, B>(service: &mut S, request: Request<Full<Bytes>>) -> Response<B>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let called = pin!(service.call(request)).poll(&mut cx);
    match called {
        Poll::Ready(Ok(response)) => response,
        Poll::Ready(Err(never)) => match never {},
        Poll::Pending => panic!("the answer is ready"),
    }
}

/// A body that is polled by hand.
pub(crate) type Polled<B> = Pin<Box<B>>;

/// The next frame; `None` at the end. It has to be there at once.
pub(crate) fn next<B: Body<Data = Bytes>>(body: &mut Polled<B>) -> Option<Bytes> {
    let mut cx = Context::from_waker(Waker::noop());
    match body.as_mut().poll_frame(&mut cx) {
        Poll::Ready(Some(Ok(frame))) => Some(frame.into_data().expect("no trailers")),
        Poll::Ready(Some(Err(_))) => panic!("the body broke off"),
        Poll::Ready(None) => None,
        Poll::Pending => panic!("the next frame is ready"),
    }
}

/// The stream that the events in `chunk` belong to.
pub(crate) fn stream_of(chunk: &Bytes) -> StreamKey {
    let frame = Decoder::new().decode(&mut chunk.clone());
    let Ok(Some(SseFrame::Event(event))) = frame else {
        panic!("no event")
    };
    let id = EventId::decode(event.id().expect("an id"));
    id.expect("an id of ours").stream()
}
