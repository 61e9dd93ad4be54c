//! What the tests of the replay layer share: a server that is a script, and a client that parses what
//! it is sent, as a real one does.

#![allow(dead_code)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use shadowcat::replay::{BodyError, ReplayLayer, ResponseBody};
use shadowcat::sse::{Decoder, Frame as SseFrame};
use shadowcat::store::EventStore;
use tokio::sync::mpsc;
use tower::{Layer, ServiceExt, service_fn};

pub(crate) const SESSION: &str = "mcp-session-id";

/// What the server's end of a body does next.
#[derive(Debug)]
pub(crate) enum Said {
    Data(Bytes),
    Trailers(HeaderMap),
    Broken,
}

/// The server's end of one response body; dropping it ends the body.
#[derive(Debug)]
pub(crate) struct Upstream {
    say: mpsc::UnboundedSender<Said>,
}

impl Upstream {
    pub(crate) fn say(&self, text: impl Into<Bytes>) {
        let _ = self.say.send(Said::Data(text.into()));
    }

    pub(crate) fn trailers(&self, trailers: HeaderMap) {
        let _ = self.say.send(Said::Trailers(trailers));
    }

    pub(crate) fn break_off(self) {
        let _ = self.say.send(Said::Broken);
    }

    /// Whether anybody still reads.
    pub(crate) fn is_read(&self) -> bool {
        !self.say.is_closed()
    }

    pub(crate) async fn dropped(&self) {
        self.say.closed().await;
    }
}

/// The body that the layer reads.
#[derive(Debug)]
pub(crate) struct ScriptBody {
    said: mpsc::UnboundedReceiver<Said>,
    over: bool,
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        assert!(!self.over, "polled after its end");
        self.said.poll_recv(cx).map(|said| match said {
            Some(Said::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Said::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Said::Broken) => {
                self.over = true;
                Some(Err(std::io::Error::other("reset")))
            }
            None => {
                self.over = true;
                None
            }
        })
    }
}

pub(crate) fn body() -> (Upstream, ScriptBody) {
    let (say, said) = mpsc::unbounded_channel();
    (Upstream { say }, ScriptBody { said, over: false })
}

/// How the server answers.
type Head = fn(&http::request::Parts) -> Response<()>;

type Script = Arc<Mutex<Vec<(http::request::Parts, Upstream)>>>;

/// A server behind a replay layer, whose every answer is an event stream that the test writes.
pub(crate) struct Server<T: EventStore> {
    pub(crate) layer: ReplayLayer<T>,
    calls: Script,
    head: Arc<Mutex<Head>>,
}

/// An event stream.
pub(crate) fn stream_head(_: &http::request::Parts) -> Response<()> {
    let response = Response::builder().header("content-type", "text/event-stream");
    response.body(()).expect("a valid head")
}

impl<T: EventStore> Server<T> {
    pub(crate) fn new(layer: ReplayLayer<T>) -> Self {
        Self {
            layer,
            calls: Arc::default(),
            head: Arc::new(Mutex::new(stream_head)),
        }
    }

    /// Answers with another head from now on.
    pub(crate) fn answer(&self, head: Head) {
        *self.head.lock().expect("not poisoned") = head;
    }

    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Response<ResponseBody<ScriptBody>> {
        let (calls, head) = (Arc::clone(&self.calls), Arc::clone(&self.head));
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let (upstream, script) = body();
            let (parts, _) = request.into_parts();
            let head = *head.lock().expect("not poisoned");
            let response = head(&parts).map(|()| script);
            calls.lock().expect("not poisoned").push((parts, upstream));
            async move { Ok::<_, Infallible>(response) }
        });
        match self.layer.layer(inner).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// The server's end of the call that came last, and how it was asked.
    pub(crate) fn upstream(&self) -> (http::request::Parts, Upstream) {
        let mut calls = self.calls.lock().expect("not poisoned");
        calls.pop().expect("the server was called")
    }

    pub(crate) fn was_called(&self) -> bool {
        !self.calls.lock().expect("not poisoned").is_empty()
    }
}

/// An event as a client understands it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Option<String>,
    pub(crate) retry: Option<u64>,
}

/// A client's end of a stream.
pub(crate) struct Reader<B> {
    body: Pin<Box<B>>,
    decoder: Decoder,
    chunk: Bytes,
    /// The cursor: the id of the last event that was read whole.
    pub(crate) cursor: Option<String>,
    pub(crate) raw: Vec<u8>,
}

impl<B: Body<Data = Bytes, Error = BodyError>> Reader<B> {
    pub(crate) fn new(body: B) -> Self {
        Self {
            body: Box::pin(body),
            decoder: Decoder::new(),
            chunk: Bytes::new(),
            cursor: None,
            raw: Vec::new(),
        }
    }

    /// The next event, comments left out; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Heard> {
        std::future::poll_fn(|cx| self.poll_next(cx))
            .await
            .map(|heard| heard.expect("no error"))
    }

    /// The error that ends the stream.
    pub(crate) async fn error(&mut self) -> BodyError {
        let next = std::future::poll_fn(|cx| self.poll_next(cx)).await;
        next.expect("an error").expect_err("an error, not an event")
    }

    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Heard, BodyError>>> {
        loop {
            match self
                .decoder
                .decode(&mut self.chunk)
                .expect("events of a sane size")
            {
                Some(SseFrame::Comment(_)) => continue,
                Some(SseFrame::Event(event)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let heard = Heard {
                        id: event.id().map(text),
                        event: event.event().map(text),
                        data: event.data().map(|data| text(&data)),
                        retry: event.retry(),
                    };
                    if let Some(id) = &heard.id {
                        self.cursor = Some(id.clone());
                    }
                    return Poll::Ready(Some(Ok(heard)));
                }
                None => {}
            }
            match std::task::ready!(self.body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.raw.extend_from_slice(&data);
                        self.chunk = data;
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// All events up to the end.
    pub(crate) async fn rest(&mut self) -> Vec<Heard> {
        let mut all = Vec::new();
        while let Some(heard) = self.next().await {
            all.push(heard);
        }
        all
    }

    /// The data of all events up to the end, those without left out.
    pub(crate) async fn data(&mut self) -> Vec<String> {
        let all = self.rest().await.into_iter();
        all.filter_map(|heard| heard.data)
            .filter(|data| !data.is_empty())
            .collect()
    }
}

/// A tool call of the session `session`.
pub(crate) fn call(session: &str, version: &str) -> Request<Full<Bytes>> {
    call_with_id(session, version, 7)
}

pub(crate) fn call_with_id(session: &str, version: &str, id: u32) -> Request<Full<Bytes>> {
    let body =
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"x"}}}}"#);
    post(session, version, body)
}

pub(crate) fn post(session: &str, version: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::post("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream");
    if !session.is_empty() {
        request = request.header(SESSION, session);
    }
    if !version.is_empty() {
        request = request.header("mcp-protocol-version", version);
    }
    request
        .body(Full::new(body.into()))
        .expect("a valid request")
}

/// A GET of the session `session`, with a cursor or without.
pub(crate) fn get(session: &str, cursor: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::get("/mcp").header("accept", "text/event-stream");
    if !session.is_empty() {
        request = request
            .header(SESSION, session)
            .header("mcp-protocol-version", "2025-11-25");
    }
    if let Some(cursor) = cursor {
        request = request.header("last-event-id", cursor);
    }
    request.body(Full::default()).expect("a valid request")
}

pub(crate) const FINAL: &str = "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}\n\n";

/// A progress notification.
pub(crate) fn progress(step: usize) -> String {
    format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{{\"progress\":{step}}}}}\n\n"
    )
}
