//! SES-7, RPL-10: whose streams are where sessions have owners, and what is left of them when a session
//! ends.

mod counting_store;
mod replay_support;

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use counting_store::Counting;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use replay_support::{
    FINAL, Reader, SESSION, ScriptBody, Upstream, body, call, call_with_id, get, post, progress,
};
use shadowcat::{
    auth::Principal,
    replay::{ReplayLayer, ResponseBody},
    session::{self, SessionLayer},
    sse::StreamKey,
    store::{
        EventStore, MemorySessionStore, MemoryStore, Owner,
        faulty::{Faults, FaultyStore},
    },
};
use tokio::time;
use tower::{Layer, ServiceExt, service_fn};

const V: &str = "2025-11-25";
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
const AGREED: &str =
    "data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"protocolVersion\":\"2025-11-25\"}}\n\n";
const IDLE: Duration = Duration::from_secs(2 * 60);

type Open = Response<session::ResponseBody<ResponseBody<ScriptBody>>>;

/// What the server does.
#[derive(Default)]
struct World {
    given: u32,
    gives_none: bool,
    asked: u32,
    streams: Vec<Upstream>,
}

impl World {
    fn answer(&mut self, method: &Method, body_text: &[u8]) -> Response<ScriptBody> {
        self.asked += 1;
        let (upstream, script) = body();
        if method == Method::DELETE {
            let response = Response::builder().status(StatusCode::NO_CONTENT);
            return response.body(script).expect("a valid response");
        }
        let mut response = Response::builder().header("content-type", "text/event-stream");
        if body_text == INITIALIZE.as_bytes() && !self.gives_none {
            self.given += 1;
            response = response.header(SESSION, format!("up-{}", self.given));
        }
        self.streams.push(upstream);
        response.body(script).expect("a valid response")
    }
}

/// A server behind a session layer and a replay layer, all of whose answers are streams.
struct Server<T> {
    sessions: SessionLayer,
    replay: ReplayLayer<Counting<T>>,
    memory: MemoryStore,
    purges: Arc<AtomicUsize>,
    world: Arc<Mutex<World>>,
}

impl Server<MemoryStore> {
    fn new() -> Self {
        Self::over(|memory| memory)
    }
}

impl<T: EventStore> Server<T> {
    fn over(store: impl FnOnce(MemoryStore) -> T) -> Self {
        let (memory, purges) = (MemoryStore::new(), Arc::default());
        let counting = Counting {
            inner: store(memory.clone()),
            purges: Arc::clone(&purges),
        };
        let sessions = MemorySessionStore::new().with_idle_timeout(Some(IDLE));
        Self {
            sessions: SessionLayer::new(sessions).allow_anonymous(),
            replay: ReplayLayer::new(counting).with_max_detached_for(IDLE * 100),
            memory,
            purges,
            world: Arc::default(),
        }
    }

    async fn send(&self, who: Option<&str>, mut request: Request<Full<Bytes>>) -> Open {
        if let Some(who) = who {
            let principal = Principal::builder(who).build().expect("it has a name");
            request.extensions_mut().insert(principal);
        }
        let world = Arc::clone(&self.world);
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let world = Arc::clone(&world);
            async move {
                let (parts, body) = request.into_parts();
                let Ok(body) = body.collect().await;
                let mut world = world.lock().expect("not poisoned");
                Ok::<_, Infallible>(world.answer(&parts.method, &body.to_bytes()))
            }
        });
        let service = self.sessions.layer(self.replay.layer(inner));
        let Ok(response) = service.oneshot(request).await;
        response
    }

    /// The server's end of the stream that was opened last.
    fn upstream(&self) -> Upstream {
        let mut world = self.world.lock().expect("not poisoned");
        world.streams.pop().expect("the server was asked")
    }

    fn asked(&self) -> u32 {
        self.world.lock().expect("not poisoned").asked
    }

    /// Opens a session.
    async fn initialize(&self, who: Option<&str>) -> String {
        let response = self.send(who, post("", "", INITIALIZE)).await;
        let session = response.headers()[SESSION].to_str().expect("ASCII");
        let session = session.to_owned();
        self.upstream().say(AGREED);
        let mut reader = Reader::new(response.into_body());
        assert_eq!(reader.data().await.len(), 1);
        session
    }

    /// Opens a stream, of which the client has an event and a cursor.
    async fn stream(
        &self,
        who: Option<&str>,
        session: &str,
    ) -> (
        Upstream,
        Reader<impl http_body::Body<Data = Bytes, Error = shadowcat::replay::BodyError> + use<T>>,
    ) {
        self.stream_of(who, session, 7).await
    }

    /// … by the request with that id.
    async fn stream_of(
        &self,
        who: Option<&str>,
        session: &str,
        id: u32,
    ) -> (
        Upstream,
        Reader<impl http_body::Body<Data = Bytes, Error = shadowcat::replay::BodyError> + use<T>>,
    ) {
        let response = self.send(who, call_with_id(session, V, id)).await;
        assert_eq!(response.status(), 200);
        let upstream = self.upstream();
        upstream.say(progress(1));
        let mut reader = Reader::new(response.into_body());
        while reader.next().await.expect("progress").data != Some(data(1)) {}
        (upstream, reader)
    }

    async fn delete(&self, who: Option<&str>, session: &str) {
        let request = Request::delete("/mcp").header(SESSION, session);
        let request = request.body(Full::default()).expect("a valid request");
        assert_eq!(self.send(who, request).await.status(), 204);
    }

    async fn terminate(&self, session_owner: Owner) {
        let handle = self.sessions.handle();
        let list = handle.list(None, 100).await.expect("the store answers");
        let mut sessions = list.sessions.into_iter();
        let info = sessions.find(|info| info.owner == session_owner);
        let tag = info.expect("it is there").tag;
        assert!(handle.terminate(tag).await.expect("the store answers"));
    }

    fn purges(&self) -> usize {
        self.purges.load(Relaxed)
    }

    /// Whose the streams are that are open, oldest first.
    fn owners(&self) -> Vec<Owner> {
        let streams = self.replay.handle().streams().into_iter();
        streams.map(|info| info.owner).collect()
    }

    /// How many streams the store has.
    fn kept(&self) -> usize {
        self.memory.stats().streams
    }
}

fn data(step: usize) -> String {
    let event = progress(step);
    event["data: ".len()..].trim_end().to_owned()
}

async fn had(response: Open) -> (StatusCode, HeaderMap, Bytes) {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("no error").to_bytes();
    (parts.status, parts.headers, body)
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn ses7_owner_of_a_session_resumes_its_streams() {
    let server = Server::new();
    let session = server.initialize(Some("alice")).await;
    let (upstream, reader) = server.stream(Some("alice"), &session).await;
    let list = server.sessions.handle().list(None, 1).await;
    let list = list.expect("the store answers");
    assert_eq!(server.owners(), [list.sessions[0].owner]);
    let cursor = reader.cursor.clone();
    drop(reader);
    upstream.say(progress(2));
    upstream.say(FINAL);
    drop(upstream);
    let response = server
        .send(Some("alice"), get(&session, cursor.as_deref()))
        .await;
    let mut reader = Reader::new(response.into_body());
    let rest = reader.data().await;
    assert_eq!((rest.len(), &rest[0]), (2, &data(2)));
}

#[tokio::test]
async fn ses7_stream_of_an_initialize_is_of_the_session_that_it_opens() {
    let server = Server::new();
    let response = server.send(Some("alice"), post("", "", INITIALIZE)).await;
    let session = response.headers()[SESSION]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let upstream = server.upstream();
    upstream.say(progress(1));
    let mut reader = Reader::new(response.into_body());
    reader.next().await.expect("progress");
    let cursor = reader.cursor.clone();
    drop(reader);
    upstream.say(AGREED);
    drop(upstream);
    let response = server
        .send(Some("alice"), get(&session, cursor.as_deref()))
        .await;
    assert_eq!(Reader::new(response.into_body()).data().await.len(), 1);
    server.delete(Some("alice"), &session).await;
    assert_eq!(server.kept(), 0);
}

#[tokio::test]
async fn b24_whoever_has_session_and_cursor_of_another_sees_an_unknown_session() {
    let server = Server::new();
    let session = server.initialize(Some("alice")).await;
    let other = server.initialize(Some("alice")).await;
    server.delete(Some("alice"), &other).await;
    let (upstream, reader) = server.stream(Some("alice"), &session).await;
    let cursor = reader.cursor.clone();
    let asked = server.asked();
    let stolen = server
        .send(Some("mallory"), get(&session, cursor.as_deref()))
        .await;
    let unknown = server
        .send(Some("mallory"), get(&other, cursor.as_deref()))
        .await;
    let stolen = had(stolen).await;
    assert_eq!(stolen.0, StatusCode::NOT_FOUND);
    assert_eq!(stolen, had(unknown).await);
    assert_eq!(server.asked(), asked, "the server learns nothing of it");
    // Alice's client has not been sent away.
    let mut reader = reader;
    upstream.say(FINAL);
    drop(upstream);
    assert_eq!(reader.data().await.len(), 1);
}

#[tokio::test]
async fn b20_own_session_does_not_open_the_stream_of_another() {
    let server = Server::new();
    let session = server.initialize(Some("alice")).await;
    let (_upstream, reader) = server.stream(Some("alice"), &session).await;
    let cursor = reader.cursor.clone().expect("a cursor");
    let forged = StreamKey::from_bytes([9; 16]);
    let forged = shadowcat::sse::EventId::new(forged, 1).to_string();
    for who in ["alice", "mallory"] {
        let own = server.initialize(Some(who)).await;
        let asked = server.asked();
        let foreign = server.send(Some(who), get(&own, Some(&cursor))).await;
        // Before it is read: a stream that was resumed would not end.
        assert_eq!(foreign.status(), StatusCode::BAD_REQUEST);
        let foreign = had(foreign).await;
        let unknown = had(server.send(Some(who), get(&own, Some(&forged))).await).await;
        assert_eq!(foreign, unknown);
        assert_eq!(server.asked(), asked);
    }
}

#[tokio::test]
async fn a_principal_without_a_session_resumes_what_is_its_own() {
    for (who, other) in [
        (Some("alice"), Some("mallory")),
        (Some("alice"), None),
        (None, None),
    ] {
        let server = Server::new();
        server.world.lock().expect("not poisoned").gives_none = true;
        let response = server.send(who, post("", "", INITIALIZE)).await;
        assert!(response.headers().get(SESSION).is_none());
        let upstream = server.upstream();
        upstream.say(progress(1));
        let mut reader = Reader::new(response.into_body());
        reader.next().await.expect("progress");
        let cursor = reader.cursor.clone();
        // The session that was not given is over, which ends nothing.
        assert_eq!(server.purges(), 0);
        assert_eq!(server.owners()[0].is_anonymous(), who.is_none());
        drop(reader);
        upstream.say(AGREED);
        drop(upstream);
        if other != who {
            let response = server.send(other, get("", cursor.as_deref())).await;
            assert_eq!(response.status(), 400);
        }
        let response = server.send(who, get("", cursor.as_deref())).await;
        assert_eq!(Reader::new(response.into_body()).data().await.len(), 1);
    }
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Deleted,
    Terminated,
    Expired,
}

/// A session ends while it has streams, `attached` or not: nothing of it is left, and everything of
/// another session.
async fn ends<T: EventStore>(server: Server<T>, way: Way, attached: bool) {
    let who = Some("alice");
    let spared = server.initialize(who).await;
    let (_spared_upstream, spared_reader) = server.stream(who, &spared).await;
    let others = server.kept();
    let session = server.initialize(who).await;
    let (upstream, reader) = server.stream(who, &session).await;
    let owner = server.owners()[1];
    assert_eq!(server.kept(), others + 2, "its initialize, and its call");
    let cursor = reader.cursor.clone();
    let mut reader = Some(reader);
    if !attached {
        reader = None;
        settle().await;
        assert!(upstream.is_read(), "it goes on alone");
    }
    match way {
        Way::Deleted => server.delete(who, &session).await,
        Way::Terminated => server.terminate(owner).await,
        Way::Expired => time::sleep(IDLE + IDLE / 4).await,
    }
    // The server lets go of the stream, and the client is told.
    let dropped = time::timeout(Duration::from_secs(1), upstream.dropped()).await;
    dropped.expect("not only when it has been alone for too long");
    if let Some(reader) = &mut reader {
        assert_eq!(reader.next().await, None);
    }
    drop(reader);
    settle().await;
    assert_eq!(server.owners().len(), 1, "{way:?}");
    assert_eq!(server.kept(), others, "{way:?}");
    let response = server.send(who, get(&session, cursor.as_deref())).await;
    assert_eq!(response.status(), 404);
    // What was said in it is not for the principal's other sessions either.
    let response = server.send(who, get(&spared, cursor.as_deref())).await;
    assert_eq!(response.status(), 400);
    assert!(spared_reader.cursor.is_some());
}

#[tokio::test(start_paused = true)]
async fn rpl10_session_that_is_deleted_leaves_nothing() {
    for attached in [true, false] {
        ends(Server::new(), Way::Deleted, attached).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rpl10_session_that_is_terminated_leaves_nothing() {
    for attached in [true, false] {
        ends(Server::new(), Way::Terminated, attached).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rpl10_session_that_expires_leaves_nothing() {
    // With a client it would not expire (D11).
    ends(Server::new(), Way::Expired, false).await;
}

#[tokio::test(start_paused = true)]
async fn rpl10_store_that_takes_its_time_is_waited_for_by_a_task() {
    for way in [Way::Deleted, Way::Terminated, Way::Expired] {
        let mut faults = None::<Faults>;
        let server = Server::over(|memory| {
            let store = FaultyStore::new(memory);
            faults = Some(store.faults().clone());
            store
        });
        faults.expect("a store").slow_down(2);
        ends(server, way, false).await;
    }
}

#[tokio::test]
async fn session_is_asked_once_to_tell_of_its_end() {
    let server = Server::new();
    let session = server.initialize(None).await;
    let streams = [
        server.stream_of(None, &session, 7).await,
        server.stream_of(None, &session, 8).await,
        server.stream_of(None, &session, 9).await,
    ];
    let owner = server.owners()[0];
    server.terminate(owner).await;
    assert_eq!(server.purges(), 1);
    for (upstream, _) in &streams {
        upstream.dropped().await;
    }
    assert_eq!(server.kept(), 0);
}

#[tokio::test]
async fn session_without_a_stream_here_is_forgotten_in_the_store_when_it_is_deleted() {
    // Another node may have recorded some.
    let server = Server::new();
    let session = server.initialize(None).await;
    let elsewhere = Server {
        replay: ReplayLayer::new(Counting {
            inner: server.memory.clone(),
            purges: Arc::clone(&server.purges),
        }),
        sessions: server.sessions.clone(),
        memory: server.memory.clone(),
        purges: Arc::default(),
        world: Arc::clone(&server.world),
    };
    assert_eq!(server.kept(), 1);
    elsewhere.delete(None, &session).await;
    assert_eq!(server.kept(), 0);
}

#[tokio::test]
async fn d06_call_that_is_answered_after_its_session_has_ended_leaves_nothing() {
    let server = Server::new();
    let session = server.initialize(None).await;
    let (answer, answered) = tokio::sync::oneshot::channel::<()>();
    let answered = Arc::new(Mutex::new(Some(answered)));
    let slow = service_fn(move |_: Request<Full<Bytes>>| {
        let answered = answered.lock().expect("not poisoned").take();
        async move {
            answered.expect("asked once").await.expect("it is told");
            let (upstream, script) = body();
            upstream.say(FINAL);
            let response = Response::builder().header("content-type", "text/event-stream");
            Ok::<_, Infallible>(response.body(script).expect("a valid response"))
        }
    });
    let service = server.sessions.layer(server.replay.layer(slow));
    let mut waits = tokio_test::task::spawn(service.oneshot(call(&session, V)));
    assert!(waits.poll().is_pending());
    server.delete(None, &session).await;
    let tracked = server.replay.handle().stats().tracked_total;
    answer.send(()).expect("the call waits");
    let Ok(response) = waits.await;
    assert_eq!(had(response).await.2, "", "it ends with its session");
    assert_eq!(server.replay.handle().stats().tracked_total, tracked);
    assert_eq!(server.kept(), 0);
}
