//! What there is, and what the oracle knows of it.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use shadowcat::{
    auth::Principal,
    replay::ReplayLayer,
    session::{Session, SessionLayer},
    store::{HookKey, MemorySessionStore, MemoryStore, faulty::FaultyStore},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    op::{Caller, Op, Pick, Verb, Wait, Who},
    server::{Body, Call, Server, Sessions, drive, read},
    session_support::{By, ScriptBody, Upstream, delete, get, post, principal, settle},
    tally::Tally,
};

pub(crate) const IDLE: Duration = Duration::from_secs(80);
pub(crate) const MAX: usize = 4;
pub(crate) const MAX_EACH: usize = 3;
/// Longer than any history.
const LONG: Duration = Duration::from_secs(1_000_000);

/// What the oracle knows of a session.
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) upstream: String,
    pub(crate) owner: Who,
    pub(crate) has_batches: bool,
    pub(crate) fact: Session,
    /// How often the hook was called.
    pub(crate) told: Arc<AtomicUsize>,
    pub(crate) is_over: bool,
    pub(crate) used: Instant,
    /// Whether a DELETE has reached the server and is not answered.
    pub(crate) is_deleting: bool,
    /// Ids of requests under way.
    pub(crate) ids: Vec<u8>,
    /// There is one GET stream per session: what becomes of a second one is for other tests.
    pub(crate) has_listened: bool,
    /// Whether the server has to be told unless the DELETE comes to something (D09).
    pub(crate) is_owed: bool,
    /// How often the server has to be told of its end.
    pub(crate) farewells: usize,
}

/// A request that has reached the server.
pub(crate) struct Flight {
    pub(crate) call: Call,
    /// Of none if it is stateless.
    pub(crate) session: Option<usize>,
    pub(crate) verb: Verb,
    pub(crate) ids: Vec<u8>,
    pub(crate) reply: oneshot::Sender<Response<ScriptBody>>,
}

pub(crate) struct Stream {
    pub(crate) session: usize,
    pub(crate) is_get: bool,
    pub(crate) client: Option<Pin<Box<Body>>>,
    /// What the client has had of what was said.
    pub(crate) had: usize,
    pub(crate) said: Vec<u32>,
    /// The server's end, until it ends it.
    pub(crate) upstream: Option<Upstream>,
    /// The request's, as long as its first client is there.
    pub(crate) ids: Vec<u8>,
    pub(crate) answers: u8,
}

/// Where a stream can be resumed: after so much of what was said.
pub(crate) struct Cursor {
    pub(crate) id: String,
    pub(crate) stream: usize,
    pub(crate) position: usize,
}

pub(crate) struct World {
    pub(crate) server: Server,
    pub(crate) layer: Sessions,
    pub(crate) replay: ReplayLayer<MemoryStore>,
    pub(crate) events: MemoryStore,
    pub(crate) memory: MemorySessionStore,
    pub(crate) store: FaultyStore<MemorySessionStore>,
    pub(crate) people: [Principal; 2],
    pub(crate) sessions: Vec<Known>,
    pub(crate) flights: Vec<Flight>,
    pub(crate) streams: Vec<Stream>,
    pub(crate) cursors: Vec<Cursor>,
    /// How many sessions the server has given.
    pub(crate) given: usize,
    /// Those of them that came with an error, of whose ends it has to be told.
    pub(crate) failed: Vec<String>,
    pub(crate) gives_sessions: bool,
    pub(crate) hook: HookKey,
    pub(crate) next_number: u32,
    pub(crate) tally: Tally,
}

/// A refusal, whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    headers: HeaderMap,
    pub(crate) body: String,
}

/// What has come of a request.
pub(crate) enum Outcome {
    Answered(Response<Body>),
    Arrived(Call, super::server::Arrival),
}

impl World {
    pub(crate) fn new() -> Self {
        let memory = MemorySessionStore::new()
            .with_idle_timeout(Some(IDLE))
            .with_max_sessions(MAX)
            .with_max_per_owner(MAX_EACH);
        let store = FaultyStore::new(memory.clone());
        let events = MemoryStore::new().with_retain_for(LONG);
        let replay = ReplayLayer::new(events.clone())
            .with_keep_alive(None)
            .with_stall_timeout(None)
            .with_max_detached_for(LONG);
        Self {
            server: Server::default(),
            layer: SessionLayer::new(store.clone()),
            replay,
            events,
            memory,
            store,
            people: [principal("i", "alice"), principal("i", "bob")],
            sessions: Vec::new(),
            flights: Vec::new(),
            streams: Vec::new(),
            cursors: Vec::new(),
            given: 0,
            failed: Vec::new(),
            gives_sessions: false,
            hook: HookKey::new(),
            next_number: 0,
            tally: Tally {
                histories: 1,
                ..Tally::default()
            },
        }
    }

    pub(crate) async fn step(&mut self, op: &Op) {
        match *op {
            Op::Initialize(who, opening) => self.initialize(who, opening).await,
            Op::Send(caller, pick, verb, id) => {
                if let Some(nth) = self.pick(pick) {
                    self.send(self.who(caller, nth), nth, verb, id);
                }
            }
            Op::Answer(nth, answer) => {
                if let Some(nth) = back(nth, self.flights.len()) {
                    self.answer(nth, answer);
                }
            }
            Op::Abandon(nth) => {
                if let Some(nth) = back(nth, self.flights.len()) {
                    let flight = self.flights.remove(nth);
                    self.land(flight.session, flight.verb, &flight.ids, false);
                    self.tally.abandoned += 1;
                }
            }
            Op::Stray(who, stray) => self.stray(who, stray),
            Op::Say(nth) => self.say(nth),
            Op::Close(nth) => self.close(nth),
            Op::Hang(nth) => self.hang(nth),
            Op::Resume(caller, rest, cursor) => self.resume(caller, rest, cursor),
            Op::Terminate(pick) => {
                if let Some(nth) = self.pick(pick) {
                    self.terminate(nth).await;
                }
            }
            Op::Wait(wait) => {
                self.pass(match wait {
                    Wait::Short => Duration::from_secs(1),
                    Wait::AlmostIdle => IDLE - Duration::from_secs(2),
                    Wait::Idle => IDLE + IDLE / 4,
                })
                .await;
            }
            Op::Slow(polls) => self.store.faults().slow_down(polls),
        }
    }

    pub(crate) fn pick(&self, pick: Pick) -> Option<usize> {
        let all = 0..self.sessions.len();
        let some: Vec<_> = all
            .filter(|nth| pick.any || !self.sessions[*nth].is_over)
            .collect();
        Some(some[back(pick.nth, some.len())?])
    }

    pub(crate) fn who(&self, caller: Caller, nth: usize) -> Who {
        let owner = self.sessions[nth].owner;
        match caller {
            Caller::Owner => owner,
            Caller::Stranger => 1 - owner,
        }
    }

    /// Sends a request, which goes as far as it does.
    pub(crate) fn ask(&mut self, request: Request<Full<Bytes>>) -> Outcome {
        let mut call = self.server.call(&self.layer, &self.replay, request);
        let server = self.server.clone();
        match drive(&mut call, || !server.inbox().arrived.is_empty()) {
            Some(Ok(response)) => Outcome::Answered(response),
            Some(Err(never)) => match never {},
            None => {
                let arrival = self.server.inbox().arrived.pop().expect("one came");
                Outcome::Arrived(call, arrival)
            }
        }
    }

    /// Sends a request that does not come as far as the server.
    pub(crate) fn refused(&mut self, request: Request<Full<Bytes>>) -> Refused {
        match self.ask(request) {
            Outcome::Answered(response) => whole(response),
            Outcome::Arrived(..) => panic!("SE-1: it should not reach the server"),
        }
    }

    pub(crate) fn request(&self, who: Who, id: &str, verb: Verb, n: u8) -> Request<Full<Bytes>> {
        let call = |n| {
            format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/call","params":{{"name":"x"}}}}"#)
        };
        let request = match verb {
            Verb::Call => post(id, call(n)),
            Verb::Batch => post(id, format!("[{},{}]", call(n), call(n + 10))),
            Verb::Respond => post(id, format!(r#"{{"jsonrpc":"2.0","id":{n},"result":{{}}}}"#)),
            Verb::Notify => post(id, r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#),
            Verb::Listen => get(id),
            Verb::Delete => delete(id),
            Verb::Stateless => post(
                id,
                format!(
                    r#"{{"jsonrpc":"2.0","id":{n},"method":"tools/list","params":{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}}}}"#
                ),
            ),
        };
        request.by(Some(&self.people[who]))
    }

    /// SE-2: what is not there looks like this.
    pub(crate) fn unknown(&mut self, who: Who, verb: Verb, n: u8) -> Refused {
        let request = self.request(who, &"A".repeat(43), verb, n);
        let refused = self.refused(request);
        assert_eq!(refused.status, 404);
        refused
    }

    pub(crate) fn is_held(&self, nth: usize) -> bool {
        let flies = self.flights.iter().any(|one| one.session == Some(nth));
        let mut streams = self.streams.iter().filter(|one| one.session == nth);
        flies || streams.any(|one| one.client.is_some())
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = &Known> {
        self.sessions.iter().filter(|one| !one.is_over)
    }

    /// A request is not under way any more. Whether it has ended the session for its server.
    pub(crate) fn land(&mut self, session: Option<usize>, verb: Verb, ids: &[u8], is_end: bool) {
        let Some(nth) = session else {
            return;
        };
        let known = &mut self.sessions[nth];
        known.ids.retain(|id| !ids.contains(id));
        if verb == Verb::Delete {
            known.is_deleting = false;
            let is_owed = std::mem::take(&mut known.is_owed) && !is_end;
            known.farewells += usize::from(is_owed);
            self.tally.told_after_delete += u32::from(is_owed);
        }
        known.used = Instant::now();
    }

    pub(crate) async fn pass(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
        settle().await;
        for nth in 0..self.sessions.len() {
            let (is_held, known) = (self.is_held(nth), &mut self.sessions[nth]);
            if known.is_over {
                continue;
            }
            let idle = known.used.elapsed();
            if is_held || idle < IDLE {
                assert!(!known.fact.is_ended(), "SE-6, D11");
                self.tally.kept_by_stream += u32::from(is_held && idle >= IDLE);
            } else {
                // Before its time it is there, and afterwards it is not; its end is told in between.
                let told = IDLE + IDLE / 8 + Duration::from_secs(1);
                assert!(known.fact.is_ended() || idle < told, "SES-11: {idle:?}");
                known.is_over = true;
                known.farewells += 1;
                self.tally.expired += 1;
            }
        }
    }

    /// What holds after every step.
    pub(crate) fn check(&mut self) {
        for known in &self.sessions {
            let is_ended = known.fact.is_ended();
            assert!(known.is_over || !is_ended, "SE-6");
            assert_eq!(known.told.load(Relaxed), usize::from(is_ended), "once");
        }
        // What has expired may not have been swept.
        let (live, held) = (self.live().count(), self.memory.stats().sessions);
        assert!(live <= held && held <= MAX, "SE-4: {live}, {held}");
        self.read_all();
    }

    /// Everybody goes, and nothing is left.
    pub(crate) async fn finish(&mut self) {
        let expired = self.tally.expired;
        self.store.faults().slow_down(0);
        for flight in std::mem::take(&mut self.flights) {
            self.land(flight.session, flight.verb, &flight.ids, false);
        }
        for stream in &mut self.streams {
            stream.client = None;
        }
        for known in &mut self.sessions {
            known.used = Instant::now();
        }
        self.pass(IDLE + IDLE / 4).await;
        settle().await;
        assert_eq!(self.memory.stats().sessions, 0, "OB-1");
        assert_eq!(self.replay.handle().streams(), [], "OB-1");
        assert_eq!(self.events.stats().streams, 0, "RPL-10");
        for stream in &self.streams {
            let is_read = stream.upstream.as_ref().is_some_and(Upstream::is_read);
            assert!(!is_read, "OB-1: a server is still read");
        }
        let told = std::mem::take(&mut self.server.inbox().told);
        for known in &self.sessions {
            assert!(known.fact.is_ended(), "OB-1");
            let count = told.iter().filter(|one| **one == known.upstream).count();
            assert_eq!(count, known.farewells, "SES-11 of {}", known.upstream);
        }
        let known: usize = self.sessions.iter().map(|one| one.farewells).sum();
        assert_eq!(told.len(), known + self.failed.len(), "SES-11");
        let stats = self.layer.handle().stats();
        let given = (self.sessions.len() + self.failed.len()) as u64;
        assert_eq!((stats.opened_total, stats.ended_total), (given, given));
        assert_eq!(stats.expired_total, u64::from(self.tally.expired));
        // What is left at the end does not count as something that happens.
        self.tally.expired = expired;
    }
}

/// Counted from the last one on.
pub(crate) fn back(nth: usize, len: usize) -> Option<usize> {
    let nth = nth.checked_rem(len)?;
    Some(len - 1 - nth)
}

pub(crate) fn whole(response: Response<Body>) -> Refused {
    let (parts, body) = response.into_parts();
    let (body, is_over) = read(&mut Box::pin(body));
    assert!(is_over, "it is whole");
    Refused {
        status: parts.status,
        headers: parts.headers,
        body,
    }
}
