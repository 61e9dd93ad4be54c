//! A client's end of one response.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http_body::Body;
use shadowcat::replay::{BodyErrorKind, ResponseBody};
use shadowcat::sse::{Decoder, EventId, Frame, RawEvent, StreamKey};
use tokio::time::Instant;

use super::op::{Kind, Who};
use super::oracle::{Stream, text};
use super::upstream::Script;
use super::world::{BEAT, STALL};

/// Whether somebody was woken.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It drives the stream.
    Live,
    /// It reads the log of a stream that is over.
    Log,
    /// It is not of this business.
    Modern,
}

#[derive(Debug)]
pub(crate) enum Polled {
    Data(Bytes),
    /// Nothing for now, and nobody has woken it meanwhile.
    Quiet,
    End,
    Failed(BodyErrorKind),
}

pub(crate) struct Client {
    pub(crate) who: Who,
    /// The how many-th of its principal.
    pub(crate) nth: usize,
    pub(crate) stream: usize,
    pub(crate) mode: Mode,
    body: Option<Pin<Box<ResponseBody<Script>>>>,
    decoder: Decoder,
    flag: Arc<Flag>,
    was_quiet: bool,
    /// The number of the event that it has to be sent next.
    pub(crate) next: u64,
    /// The cursor that it has: a gap does not move it.
    held: u64,
    pub(crate) is_fenced: bool,
    pub(crate) is_dismissed: bool,
    /// It was told that no more comes.
    pub(crate) is_told: bool,
    /// The requests that it was told will not be answered.
    refused: Vec<String>,
    /// It came after an event that nothing followed although it should.
    pub(crate) lost_after: Option<u64>,
    polled: Instant,
    was_stalled: bool,
    /// What a stream of 2026-07-28 brought.
    pub(crate) plain: Vec<u8>,
}

impl Client {
    pub(crate) fn new(
        who: Who,
        nth: usize,
        stream: usize,
        mode: Mode,
        next: u64,
        body: ResponseBody<Script>,
    ) -> Self {
        Self {
            who,
            nth,
            stream,
            mode,
            body: Some(Box::pin(body)),
            decoder: Decoder::new(),
            flag: Arc::default(),
            was_quiet: false,
            next,
            held: next - 1,
            is_fenced: false,
            is_dismissed: false,
            is_told: false,
            refused: Vec::new(),
            lost_after: None,
            polled: Instant::now(),
            was_stalled: false,
            plain: Vec::new(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.body.is_some()
    }

    pub(crate) fn drop_body(&mut self) {
        self.body = None;
    }

    /// Whether it once did not read for so long that it may have been given up.
    pub(crate) fn is_stalled(&mut self) -> bool {
        self.was_stalled |= self.polled.elapsed() + 2 * BEAT >= STALL;
        self.was_stalled
    }

    /// Polls until something comes, or nobody is going to wake it.
    pub(crate) fn poll(&mut self) -> Polled {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        let body = self.body.as_mut().expect("a connected client");
        for _ in 0..10_000 {
            let was_woken = self.flag.take();
            let polled = body.as_mut().poll_frame(&mut cx);
            self.polled = Instant::now();
            let was_quiet = std::mem::replace(&mut self.was_quiet, polled.is_pending());
            assert!(
                polled.is_pending() || was_woken || !was_quiet,
                "RPL-9: {polled:?} without waking anybody"
            );
            match polled {
                Poll::Pending if self.flag.0.load(Relaxed) => {}
                Poll::Pending => return Polled::Quiet,
                Poll::Ready(None) => return Polled::End,
                Poll::Ready(Some(Err(error))) => return Polled::Failed(error.kind()),
                Poll::Ready(Some(Ok(frame))) => {
                    return Polled::Data(frame.into_data().expect("no trailers were said"));
                }
            }
        }
        panic!("RPL-9: never quiet");
    }

    /// Takes what it was sent, and checks it against what it has to be sent.
    pub(crate) fn hear(&mut self, mut bytes: Bytes, stream: &mut Stream, book: &mut Book) {
        if self.mode == Mode::Modern {
            if &bytes[..] != b":\n\n" {
                self.plain.extend_from_slice(&bytes);
            }
            return;
        }
        while let Some(frame) = self.decoder.decode(&mut bytes).expect("small events") {
            if let Frame::Event(event) = frame {
                self.hear_event(&event, stream, book);
            }
        }
    }

    fn hear_event(&mut self, event: &RawEvent, stream: &mut Stream, book: &mut Book) {
        let data = event.data().map(|data| text(&data));
        let id = event.id().map(text);
        let kind = event.event().map(text);
        if id.is_none() && data.is_none() {
            assert!(event.retry().is_some(), "an empty event");
            return;
        }
        assert!(!self.is_fenced, "RPL-11: {event:?} after it was fenced");
        assert!(!stream.is_deleted, "RPL-10: {event:?} after DELETE");
        let Some(id) = id else {
            let data = data.unwrap_or_default();
            book.note(self, &format!("{kind:?} {data}"));
            return self.hear_notice(kind.as_deref(), &data, stream, book);
        };
        let id = EventId::decode(&id).unwrap_or_else(|_| panic!("RPL-4: not an id of ours: {id}"));
        let owner = *book.keys.entry(id.stream()).or_insert(self.stream);
        assert_eq!(owner, self.stream, "RPL-3: an event of another stream");
        let key = *stream.key.get_or_insert(id.stream());
        assert_eq!(key, id.stream(), "RPL-4: two keys for one stream");

        let sequence = id.sequence();
        if sequence == self.held
            && sequence < self.next
            && data.as_deref().unwrap_or_default().is_empty()
        {
            check_greeting(kind.as_deref(), data.as_deref(), stream);
        } else {
            assert!(!self.is_told, "RPL-10: {event:?} after the end");
            assert_eq!(sequence, self.next, "RPL-1: {event:?}");
            stream.hear(sequence, event);
            self.next += 1;
            self.held = sequence;
        }
        book.note(self, &format!("{sequence} {kind:?} {data:?}"));
        stream.take_cursor(sequence);
    }

    /// Something that is not in the log.
    fn hear_notice(&mut self, kind: Option<&str>, data: &str, stream: &Stream, book: &Book) {
        let json: serde_json::Value = serde_json::from_str(data).expect("JSON");
        if kind == Some("gap") {
            assert!(!self.is_told, "RPL-10: {data} after the end");
            let from = json["from"].as_u64().expect("a number");
            let first = json["first_available"].as_u64();
            if first.is_none() && self.lost_after.take() == Some(from - 1) {
                return;
            }
            assert_eq!(from, self.next, "RPL-2: the gap begins elsewhere");
            let Some(first) = first else {
                self.is_told = true;
                let is_gone = book.floor(stream).is_none();
                let is_lost = is_gone || stream.excuse.is_some() || stream.may_be_given_up();
                assert!(is_lost, "RPL-2: lost without a reason");
                return;
            };
            assert!(stream.is_get(), "RPL-10: the response may be in the gap");
            assert!(first > from, "an empty gap");
            let floor = book.floor(stream);
            assert!(
                floor.is_none_or(|floor| floor >= first),
                "a gap that is none"
            );
            self.next = first;
            return;
        }
        let code = json["error"]["code"].as_i64().expect("an error");
        self.is_told = true;
        let id = json["id"].to_string();
        assert!(!self.refused.contains(&id), "RPL-10: two errors for {id}");
        // What a log said before the cursor is not looked at, and of a batch that may be a response.
        let was_cut = book.is_crowded && self.mode == Mode::Log;
        let may_repeat = was_cut || stream.kind == Kind::Batch;
        let had = usize::try_from(self.next - 1).expect("a small number");
        let is_answered = stream.events[..had].iter().any(|event| event.answers(&id));
        assert!(may_repeat || !is_answered, "RPL-10: {id} is answered");
        self.refused.push(id);
        if code == i64::from(shadowcat::jsonrpc::code::INVALID_CURSOR) {
            let floor = book.floor(stream);
            assert!(floor.is_none_or(|floor| floor > self.next), "all is there");
        } else {
            let has_reason = stream.excuse.is_some() || book.is_crowded;
            assert!(has_reason, "RPL-10: {data} without a reason");
        }
    }
}

fn check_greeting(kind: Option<&str>, data: Option<&str>, stream: &Stream) {
    let expected = match stream.kind {
        Kind::Generic => (None, None),
        Kind::CallC | Kind::CallB | Kind::Batch => (Some("resumed"), Some("")),
        _ => (None, Some("")),
    };
    assert_eq!((kind, data), expected, "SSE-3");
}

/// What is known about all streams.
pub(crate) struct Book {
    /// There is room for one stream without a client.
    pub(crate) is_crowded: bool,
    pub(crate) keys: HashMap<StreamKey, usize>,
    pub(crate) store: super::slow::Slow,
    /// What each principal was sent.
    pub(crate) sent: [Vec<String>; 2],
}

impl Book {
    pub(crate) fn note(&mut self, client: &Client, what: &str) {
        self.sent[client.who].push(format!("c{} {what:.90}", client.nth));
    }

    /// The first event of a stream that is kept.
    pub(crate) fn floor(&self, stream: &Stream) -> Option<u64> {
        let key = stream.key?;
        super::truth::read(&self.store, key, stream.owner, 0).map(|truth| truth.floor)
    }
}
