//! An MCP server behind a session layer, and clients of it.

// Each of the tests that share this uses a part of it.
#![allow(dead_code)]

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use shadowcat::{
    auth::Principal,
    session::{ResponseBody, Session, SessionLayer},
    store::{MemorySessionStore, SessionStore},
};
use tokio::sync::{Semaphore, mpsc};
use tower::{Layer, Service, ServiceExt, service_fn};

pub(crate) const SESSION: &str = "mcp-session-id";
pub(crate) const V: &str = "2025-11-25";

pub(crate) const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
pub(crate) const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}"#;
pub(crate) const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
pub(crate) const NOTIFICATION: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

pub(crate) fn agreed(version: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":"{version}"}}}}"#)
}

/// A body that a test writes.
pub(crate) struct ScriptBody {
    said: mpsc::UnboundedReceiver<Option<Bytes>>,
    is_over: bool,
}

/// The server's end of it. Dropped, it ends the body.
#[derive(Clone)]
pub(crate) struct Upstream {
    say: mpsc::UnboundedSender<Option<Bytes>>,
}

impl Upstream {
    pub(crate) fn say(&self, text: impl Into<Bytes>) {
        // The body may be gone.
        let _ = self.say.send(Some(text.into()));
    }

    pub(crate) fn break_off(&self) {
        let _ = self.say.send(None);
    }

    pub(crate) fn is_read(&self) -> bool {
        !self.say.is_closed()
    }
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        assert!(!self.is_over, "polled after its end");
        self.said.poll_recv(cx).map(|said| match said {
            Some(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(None) => {
                self.is_over = true;
                Some(Err("reset"))
            }
            None => {
                self.is_over = true;
                None
            }
        })
    }
}

pub(crate) fn script() -> (Upstream, ScriptBody) {
    let (say, said) = mpsc::unbounded_channel();
    let is_over = false;
    (Upstream { say }, ScriptBody { said, is_over })
}

/// A body that is there.
pub(crate) fn text(text: impl Into<Bytes>) -> ScriptBody {
    let (upstream, body) = script();
    upstream.say(text);
    body
}

/// What the server was asked.
pub(crate) struct Asked {
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
}

impl Asked {
    /// The session that it was asked about, as the server calls it.
    pub(crate) fn session(&self) -> Option<&str> {
        let value = self.parts.headers.get(SESSION)?;
        Some(value.to_str().expect("ASCII"))
    }

    pub(crate) fn fact(&self) -> &Session {
        self.parts.extensions.get().expect("a session")
    }
}

type Script = dyn FnMut(&Asked) -> Option<Response<ScriptBody>> + Send;

/// A server with sessions, `up-1`, `up-2` and so on, which answers GET with a stream.
#[derive(Default)]
pub(crate) struct World {
    given: u32,
    /// Sessions, and the streams that are open in them.
    pub(crate) sessions: HashMap<String, Vec<Upstream>>,
    pub(crate) asked: Vec<Asked>,
    /// Answers first, if it wants to.
    script: Option<Box<Script>>,
}

impl World {
    pub(crate) fn answer(&mut self, asked: &Asked) -> Response<ScriptBody> {
        let scripted = self.script.as_mut().and_then(|script| script(asked));
        if let Some(response) = scripted {
            return response;
        }
        let json = |status: u16, body: String| {
            let response = Response::builder()
                .status(status)
                .header("content-type", "application/json");
            (response, text(body))
        };
        let body = std::str::from_utf8(&asked.body).expect("UTF-8");
        let is_initialize = body.contains("\"initialize\"");
        let session = asked.session().unwrap_or_default();
        let (response, body) = match asked.parts.method.as_str() {
            "POST" if is_initialize => {
                self.given += 1;
                let name = format!("up-{}", self.given);
                self.sessions.insert(name.clone(), Vec::new());
                let (response, body) = json(200, agreed(V));
                (response.header(SESSION, name), body)
            }
            _ if !self.sessions.contains_key(session) => json(404, "{}".to_owned()),
            "DELETE" => {
                self.sessions.remove(session);
                json(200, String::new())
            }
            "GET" => {
                let (upstream, body) = script();
                let open = self.sessions.get_mut(session).expect("it is there");
                open.push(upstream);
                let response = Response::builder().header("content-type", "text/event-stream");
                (response, body)
            }
            _ => {
                let (response, body) = json(200, format!("{{\"for\":{session:?}}}"));
                // As servers do that say it each time.
                (response.header(SESSION, session), body)
            }
        };
        response.body(body).expect("a valid response")
    }
}

pub(crate) struct Server<T = MemorySessionStore> {
    pub(crate) layer: SessionLayer<T>,
    pub(crate) world: Arc<Mutex<World>>,
}

/// A response that was read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Had {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Had {
    /// The session that was given.
    pub(crate) fn session(&self) -> String {
        let value = self.headers.get(SESSION).expect("a session");
        value.to_str().expect("ASCII").to_owned()
    }
}

pub(crate) type Open = Response<ResponseBody<ScriptBody>>;

impl Server {
    pub(crate) fn anonymous() -> Self {
        Self::new(SessionLayer::default().allow_anonymous())
    }
}

impl<T: SessionStore> Server<T> {
    pub(crate) fn new(layer: SessionLayer<T>) -> Self {
        let world = Arc::default();
        Self { layer, world }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("not poisoned")
    }

    /// Lets `script` answer first from now on.
    pub(crate) fn script(
        &self,
        script: impl FnMut(&Asked) -> Option<Response<ScriptBody>> + Send + 'static,
    ) {
        self.world().script = Some(Box::new(script));
    }

    pub(crate) fn service(
        &self,
    ) -> impl Service<Request<Full<Bytes>>, Response = Open, Error = Infallible, Future: Send>
    + Clone
    + use<T> {
        let world = Arc::clone(&self.world);
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let world = Arc::clone(&world);
            async move {
                let (parts, body) = request.into_parts();
                let Ok(body) = body.collect().await;
                let body = body.to_bytes();
                let asked = Asked { parts, body };
                let mut world = world.lock().expect("not poisoned");
                let response = world.answer(&asked);
                world.asked.push(asked);
                Ok::<_, Infallible>(response)
            }
        });
        self.layer.layer(inner)
    }

    /// The response, whose body is still to be read.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> Open {
        let Ok(response) = self.service().oneshot(request).await;
        response
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Had {
        had(self.open(request).await).await
    }

    /// Opens a session.
    pub(crate) async fn initialize(&self, who: Option<&Principal>) -> String {
        let had = self.send(post("", INITIALIZE).by(who)).await;
        assert_eq!(had.status, 200, "{had:?}");
        had.session()
    }

    /// The server's end of the stream that was opened last in a session.
    pub(crate) fn stream(&self, session: &str) -> Upstream {
        let mut world = self.world();
        let open = world.sessions.get_mut(session).expect("it is there");
        open.pop().expect("a stream")
    }

    /// What the server was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.world().asked)
    }

    pub(crate) fn was_asked(&self) -> bool {
        !self.world().asked.is_empty()
    }
}

pub(crate) async fn had(response: Open) -> Had {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("no error").to_bytes();
    Had {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}

pub(crate) fn principal(issuer: &str, subject: &str) -> Principal {
    let builder = Principal::builder(subject).with_issuer(issuer);
    builder.build().expect("it has a name")
}

pub(crate) trait By {
    /// Says who sends it.
    fn by(self, who: Option<&Principal>) -> Self;
    fn with(self, name: &'static str, value: &str) -> Self;
}

impl<B> By for Request<B> {
    fn by(mut self, who: Option<&Principal>) -> Self {
        if let Some(who) = who {
            self.extensions_mut().insert(who.clone());
        }
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        let value = value.parse().expect("a legal value");
        self.headers_mut().append(name, value);
        self
    }
}

pub(crate) fn post(session: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::post("/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .body(Full::new(body.into()));
    with_session(request.expect("a valid request"), session)
}

pub(crate) fn get(session: &str) -> Request<Full<Bytes>> {
    let request = Request::get("/mcp").header("accept", "text/event-stream");
    let request = request.body(Full::default()).expect("a valid request");
    with_session(request, session)
}

pub(crate) fn delete(session: &str) -> Request<Full<Bytes>> {
    let request = Request::delete("/mcp").body(Full::default());
    with_session(request.expect("a valid request"), session)
}

fn with_session(request: Request<Full<Bytes>>, session: &str) -> Request<Full<Bytes>> {
    if session.is_empty() {
        return request;
    }
    request
        .with(SESSION, session)
        .with("mcp-protocol-version", V)
}

/// A server whose answers wait until they are let go.
pub(crate) fn held() -> (
    impl Service<Request<Full<Bytes>>, Response = Open, Error = Infallible, Future: Send> + Clone,
    Arc<Semaphore>,
    Arc<AtomicUsize>,
) {
    let gate = Arc::new(Semaphore::new(0));
    let calls = Arc::<AtomicUsize>::default();
    let (open, count) = (Arc::clone(&gate), Arc::clone(&calls));
    let inner = service_fn(move |request: Request<Full<Bytes>>| {
        let (open, count) = (Arc::clone(&open), Arc::clone(&count));
        async move {
            let is_stream = request.method() == "GET";
            let is_new = !request.headers().contains_key(SESSION);
            count.fetch_add(1, Relaxed);
            open.acquire().await.expect("not closed").forget();
            let mut response = Response::builder();
            if is_new {
                let count = count.load(Relaxed);
                response = response.header(SESSION, format!("up-{count}"));
            }
            if is_stream {
                response = response.header("content-type", "text/event-stream");
            }
            let body = text(if is_new {
                agreed("2025-11-25")
            } else {
                "data: x\n\n".into()
            });
            Ok(response.body(body).expect("valid"))
        }
    });
    let layer = SessionLayer::default().allow_anonymous();
    (layer.layer(inner), gate, calls)
}

pub(crate) async fn opened<S>(service: &mut S, gate: &Semaphore) -> String
where
    S: Service<Request<Full<Bytes>>, Response = Open, Error = Infallible>,
{
    gate.add_permits(1);
    let Ok(response) = service.call(post("", INITIALIZE)).await;
    had(response).await.session()
}

/// Lets all tasks run until they wait.
pub(crate) async fn settle() {
    for _ in 0..6 {
        tokio::task::yield_now().await;
    }
}
