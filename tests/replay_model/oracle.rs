//! What has to be true of one stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use shadowcat::sse::{Decoder, EventId, Frame, RawEvent, StreamKey};
use shadowcat::store::Owner;
use tokio::time::Instant;

use super::op::{Kind, Saying, Shape, Who};
use super::upstream::Tap;
use super::world::{BEAT, DETACHED};

/// An event of a stream's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Said by the server: type, data and delay.
    Said {
        event: Option<String>,
        data: Option<String>,
        retry: Option<u64>,
    },
    /// Said by the layer, because the server did not answer the request of that id.
    Unanswered(&'static str),
}

impl Event {
    /// Whether it is the response to the request of that id, or an error in its place.
    pub(crate) fn answers(&self, id: &str) -> bool {
        match self {
            Self::Said { data, .. } => {
                let data = data.as_deref().unwrap_or_default();
                data.contains("\"result\"") && data.contains(&format!("\"id\":{id},"))
            }
            Self::Unanswered(one) => *one == id,
        }
    }
}

/// How far the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Open,
    /// It has closed early, and can be asked for the rest.
    Suspended,
    /// All requests are answered.
    Answered,
    Ended,
    Broken,
}

pub(crate) struct Stream {
    pub(crate) who: Who,
    pub(crate) owner: Owner,
    /// The session that it was opened in.
    pub(crate) session: Option<String>,
    pub(crate) kind: Kind,
    /// The number by which the layer lists it.
    pub(crate) serial: u64,
    pub(crate) key: Option<StreamKey>,
    pub(crate) events: Vec<Event>,
    /// How each event looked when it was heard first.
    raw: BTreeMap<u64, Bytes>,
    /// The cursors that clients have had, and which one the last client has.
    pub(crate) heard: Vec<u64>,
    pub(crate) cursor: Option<u64>,
    /// The requests without a response.
    open: Vec<&'static str>,
    pub(crate) theirs: Vec<u8>,
    pub(crate) course: Course,
    /// Why the layer may have given it up.
    pub(crate) excuse: Option<&'static str>,
    pub(crate) is_deleted: bool,
    /// Few streams may wait for a client.
    pub(crate) is_cramped: bool,
    /// The layer does not list it any more.
    pub(crate) is_gone: bool,
    /// When the server said the last of it, and when the last client went.
    pub(crate) fresh: Instant,
    pub(crate) left: Instant,
    pub(crate) tap: Tap,
    decoder: Decoder,
    rest: Bytes,
    tag: String,
    count: usize,
}

impl Stream {
    pub(crate) fn new(
        who: Who,
        nth: usize,
        owner: Owner,
        session: Option<String>,
        kind: Kind,
        tap: Tap,
    ) -> Self {
        Self {
            who,
            owner,
            session,
            kind,
            serial: 0,
            key: None,
            events: Vec::new(),
            raw: BTreeMap::new(),
            heard: Vec::new(),
            cursor: None,
            open: waiting(kind),
            theirs: Vec::new(),
            course: Course::Open,
            excuse: None,
            is_deleted: false,
            is_cramped: false,
            is_gone: false,
            fresh: Instant::now(),
            left: Instant::now(),
            tap,
            decoder: Decoder::new(),
            rest: Bytes::new(),
            tag: format!("p{who}s{nth}"),
            count: 0,
        }
    }

    pub(crate) fn is_get(&self) -> bool {
        matches!(self.kind, Kind::Standalone | Kind::Generic)
    }

    /// The layer has let go of the server, and the log says so after `said` events, for each request
    /// that waited then. What the server has said since, it has said to nobody.
    pub(crate) fn give_up(&mut self, said: usize) {
        let unanswered = self.unanswered(said);
        self.events.truncate(said);
        self.events
            .extend(unanswered.into_iter().map(Event::Unanswered));
        self.open.clear();
        self.course = Course::Ended;
        self.excuse("given up");
    }

    /// After how many events the server was let go, if the log ends with number `tail`.
    pub(crate) fn given_up_after(&self, tail: u64) -> Option<usize> {
        let tail = usize::try_from(tail).expect("a small number");
        let most = tail.min(self.events.len());
        (0..=most)
            .rev()
            .find(|said| said + self.unanswered(*said).len() == tail)
    }

    /// The requests that wait after so many events.
    fn unanswered(&self, said: usize) -> Vec<&'static str> {
        let said = &self.events[..said.min(self.events.len())];
        let all = waiting(self.kind).into_iter();
        all.filter(|id| !said.iter().any(|event| event.answers(id)))
            .collect()
    }

    /// Whether the layer may have let go of the server.
    pub(crate) fn may_be_given_up(&self) -> bool {
        let limit = DETACHED - 2 * BEAT;
        let is_late = self.left.elapsed() >= limit || self.fresh.elapsed() >= limit;
        self.excuse.is_some() || self.is_cramped || is_late
    }

    /// Whether the server may still say something.
    pub(crate) fn is_said(&self) -> bool {
        matches!(self.course, Course::Open | Course::Answered) && !self.tap.is_ended()
    }

    pub(crate) fn excuse(&mut self, why: &'static str) {
        self.excuse.get_or_insert(why);
    }

    pub(crate) fn id(&self, sequence: u64) -> Option<String> {
        let id = EventId::new(self.key?, sequence).encode();
        Some(String::from_utf8_lossy(&id).into_owned())
    }

    /// The server says that.
    pub(crate) fn say(&mut self, what: &Saying) {
        let mut text = Vec::new();
        for _ in 0..what.events {
            self.count += 1;
            let data = self.data(what);
            let end = what.line_end;
            let mut line = |line: &str| {
                text.extend_from_slice(line.as_bytes());
                text.extend_from_slice(end.as_bytes());
            };
            if what.comment {
                line(": a comment");
            }
            if what.shape == Shape::Named {
                line("event: named");
            }
            if what.retry {
                line("retry: 1234");
            }
            match what.shape {
                _ if what.own_id || what.shape == Shape::NoData => {
                    line(&format!("id: {}-{}", self.tag, self.count))
                }
                _ => {}
            }
            match what.shape {
                Shape::NoData => {}
                Shape::Empty => line("data:"),
                Shape::TwoLines => {
                    let (one, two) = data.split_once(',').unwrap_or((&data, ""));
                    line(&format!("data: {one},"));
                    line(&format!("data: {two}"));
                }
                _ => line(&format!("data: {data}")),
            }
            line("");
        }
        self.send(&text, what.split, what.holds_rest);
    }

    fn data(&self, what: &Saying) -> String {
        let (tag, count) = (&self.tag, self.count);
        let size = match what.shape {
            Shape::Huge => 40_000,
            _ => what.size,
        };
        let pad = "x".repeat(size);
        if self.kind == Kind::Generic {
            return format!("{tag}e{count},{pad}");
        }
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/{tag}e{count}","params":"{pad}"}}"#)
    }

    /// The server answers one of the requests.
    pub(crate) fn answer(&mut self) {
        // Also once more than it was asked to (S24).
        let id = self.open.first().copied().unwrap_or("7");
        self.count += 1;
        let (tag, count) = (&self.tag, self.count);
        let text = format!(
            "data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"of\":\"{tag}e{count}\"}}}}\n\n"
        );
        self.send(text.as_bytes(), 0, false);
    }

    fn send(&mut self, text: &[u8], split: usize, holds_rest: bool) {
        let mut all = std::mem::take(&mut self.rest).to_vec();
        all.extend_from_slice(text);
        let mut all = Bytes::from(all);
        if split > 0 {
            let first = all.split_to(split % all.len());
            self.pass(first);
        }
        if holds_rest && split > 0 {
            self.rest = all;
        } else {
            self.pass(all);
        }
    }

    fn pass(&mut self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        self.tap.say(chunk.clone());
        if self.kind == Kind::Modern {
            return;
        }
        let mut chunk = chunk;
        while let Some(frame) = self.decoder.decode(&mut chunk).expect("small events") {
            if let Frame::Event(event) = frame {
                self.note(&event);
            }
        }
    }

    fn note(&mut self, event: &RawEvent) {
        if self.course != Course::Open {
            return;
        }
        self.fresh = Instant::now();
        let heard = said(event);
        if let Some(id) = event.id() {
            self.theirs = id.to_vec();
        }
        let data = event.data().map(|data| text(&data)).unwrap_or_default();
        self.events.push(heard);
        if data.contains("\"result\"") {
            let answered = self.open.len();
            self.open
                .retain(|id| !data.contains(&format!("\"id\":{id},")));
            if self.open.is_empty() && answered > 0 {
                self.course = Course::Answered;
            }
        }
    }

    /// The server's response ends.
    pub(crate) fn end(&mut self, broken: bool) {
        self.tap.end(broken);
        self.over(broken);
    }

    fn over(&mut self, broken: bool) {
        self.decoder = Decoder::new();
        self.rest = Bytes::new();
        if self.course != Course::Open {
            return;
        }
        let awaits = !self.open.is_empty();
        if !self.theirs.is_empty() && (awaits || self.is_get()) {
            self.course = Course::Suspended;
        } else if awaits {
            let unanswered = self.open.drain(..).map(Event::Unanswered);
            self.events.extend(unanswered);
            self.course = Course::Ended;
        } else {
            self.course = if broken {
                Course::Broken
            } else {
                Course::Ended
            };
        }
    }

    /// The server was asked for the rest.
    pub(crate) fn reopen(&mut self, tap: Tap, is_refused: bool, repeats: bool) {
        self.tap = tap;
        self.course = Course::Open;
        if is_refused {
            self.theirs.clear();
            self.over(true);
        } else if repeats {
            let id = text(&self.theirs);
            let again = format!("id: {id}\ndata: once more\n\n");
            self.tap.say(again.into());
        }
    }

    /// A client was sent an event of that number.
    pub(crate) fn hear(&mut self, sequence: u64, event: &RawEvent) {
        let at = usize::try_from(sequence - 1).expect("a small number");
        let says_given_up = event
            .data()
            .is_some_and(|data| text(&data).contains("-31502"));
        let is_expected = matches!(self.events.get(at), Some(Event::Unanswered(_)));
        if says_given_up && !is_expected && self.may_be_given_up() {
            self.give_up(at);
        }
        let expected = self.events.get(at);
        let expected = expected.unwrap_or_else(|| panic!("event {sequence} was never said"));
        match expected {
            Event::Unanswered(id) => {
                let data = text(event.data().unwrap_or_default());
                assert!(data.contains("\"error\""), "RPL-10: an error, not {data}");
                assert!(data.contains(&format!("\"id\":{id}")), "of {id}: {data}");
            }
            said_then => assert_eq!(&said(event), said_then, "RPL-5: event {sequence}"),
        }
        let first = self
            .raw
            .entry(sequence)
            .or_insert_with(|| event.raw().clone());
        assert_eq!(first, event.raw(), "RPL-13: event {sequence} again");
    }

    /// A client has that cursor now.
    pub(crate) fn take_cursor(&mut self, sequence: u64) {
        self.cursor = Some(sequence);
        if !self.heard.contains(&sequence) {
            self.heard.push(sequence);
        }
    }
}

/// The requests that a stream has to answer.
fn waiting(kind: Kind) -> Vec<&'static str> {
    match kind {
        Kind::Standalone | Kind::Generic | Kind::Modern => vec![],
        Kind::Batch => vec!["1", "\"1\"", "2"],
        _ => vec!["7"],
    }
}

fn said(event: &RawEvent) -> Event {
    Event::Said {
        event: event.event().map(text),
        data: event.data().map(|data| text(&data)),
        retry: event.retry(),
    }
}

pub(crate) fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8_lossy(bytes.as_ref()).into_owned()
}
