//! Sessions and the requests in them, and what has to come of each.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::Response;
use tokio::time::Instant;

use super::{
    op::{Answer, Opening, Stray, Verb, Who},
    server::{drive, read},
    session_support::{By, INITIALIZE, SESSION, V, agreed, post, script, text},
    world::{Flight, Known, MAX, MAX_EACH, Outcome, Stream, World, whole},
};

impl World {
    pub(crate) async fn initialize(&mut self, who: Who, opening: Opening) {
        let hers = self.live().filter(|one| one.owner == who).count();
        let is_full = hers >= MAX_EACH || self.live().count() >= MAX;
        let request = post("", INITIALIZE).by(Some(&self.people[who]));
        if let Opening::Never(polls) = opening {
            let mut call = self.server.call(&self.layer, &self.replay, request);
            let mut cx = Context::from_waker(Waker::noop());
            for _ in 0..polls {
                if let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) {
                    assert!(is_full && response.status() != 200, "nobody has answered");
                    break;
                }
            }
            drop(call);
            self.server.inbox().arrived.clear();
            self.tally.given_up += 1;
            // A slow store takes it back in its time.
            self.pass(Duration::from_secs(1)).await;
            return;
        }
        let (mut call, arrival) = match self.ask(request) {
            Outcome::Arrived(call, arrival) => (call, arrival),
            Outcome::Answered(response) => {
                let status = if hers >= MAX_EACH { 429 } else { 503 };
                assert!(is_full, "SE-4");
                assert_eq!(response.status(), status, "SE-4");
                self.tally.refused += 1;
                return;
            }
        };
        assert!(!is_full, "SE-4");
        assert_eq!(arrival.session(), None, "B09");
        let fact = arrival
            .parts
            .extensions
            .get::<shadowcat::session::Session>();
        let fact = fact.expect("a session").clone();
        assert!(!fact.is_established());
        let last = self.sessions.last().filter(|one| !one.fact.is_ended());
        let repeated = last.map(|one| one.upstream.clone());
        let repeated = repeated.filter(|_| opening == Opening::Repeats);
        let version = match opening {
            Opening::Older => "2025-03-26",
            _ => V,
        };
        self.given += 1;
        let name = match (&repeated, opening) {
            (Some(name), _) => name.clone(),
            (None, Opening::Garbles) => "not an id".to_owned(),
            _ => format!("up-{}", self.given),
        };
        let mut response = Response::builder().header("content-type", "application/json");
        if opening != Opening::GivesNone {
            response = response.header(SESSION, &name);
        }
        let body = match opening {
            Opening::Fails => {
                r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":""}}"#.to_owned()
            }
            _ => agreed(version),
        };
        if opening == Opening::Refuses {
            response = response.status(500);
        }
        let _ = arrival
            .reply
            .send(response.body(text(body)).expect("valid"));
        let Some(Ok(response)) = drive(&mut call, || false) else {
            unreachable!("it is driven to its end")
        };
        let status = match opening {
            Opening::Refuses => 500,
            Opening::Garbles => 502,
            _ if repeated.is_some() => 502,
            _ => 200,
        };
        assert_eq!(response.status(), status, "SE-8");
        let id = response.headers().get(SESSION).cloned();
        whole(response);
        self.tally.clashes += u32::from(repeated.is_some());
        let Some(id) = id else {
            assert!(fact.is_ended(), "SE-8");
            return;
        };
        assert!(status == 200 && opening != Opening::GivesNone, "SE-8");
        self.gives_sessions = true;
        if opening == Opening::Fails {
            assert!(fact.is_ended(), "SE-8");
            self.failed.push(name);
            self.tally.failed += 1;
            // Its server and a slow store are told.
            self.pass(Duration::from_secs(1)).await;
            return;
        }
        let id = id.to_str().expect("ASCII").to_owned();
        assert!(self.sessions.iter().all(|one| one.id != id), "SE-3");
        assert!(
            id.len() == 43 && id.bytes().all(|byte| byte.is_ascii_graphic()),
            "SE-3"
        );
        assert_eq!(
            fact.version().map(|one| one.as_str()),
            Some(version),
            "VER-9"
        );
        let told = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&told);
        fact.on_end(self.hook, move || {
            count.fetch_add(1, Relaxed);
        });
        self.sessions.push(Known {
            id,
            upstream: name,
            owner: who,
            has_batches: version != V,
            fact,
            told,
            is_over: false,
            used: Instant::now(),
            is_deleting: false,
            is_owed: false,
            ids: Vec::new(),
            has_listened: false,
            farewells: 0,
        });
        self.tally.given += 1;
    }

    pub(crate) fn stray(&mut self, who: Who, stray: Stray) {
        let id = match (stray, self.sessions.last()) {
            (Stray::Missing, _) => {
                let request = self.request(who, "", Verb::Call, 1);
                match self.ask(request) {
                    Outcome::Answered(response) => {
                        assert!(self.gives_sessions);
                        assert_eq!(response.status(), 400, "SES-3");
                    }
                    Outcome::Arrived(_, arrival) => {
                        assert!(!self.gives_sessions, "SES-3");
                        assert_eq!(arrival.session(), None);
                    }
                }
                self.tally.missing += 1;
                return;
            }
            (Stray::Theirs, Some(known)) => known.upstream.clone(),
            _ => "stray".to_owned(),
        };
        let request = self.request(who, &id, Verb::Call, 1);
        let refused = self.refused(request);
        assert_eq!(refused, self.unknown(who, Verb::Call, 1), "SE-2");
    }

    pub(crate) fn send(&mut self, who: Who, nth: usize, verb: Verb, n: u8) {
        let known = &self.sessions[nth];
        let verb = match verb {
            Verb::Listen if known.has_listened => Verb::Call,
            verb => verb,
        };
        let ids = match verb {
            Verb::Call => vec![n],
            Verb::Batch => vec![n, n + 10],
            _ => Vec::new(),
        };
        let request = self.request(who, &known.id, verb, n);
        if verb == Verb::Stateless {
            return self.send_stateless(request);
        }
        let is_foreign = known.owner != who;
        let is_second = verb == Verb::Delete && known.is_deleting;
        if known.is_over || is_foreign || is_second {
            self.tally.foreign += u32::from(is_foreign);
            self.tally.gone += u32::from(known.is_over);
            self.tally.second_deletes += u32::from(is_second && !is_foreign && !known.is_over);
            let refused = self.refused(request);
            assert_eq!(refused, self.unknown(who, verb, n), "SE-2, SE-5, D09");
            return;
        }
        let has_no_batches = verb == Verb::Batch && !known.has_batches;
        let is_repeated = ids.iter().any(|id| known.ids.contains(id));
        if has_no_batches || is_repeated {
            let refused = self.refused(request);
            assert_eq!(refused.status, 400, "{refused:?}");
            assert!(refused.body.contains("-32600"), "{refused:?}");
            self.tally.repeated += u32::from(!has_no_batches);
            // It was used, if only to be refused.
            self.sessions[nth].used = Instant::now();
            return;
        }
        let Outcome::Arrived(call, arrival) = self.ask(request) else {
            panic!("SE-6: it should reach the server");
        };
        let known = &mut self.sessions[nth];
        assert_eq!(arrival.session(), Some(&*known.upstream), "SE-1");
        let fact = arrival
            .parts
            .extensions
            .get::<shadowcat::session::Session>();
        let principal = fact.expect("a session").principal();
        assert_eq!(principal, self.people[who].owner(), "SE-1");
        known.ids.extend(&ids);
        known.has_listened |= verb == Verb::Listen;
        self.tally.beside_delete += u32::from(known.is_deleting);
        known.is_deleting |= verb == Verb::Delete;
        self.tally.served += 1;
        self.tally.batches += u32::from(verb == Verb::Batch);
        self.tally.responses += u32::from(verb == Verb::Respond);
        self.flights.push(Flight {
            call,
            session: Some(nth),
            verb,
            ids,
            reply: arrival.reply,
        });
    }

    fn send_stateless(&mut self, request: http::Request<http_body_util::Full<bytes::Bytes>>) {
        let request = request.with("last-event-id", "x");
        let Outcome::Arrived(call, arrival) = self.ask(request) else {
            panic!("ERA-3: sessions are nothing to it");
        };
        assert_eq!(arrival.session(), None, "ERA-3");
        assert!(
            !arrival.parts.headers.contains_key("last-event-id"),
            "ERA-3"
        );
        let fact = arrival
            .parts
            .extensions
            .get::<shadowcat::session::Session>();
        assert!(fact.is_none(), "ERA-3");
        self.tally.stateless += 1;
        self.flights.push(Flight {
            call,
            session: None,
            verb: Verb::Stateless,
            ids: Vec::new(),
            reply: arrival.reply,
        });
    }

    pub(crate) fn answer(&mut self, nth: usize, answer: Answer) {
        let Flight {
            mut call,
            session,
            verb,
            ids,
            reply,
        } = self.flights.remove(nth);
        let answer = match (verb, answer) {
            (Verb::Listen, Answer::Json) => Answer::Stream,
            (Verb::Call | Verb::Listen, answer) => answer,
            (_, Answer::Stream) => Answer::Json,
            (_, answer) => answer,
        };
        let (upstream, body) = script();
        let mut response = Response::builder();
        let mut stream = None;
        let status = match answer {
            Answer::Json | Answer::Stream => 200,
            Answer::Refuses if verb == Verb::Delete => 405,
            Answer::Refuses => 500,
            Answer::Forgets => 404,
        };
        if answer == Answer::Stream {
            response = response.header("content-type", "text/event-stream");
            stream = Some(upstream);
        } else {
            response = response.header("content-type", "application/json");
            if let Some(nth) = session {
                // As servers do that say it each time.
                response = response.header(SESSION, &self.sessions[nth].upstream);
            }
            upstream.say("{}");
            drop(upstream);
        }
        let _ = reply.send(response.status(status).body(body).expect("valid"));
        let Some(Ok(response)) = drive(&mut call, || false) else {
            unreachable!("it is driven to its end")
        };
        drop(call);
        assert_eq!(response.status(), status);
        let is_end = status == 404 || (verb == Verb::Delete && status == 200);
        let Some(nth) = session else {
            assert_eq!(response.headers().get(SESSION), None, "SES-1");
            whole(response);
            return;
        };
        let known = &self.sessions[nth];
        let was_over = known.is_over;
        self.tally.answered_late += u32::from(was_over);
        let said = response.headers().get(SESSION).map(|id| id.as_bytes());
        let repeats = answer != Answer::Stream && !is_end;
        assert_eq!(said, repeats.then_some(known.id.as_bytes()), "B10");
        match stream {
            Some(upstream) if !was_over => {
                self.tally.streams += 1;
                self.streams.push(Stream {
                    session: nth,
                    is_get: verb == Verb::Listen,
                    client: Some(Box::pin(response.into_body())),
                    had: 0,
                    said: Vec::new(),
                    upstream: Some(upstream),
                    answers: ids.first().copied().unwrap_or_default(),
                    ids,
                });
                return;
            }
            Some(upstream) => {
                upstream.say("data: late\n\n");
                let (text, is_over) = read(&mut Box::pin(response.into_body()));
                assert_eq!((&*text, is_over), ("", true), "D06");
            }
            None => assert_eq!(whole(response).body, "{}"),
        }
        self.land(session, verb, &ids, is_end);
        if is_end && !was_over {
            assert!(self.sessions[nth].fact.is_ended(), "SE-5");
            self.tally.deleted += u32::from(status == 200);
            self.tally.forgotten += u32::from(status == 404);
            self.over(nth);
        }
    }

    pub(crate) async fn terminate(&mut self, nth: usize) {
        let handle = self.layer.handle();
        let owner = self.sessions[nth].fact.owner();
        let list = handle.list(None, 1000).await.expect("a list");
        let found = list.sessions.into_iter().find(|one| one.owner == owner);
        assert_eq!(found.is_some(), !self.sessions[nth].is_over);
        let Some(found) = found else {
            return;
        };
        assert!(handle.terminate(found.tag).await.expect("the store works"));
        assert!(!handle.terminate(found.tag).await.expect("the store works"));
        assert!(self.sessions[nth].fact.is_ended());
        self.tally.terminated += 1;
        let is_busy = self.flights.iter().any(|one| one.session == Some(nth));
        self.tally.terminated_busy += u32::from(is_busy);
        let known = &mut self.sessions[nth];
        known.is_owed = known.is_deleting;
        known.farewells += usize::from(!known.is_deleting);
        self.over(nth);
    }
}
