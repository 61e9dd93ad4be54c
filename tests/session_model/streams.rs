//! Streams, cursors, and what clients have to hear.

use super::{
    op::{Caller, Rest, Verb},
    server::{drive, events, is_broken_off, read},
    session_support::{By, Upstream},
    world::{Cursor, World, back},
};

impl World {
    /// The nth stream, from the last one back, that the server has not ended.
    fn open(&self, nth: usize) -> Option<usize> {
        let open: Vec<_> = (0..self.streams.len())
            .filter(|at| {
                let stream = &self.streams[*at];
                stream.upstream.is_some() && !self.sessions[stream.session].is_over
            })
            .collect();
        Some(open[back(nth, open.len())?])
    }

    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    pub(crate) fn say(&mut self, nth: usize) {
        let Some(at) = self.open(nth) else {
            return;
        };
        let number = self.number();
        let stream = &mut self.streams[at];
        let upstream = stream.upstream.as_ref().expect("it is open");
        upstream.say(format!(
            "data: {{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{{\"n\":{number}}}}}\n\n"
        ));
        stream.said.push(number);
    }

    pub(crate) fn close(&mut self, nth: usize) {
        let Some(at) = self.open(nth).filter(|at| !self.streams[*at].is_get) else {
            return;
        };
        let number = self.number();
        let stream = &mut self.streams[at];
        let upstream = stream.upstream.take().expect("it is open");
        upstream.say(format!(
            "data: {{\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"n\":{number}}}}}\n\n",
            stream.answers
        ));
        stream.said.push(number);
    }

    pub(crate) fn hang(&mut self, nth: usize) {
        let attached: Vec<_> = (0..self.streams.len())
            .filter(|at| self.streams[*at].client.is_some())
            .collect();
        if let Some(nth) = back(nth, attached.len()) {
            self.let_go(attached[nth]);
        }
    }

    /// The client of a stream is gone.
    fn let_go(&mut self, at: usize) {
        let stream = &mut self.streams[at];
        stream.client = None;
        let (session, ids) = (stream.session, std::mem::take(&mut stream.ids));
        self.land(Some(session), Verb::Call, &ids, false);
    }

    pub(crate) fn resume(&mut self, caller: Caller, rest: Rest, cursor: usize) {
        let Some(cursor) = back(cursor, self.cursors.len()) else {
            return;
        };
        let Cursor {
            id,
            stream: at,
            position,
        } = &self.cursors[cursor];
        let (at, position) = (*at, *position);
        let elsewhere = match rest {
            Rest::Here => None,
            Rest::Elsewhere(pick) => self.pick(pick),
        };
        let nth = elsewhere.unwrap_or(self.streams[at].session);
        let who = self.who(caller, nth);
        let known = &self.sessions[nth];
        let request = self.request(who, &known.id, Verb::Listen, 0);
        let request = request.with("last-event-id", id);
        if known.is_over || known.owner != who {
            self.tally.cursors_gone += 1;
            let refused = self.refused(request);
            assert_eq!(refused, self.unknown(who, Verb::Listen, 0), "SE-2, RPL-10");
            return;
        }
        let mut call = self.server.call(&self.layer, &self.replay, request);
        let Some(Ok(response)) = drive(&mut call, || false) else {
            unreachable!("it is driven to its end")
        };
        drop(call);
        assert!(
            self.server.inbox().arrived.is_empty(),
            "nobody asks the server"
        );
        if self.streams[at].session != nth {
            assert_eq!(response.status(), 400, "SSE-2");
            self.sessions[nth].used = tokio::time::Instant::now();
            self.tally.cursors_elsewhere += 1;
            return;
        }
        assert_eq!(response.status(), 200, "{:?}", response.headers());
        self.tally.resumed += 1;
        self.tally.resumed_old += u32::from(self.streams[at].said.len() > position);
        let stream = &mut self.streams[at];
        let old = stream.client.replace(Box::pin(response.into_body()));
        stream.had = position;
        let ids = std::mem::take(&mut stream.ids);
        self.read_all();
        if let Some(old) = old {
            assert!(is_broken_off(old), "D01");
            self.tally.taken_over += 1;
            self.land(Some(nth), Verb::Call, &ids, false);
        }
    }

    /// Each client hears what was said on its stream, from where it was on, and nothing else.
    pub(crate) fn read_all(&mut self) {
        for at in 0..self.streams.len() {
            let stream = &mut self.streams[at];
            let Some(client) = &mut stream.client else {
                continue;
            };
            let (text, is_over) = read(client);
            for seen in events(&text) {
                if let Some(number) = seen.number {
                    assert_eq!(Some(&number), stream.said.get(stream.had), "SSE-7");
                    stream.had += 1;
                }
                self.cursors.push(Cursor {
                    id: seen.id,
                    stream: at,
                    position: stream.had,
                });
            }
            assert_eq!(stream.had, stream.said.len(), "SSE-13: {text}");
            let is_closed = stream.upstream.is_none();
            assert_eq!(is_over, is_closed, "SSE-11");
            if is_over {
                self.let_go(at);
            }
        }
    }

    /// A session is over, and so are its streams.
    pub(crate) fn over(&mut self, nth: usize) {
        self.sessions[nth].is_over = true;
        for at in 0..self.streams.len() {
            let stream = &mut self.streams[at];
            if stream.session != nth {
                continue;
            }
            if let Some(upstream) = &stream.upstream {
                upstream.say("data: late\n\n");
            }
            if let Some(client) = &mut stream.client {
                let (text, is_over) = read(client);
                assert_eq!((&*text, is_over), ("", true), "SE-5");
                self.let_go(at);
                self.tally.cut += 1;
            }
            let is_read = self.streams[at]
                .upstream
                .as_ref()
                .is_some_and(Upstream::is_read);
            assert!(!is_read, "SE-5");
        }
    }
}
