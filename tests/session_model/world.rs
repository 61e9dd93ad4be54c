//! What has to come of it.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use shadowcat::{
    auth::Principal,
    session::{Session, SessionLayer},
    store::{HookKey, MemorySessionStore, faulty::FaultyStore},
};

use super::session_support::{
    By, CALL, Had, INITIALIZE, NOTIFICATION, Open, SESSION, Server, Upstream, delete, get, had,
    post, principal, settle, text,
};
use super::{
    op::{Answer, Op, Verb, Wait, Who},
    tally::Tally,
};

#[path = "audit.rs"]
mod audit;

/// Runs a history, and panics if anything is not as it has to be.
pub(crate) fn run(history: &[Op]) -> Tally {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new();
        for op in history {
            world.step(op).await;
            // A slow store is given time to forget.
            settle().await;
            world.check();
        }
        world.finish().await;
        world.tally
    })
}

const IDLE: Duration = Duration::from_secs(80);
const MAX: usize = 4;
const MAX_EACH: usize = 3;

/// What the oracle knows of a session.
struct Known {
    id: String,
    upstream: String,
    owner: Who,
    fact: Session,
    told: std::sync::Arc<std::sync::atomic::AtomicUsize>,
    is_over: bool,
    used: tokio::time::Instant,
    /// It may have been used since: a request was given up before it was known to be one of it.
    is_unsure: bool,
}

struct Stream {
    session: usize,
    client: Option<Open>,
    upstream: Upstream,
}

struct World {
    server: Server<FaultyStore<MemorySessionStore>>,
    memory: MemorySessionStore,
    store: FaultyStore<MemorySessionStore>,
    people: [Principal; 2],
    sessions: Vec<Known>,
    streams: Vec<Stream>,
    gives_sessions: bool,
    hook: HookKey,
    tally: Tally,
}

impl World {
    fn new() -> Self {
        let memory = MemorySessionStore::new()
            .with_idle_timeout(Some(IDLE))
            .with_max_sessions(MAX)
            .with_max_per_owner(MAX_EACH);
        let store = FaultyStore::new(memory.clone());
        Self {
            server: Server::new(SessionLayer::new(store.clone())),
            memory,
            store,
            people: [principal("i", "alice"), principal("i", "bob")],
            sessions: Vec::new(),
            streams: Vec::new(),
            gives_sessions: false,
            hook: HookKey::new(),
            tally: Tally::default(),
        }
    }

    async fn step(&mut self, op: &Op) {
        match *op {
            Op::Initialize(who, answer) => self.initialize(who, answer).await,
            Op::Send(who, nth, verb, answer) => {
                if let Some(nth) = self.nth(nth) {
                    self.send(who, nth, verb, answer).await;
                }
            }
            Op::Stray(who, verb, is_theirs) => self.stray(who, verb, is_theirs).await,
            Op::Hang(nth) => {
                if let Some(at) = nth.checked_rem(self.streams.len()) {
                    let stream = self.streams.remove(at);
                    self.touch(stream.session);
                }
            }
            Op::Close(nth) => {
                if let Some(at) = nth.checked_rem(self.streams.len()) {
                    let stream = self.streams.remove(at);
                    drop(stream.upstream);
                    self.server
                        .world()
                        .sessions
                        .values_mut()
                        .for_each(Vec::clear);
                    let client = stream.client.expect("it is open");
                    had(client).await;
                    self.touch(stream.session);
                }
            }
            Op::Terminate(nth) => {
                if let Some(nth) = self.nth(nth) {
                    self.terminate(nth).await;
                }
            }
            Op::Wait(wait) => self.wait(wait).await,
            Op::Slow(polls) => self.store.faults().slow_down(polls),
        }
    }

    /// Counted from the last one on: those are still there.
    fn nth(&self, nth: usize) -> Option<usize> {
        let nth = nth.checked_rem(self.sessions.len())?;
        Some(self.sessions.len() - 1 - nth)
    }

    fn touch(&mut self, nth: usize) {
        self.sessions[nth].used = tokio::time::Instant::now();
        self.sessions[nth].is_unsure = false;
    }

    fn live(&self) -> impl Iterator<Item = &Known> {
        self.sessions.iter().filter(|one| !one.is_over)
    }

    async fn ask(&mut self, request: Request<Full<Bytes>>, answer: Answer) -> Option<Open> {
        let last = self.sessions.last().map(|one| one.upstream.clone());
        let is_live = last.is_some() && self.sessions.last().is_some_and(|one| !one.is_over);
        self.server.script(move |asked| {
            if asked
                .parts
                .extensions
                .get::<Session>()
                .is_none_or(Session::is_ended)
                && asked.parts.method == "DELETE"
            {
                // Of what has expired.
                return None;
            }
            let response = Response::builder();
            let response = match (answer, &last) {
                (Answer::Fine | Answer::Never, _) => return None,
                (Answer::Refuses, _) if asked.parts.method == "DELETE" => response.status(405),
                (Answer::Refuses, _) => response.status(500).header(SESSION, "no"),
                (Answer::Forgets, _) => response.status(404),
                (Answer::Repeats, Some(last)) if is_live => response.header(SESSION, last),
                (Answer::Garbles, _) => response.header(SESSION, "not an id"),
                (Answer::Repeats | Answer::GivesNone, _) => response,
            };
            Some(response.body(text("{}")).expect("valid"))
        });
        if answer == Answer::Never {
            let service = self.server.service();
            let mut call = std::pin::pin!(tower::ServiceExt::oneshot(service, request));
            // Not even once: before the server is asked.
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            return match call.as_mut().poll(&mut cx) {
                std::task::Poll::Ready(Ok(response)) => Some(response),
                std::task::Poll::Ready(Err(never)) => match never {},
                std::task::Poll::Pending => None,
            };
        }
        Some(self.server.open(request).await)
    }

    async fn initialize(&mut self, who: Who, answer: Answer) {
        let person = &self.people[usize::from(who)];
        let request = post("", INITIALIZE).by(Some(person));
        let hers = self.live().filter(|one| one.owner == who).count();
        let all = self.live().count();
        self.server.asked();
        let Some(response) = self.ask(request, answer).await else {
            self.tally.given_up += 1;
            // What a slow store has not taken back yet.
            self.pass(Duration::from_secs(3)).await;
            let live: Vec<_> = self.live().map(|one| one.upstream.clone()).collect();
            self.server
                .world()
                .sessions
                .retain(|name, _| live.contains(name));
            return;
        };
        let response = had(response).await;
        let asked = self.server.asked();
        if hers >= MAX_EACH || all >= MAX {
            let status = if hers >= MAX_EACH { 429 } else { 503 };
            assert_eq!(response.status, status, "SE-4");
            assert!(asked.is_empty(), "SE-8");
            self.tally.refused += 1;
            return;
        }
        let is_given = response.headers.contains_key(SESSION);
        let repeats =
            answer == Answer::Repeats && self.sessions.last().is_some_and(|one| !one.is_over);
        let status = match answer {
            Answer::Refuses => 500,
            Answer::Garbles => 502,
            _ if repeats => 502,
            _ => 200,
        };
        assert_eq!(response.status, status, "SE-8");
        self.tally.clashes += u32::from(repeats);
        let is_fine = matches!(answer, Answer::Fine | Answer::Never);
        assert_eq!(is_given, is_fine, "SE-8");
        let fact = asked[0].fact();
        assert_eq!(fact.is_ended(), !is_given, "SE-8");
        if !is_given {
            return;
        }
        self.gives_sessions = true;
        let id = response.session();
        assert!(self.sessions.iter().all(|one| one.id != id), "SE-3");
        assert!(
            id.len() >= 43 && id.bytes().all(|byte| byte.is_ascii_graphic()),
            "SE-3"
        );
        let told = std::sync::Arc::<std::sync::atomic::AtomicUsize>::default();
        let count = std::sync::Arc::clone(&told);
        fact.on_end(self.hook, move || {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        let given = format!("up-{}", self.given());
        self.sessions.push(Known {
            id,
            upstream: given,
            owner: who,
            fact: fact.clone(),
            told,
            is_over: false,
            used: tokio::time::Instant::now(),
            is_unsure: false,
        });
        self.tally.given += 1;
    }

    /// The number of the session that the server has given last.
    fn given(&self) -> usize {
        let world = self.server.world();
        let numbers = world
            .sessions
            .keys()
            .filter_map(|name| name.strip_prefix("up-"));
        numbers
            .filter_map(|nth| nth.parse().ok())
            .max()
            .expect("one was given")
    }

    fn request(&self, who: Who, id: &str, verb: Verb) -> Request<Full<Bytes>> {
        let request = match verb {
            Verb::Call => post(id, CALL),
            Verb::Notify => post(id, NOTIFICATION),
            Verb::Listen => get(id),
            Verb::Delete => delete(id),
        };
        request.by(Some(&self.people[usize::from(who)]))
    }

    /// SE-2: what is not there, looks like this.
    async fn unknown(&mut self, who: Who, verb: Verb) -> Had {
        let id = "A".repeat(43);
        let request = self.request(who, &id, verb);
        self.server.send(request).await
    }

    async fn stray(&mut self, who: Who, verb: Verb, is_theirs: bool) {
        let id = match self.sessions.last() {
            Some(one) if is_theirs => one.upstream.clone(),
            _ => "stray".to_owned(),
        };
        let request = self.request(who, &id, verb);
        self.server.asked();
        let response = self.server.send(request).await;
        assert!(!self.server.was_asked(), "SE-1");
        assert_eq!(response, self.unknown(who, verb).await, "SE-2");
    }

    async fn send(&mut self, who: Who, nth: usize, verb: Verb, answer: Answer) {
        let known = &self.sessions[nth];
        let (is_over, owner, upstream) = (known.is_over, known.owner, known.upstream.clone());
        let request = self.request(who, &known.id, verb);
        self.server.asked();
        if is_over || owner != who {
            let response = self
                .ask(request, Answer::Fine)
                .await
                .expect("it is waited for");
            assert!(!self.server.was_asked(), "SE-1");
            assert_eq!(
                had(response).await,
                self.unknown(who, verb).await,
                "SE-2, SE-5"
            );
            self.tally.foreign += u32::from(owner != who);
            return;
        }
        let Some(response) = self.ask(request, answer).await else {
            self.sessions[nth].is_unsure = true;
            self.tally.given_up += 1;
            settle().await;
            // It may have reached the server.
            let is_there = self.server.world().sessions.contains_key(&upstream);
            if !is_there {
                self.over_for_the_server(nth).await;
            }
            return;
        };
        self.touch(nth);
        let asked = self.server.asked();
        assert_eq!(asked.len(), 1, "SE-6");
        assert_eq!(asked[0].session(), Some(&*upstream), "SE-1");
        assert_eq!(
            asked[0].fact().principal(),
            self.people[usize::from(who)].owner(),
            "SE-1"
        );
        self.tally.served += 1;
        let status = response.status().as_u16();
        match (verb, answer) {
            (Verb::Delete, Answer::Refuses) => assert_eq!(status, 405),
            (_, Answer::Refuses) => assert_eq!(status, 500),
            (_, Answer::Forgets) => {
                assert_eq!(status, 404);
                self.over(nth);
                self.tally.forgotten += 1;
            }
            (Verb::Delete, _) => {
                assert_eq!(status, 200);
                self.over(nth);
                self.tally.deleted += 1;
            }
            (Verb::Listen, _) => {
                assert_eq!(status, 200);
                let mut world = self.server.world();
                let open = world.sessions.get_mut(&upstream).expect("it is there");
                let stream = open.pop().expect("it is open");
                drop(world);
                self.streams.push(Stream {
                    session: nth,
                    client: Some(response),
                    upstream: stream,
                });
                return;
            }
            _ => assert_eq!(status, 200),
        }
        had(response).await;
        self.touch(nth);
        self.cut().await;
    }

    /// A client has gone while it was deleted: the server says that it is not there.
    async fn over_for_the_server(&mut self, nth: usize) {
        let known = &self.sessions[nth];
        let request = self.request(known.owner, &known.id, Verb::Call);
        let response = self
            .ask(request, Answer::Fine)
            .await
            .expect("it is waited for");
        assert_eq!(response.status(), 404);
        drop(response);
        self.over(nth);
        self.cut().await;
    }

    async fn terminate(&mut self, nth: usize) {
        let handle = self.server.layer.handle();
        let owner = self.sessions[nth].fact.owner();
        let list = handle.list(None, 1000).await.expect("a list");
        let found = list.sessions.into_iter().find(|one| one.owner == owner);
        assert_eq!(found.is_some(), !self.sessions[nth].is_over);
        let Some(found) = found else {
            return;
        };
        assert!(handle.terminate(found.tag).await.expect("the store works"));
        self.over(nth);
        self.tally.terminated += 1;
        self.cut().await;
        settle().await;
        let upstream = &self.sessions[nth].upstream;
        assert!(
            !self.server.world().sessions.contains_key(upstream),
            "SES-11"
        );
    }

    async fn wait(&mut self, wait: Wait) {
        let time = match wait {
            Wait::Short => Duration::from_secs(1),
            Wait::AlmostIdle => IDLE - Duration::from_secs(2),
            Wait::Idle => IDLE + IDLE / 4,
        };
        self.pass(time).await;
    }

    async fn pass(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
        settle().await;
        let now = tokio::time::Instant::now();
        for nth in 0..self.sessions.len() {
            let is_held = self.streams.iter().any(|stream| stream.session == nth);
            let known = &self.sessions[nth];
            if known.is_over || is_held {
                continue;
            }
            // Before its time it is there, and afterwards it is not; its end is told in between.
            let idle = now - known.used;
            if idle >= IDLE && known.is_unsure && !known.fact.is_ended() {
                let request = self.request(known.owner, &known.id, Verb::Call);
                let response = self.ask(request, Answer::Fine).await;
                let status = response.expect("it is waited for").status();
                if status == 200 {
                    self.touch(nth);
                } else {
                    assert_eq!(status, 404, "SE-6");
                    self.sessions[nth].is_over = true;
                }
            } else if idle >= IDLE {
                let told = IDLE + IDLE / 8 + Duration::from_secs(1);
                assert!(
                    known.fact.is_ended() || idle < told,
                    "SES-11 after {idle:?}"
                );
                self.sessions[nth].is_over = true;
                self.tally.expired += 1;
            } else {
                assert!(!known.fact.is_ended(), "SE-6");
            }
        }
    }

    fn over(&mut self, nth: usize) {
        self.sessions[nth].is_over = true;
        assert!(self.sessions[nth].fact.is_ended());
    }

    /// The streams of sessions that are over have ended.
    async fn cut(&mut self) {
        let mut open = Vec::new();
        for mut stream in std::mem::take(&mut self.streams) {
            if self.sessions[stream.session].is_over {
                stream.upstream.say("data: late\n\n");
                let client = stream.client.take().expect("it is open");
                assert_eq!(had(client).await.body, "", "SE-5");
                assert!(!stream.upstream.is_read(), "SE-5");
                self.tally.cut += 1;
            } else {
                open.push(stream);
            }
        }
        self.streams = open;
    }
}
