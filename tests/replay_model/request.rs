//! Requests, and what has to come of them.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use shadowcat::replay::{ResponseBody, StreamInfo, StreamState};
use shadowcat::sse::{EventId, StreamKey};
use tower::{Layer, Service};

use super::client::{Client, Flag, Mode};
use super::op::{Cursor, Kind, Reopen, Who};
use super::oracle::Stream;
use super::truth::{self, Truth};
use super::upstream::{Plan, Script, Tap};
use super::world::World;

pub(crate) type Answer = Response<ResponseBody<Script>>;
type Asked = Pin<Box<dyn Future<Output = Result<Answer, Infallible>>>>;

/// A request without a response yet.
pub(crate) struct Asking {
    pub(crate) who: Who,
    future: Asked,
    claim: Claim,
}

/// Who wants to go on where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) stream: usize,
    pub(crate) sequence: u64,
    pub(crate) is_own: bool,
    pub(crate) server: Reopen,
    /// What the store had when the request was made.
    pub(crate) before: Option<Truth>,
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}}"#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{}}"#;
const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":"1","method":"b"},{"jsonrpc":"2.0","id":2,"method":"c"}]"#;

/// The session and version that a kind of request has.
fn heads(kind: Kind) -> (bool, Option<&'static str>) {
    match kind {
        Kind::CallD | Kind::Standalone => (true, Some("2025-11-25")),
        Kind::CallC => (true, Some("2025-06-18")),
        Kind::CallB | Kind::Batch => (true, Some("2025-03-26")),
        Kind::Initialize => (false, None),
        Kind::Generic => (false, None),
        Kind::Modern => (false, Some("2026-07-28")),
    }
}

impl World {
    fn request(
        &self,
        who: Who,
        kind: Kind,
        session: Option<&str>,
        cursor: Option<&str>,
    ) -> Request<Full<Bytes>> {
        let is_get = cursor.is_some() || matches!(kind, Kind::Standalone | Kind::Generic);
        let mut request = Request::builder()
            .uri("/mcp")
            .header("accept", "application/json, text/event-stream");
        let (_, mut version) = heads(kind);
        if kind == Kind::Initialize && is_get {
            version = Some("2025-11-25");
        }
        if let Some(version) = version {
            request = request.header("mcp-protocol-version", version);
        }
        if let Some(session) = session.filter(|_| kind != Kind::Initialize || is_get) {
            request = request.header("mcp-session-id", session);
        }
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        if self.setup.is_owner_told {
            request = request.extension(self.owner(who, session));
        }
        let body = match kind {
            _ if is_get => "",
            Kind::Batch => BATCH,
            Kind::Initialize => INITIALIZE,
            _ => CALL,
        };
        let request = if is_get {
            request.method("GET")
        } else {
            request
                .method("POST")
                .header("content-type", "application/json")
        };
        request.body(Full::from(body)).expect("a valid request")
    }

    fn send(&self, request: Request<Full<Bytes>>) -> Asked {
        Box::pin(self.layer.layer(self.server.clone()).call(request))
    }

    /// Opens a stream that is there all the time.
    pub(crate) fn start_pulse(&mut self) {
        let request = self.request(1, Kind::Generic, None, None);
        let body = Box::pin(finish(&mut self.send(request)).into_body());
        let tap = self.server.call().expect("a new stream").tap;
        self.pulse = Some(Pulse { body, _tap: tap });
    }

    pub(crate) fn open(&mut self, who: Who, kind: Kind) {
        let session = (kind != Kind::Generic && kind != Kind::Modern).then(|| self.session(who));
        let told = session.as_deref().filter(|_| kind == Kind::Initialize);
        let told = told.map(|session| HeaderValue::from_str(session).expect("a valid session"));
        self.server.plan(Plan::Stream, told);
        // A cursor means nothing in 2026-07-28.
        let mut request = self.request(who, kind, session.as_deref(), None);
        if kind == Kind::Modern {
            let cursor = HeaderValue::from_static("anything");
            request.headers_mut().insert("last-event-id", cursor);
        }
        let before = (self.handle.streams(), self.book.store.memory.stats());
        let mut asked = self.send(request);
        let response = finish(&mut asked);
        assert_eq!(response.status(), 200);
        let Some(call) = self.server.call() else {
            assert_eq!(kind, Kind::Standalone, "nobody called the server");
            return self.went_on_unheard(who, &before.0, response);
        };
        let nth = self.streams.iter().filter(|one| one.who == who).count();
        let owner = self.owner(who, session.as_deref());
        let mut stream = Stream::new(who, nth, owner, session, kind, call.tap);
        let mode = if kind == Kind::Modern {
            assert!(call.last_event_id.is_some(), "RPL-15: forwarded as it is");
            assert_eq!(before.0, self.handle.streams(), "RPL-15: tracked");
            let stats = self.book.store.memory.stats();
            assert_eq!(before.1, stats, "RPL-15: stored");
            Mode::Modern
        } else {
            let all = self.handle.streams();
            stream.serial = all.last().expect("a new stream").serial;
            Mode::Live
        };
        let after = self.handle.streams();
        for old in &mut self.streams {
            // A new GET stream takes the place of one that waits for its client.
            let was = |all: &[StreamInfo]| all.iter().any(|info| info.serial == old.serial);
            let is_gone = kind == Kind::Standalone && old.kind == kind && old.owner == owner;
            if is_gone && was(&before.0) && !was(&after) {
                old.excuse("replaced");
            }
        }
        self.streams.push(stream);
        self.attach(self.streams.len() - 1, mode, 1, response);
    }

    /// A GET stream of which no client has had anything is handed to the next client.
    fn went_on_unheard(&mut self, who: Who, before: &[StreamInfo], response: Answer) {
        let after = self.handle.streams();
        let changed = after.iter().find(|info| {
            let was = before.iter().find(|was| was.serial == info.serial);
            info.state == StreamState::Attached
                && was.is_some_and(|was| was.state == StreamState::Detached)
        });
        let serial = changed.expect("a stream went on").serial;
        let at = self.streams.iter().position(|one| one.serial == serial);
        let at = at.expect("a stream of ours");
        assert_eq!(self.streams[at].who, who, "RPL-3");
        self.fence(at);
        self.attach(at, Mode::Live, 1, response);
    }

    pub(crate) fn attach(&mut self, stream: usize, mode: Mode, next: u64, response: Answer) {
        let who = self.streams[stream].who;
        let nth = self.clients.iter().filter(|one| one.who == who).count();
        let mut client = Client::new(who, nth, stream, mode, next, response.into_body());
        client.is_dismissed = self.is_closed && mode != Mode::Modern;
        if self.is_closed {
            self.streams[stream].excuse("shutdown");
        }
        self.streams[stream].is_cramped = self.setup.max_detached < 10;
        self.clients.push(client);
    }

    pub(crate) fn fence(&mut self, stream: usize) {
        for client in &mut self.clients {
            client.is_fenced |= client.stream == stream && client.mode == Mode::Live;
        }
    }

    /// Comes back with a cursor; false if there is none.
    pub(crate) fn resume(
        &mut self,
        at: usize,
        cursor: Cursor,
        server: Reopen,
        patience: usize,
    ) -> bool {
        let stream = &self.streams[at];
        let (Some(key), Some(own)) = (stream.key, stream.cursor) else {
            return false;
        };
        let mut who = stream.who;
        let mut session = stream.session.clone();
        let mut sequence = own;
        let mut is_own = true;
        let mut id = stream.id(own).expect("a key");
        match cursor {
            Cursor::Own => {}
            Cursor::Stale(back) => {
                let heard = &stream.heard;
                sequence = heard[heard.len().saturating_sub(1 + back)];
                id = stream.id(sequence).expect("a key");
            }
            Cursor::Ahead(by) => {
                is_own = false;
                // A stream that is given up says so of up to three requests.
                id = stream
                    .id(stream.events.len() as u64 + 3 + by)
                    .expect("a key");
            }
            Cursor::Forged(bit) if bit < 240 => {
                is_own = false;
                let mut bytes = id.into_bytes();
                bytes[bit / 6] = flip(bytes[bit / 6], bit % 6);
                id = String::from_utf8(bytes).expect("ASCII");
            }
            Cursor::Forged(_) => {
                is_own = false;
                let mut guess = *key.as_bytes();
                guess[15] ^= 1;
                let guess = EventId::new(StreamKey::from_bytes(guess), own);
                id = String::from_utf8_lossy(&guess.encode()).into_owned();
            }
            Cursor::Foreign => {
                is_own = false;
                who = 1 - who;
                session = session.map(|_| self.session(who));
                if self.owner(who, session.as_deref()) == stream.owner {
                    return false;
                }
            }
        }
        let request = self.request(who, stream.kind, session.as_deref(), Some(&id));
        let before = truth::read(&self.book.store, key, stream.owner, sequence);
        let claim = Claim {
            stream: at,
            sequence,
            is_own,
            server,
            before,
        };
        let mut asking = Asking {
            who: stream.who,
            future: self.send(request),
            claim,
        };
        // What is ahead now would not be in a while.
        if patience == 0 || matches!(cursor, Cursor::Ahead(_)) {
            self.finish_request(asking);
            return true;
        }
        self.server.plan(plan(server), None);
        for _ in 0..patience {
            let top = self.top();
            if let Poll::Ready(response) = poll(&mut asking.future) {
                self.resumed(asking.claim, response, top);
                return true;
            }
        }
        self.asking.push(asking);
        true
    }

    /// The highest number of any stream of the layer.
    pub(crate) fn top(&self) -> u64 {
        let all = self.handle.streams();
        all.last().map_or(0, |info| info.serial)
    }

    pub(crate) fn finish_requests(&mut self) {
        for asking in std::mem::take(&mut self.asking) {
            self.finish_request(asking);
        }
    }

    pub(crate) fn finish_request(&mut self, mut asking: Asking) {
        self.server.plan(plan(asking.claim.server), None);
        let top = self.top();
        let response = finish(&mut asking.future);
        self.resumed(asking.claim, response, top);
    }

    pub(crate) fn delete(&mut self, who: Who) {
        let session = self.session(who);
        let mut request = self.request(who, Kind::Standalone, Some(&session), None);
        *request.method_mut() = http::Method::DELETE;
        let response = finish(&mut self.send(request));
        assert_eq!(response.status(), 204);
        assert!(self.server.call().is_some(), "DELETE reaches the server");
        self.sessions[who] += 1;
        for stream in &mut self.streams {
            if stream.session.as_deref() == Some(session.as_str()) {
                stream.is_deleted = true;
                stream.excuse("deleted");
            }
        }
    }
}

pub(crate) struct Pulse {
    body: Pin<Box<ResponseBody<Script>>>,
    _tap: Tap,
}

impl Pulse {
    /// Reads what there is; `None` at the end.
    pub(crate) fn poll_data(&mut self) -> Option<()> {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(frame) = self.body.as_mut().poll_frame(&mut cx) {
            frame?.expect("no error");
        }
        Some(())
    }
}

fn plan(server: Reopen) -> Plan {
    if server == Reopen::Refuses {
        Plan::Refuse
    } else {
        Plan::Stream
    }
}

/// Another character of base64url, with that bit of its value flipped.
fn flip(character: u8, bit: usize) -> u8 {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let value = ALPHABET.iter().position(|&one| one == character);
    ALPHABET[value.expect("base64url") ^ (1 << bit)]
}

fn poll(asked: &mut Asked) -> Poll<Answer> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let polled = asked.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_ready() || flag.take(), "RPL-9: nobody wakes it");
    polled.map(|response| response.unwrap_or_else(|never| match never {}))
}

fn finish(asked: &mut Asked) -> Answer {
    for _ in 0..1000 {
        if let Poll::Ready(response) = poll(asked) {
            return response;
        }
    }
    panic!("RPL-9: no response");
}

pub(crate) fn read_all(response: Answer) -> Vec<u8> {
    let mut body = Box::pin(response.into_body());
    let mut all = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = body.as_mut().poll_frame(&mut cx) {
        let data = frame.expect("no error").into_data();
        all.extend_from_slice(&data.unwrap_or_default());
    }
    all
}
