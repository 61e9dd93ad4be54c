//! A layer, its server and its clients, and what is done to them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use shadowcat::replay::BodyErrorKind;
use shadowcat::replay::{ReplayHandle, ReplayLayer};
use shadowcat::sse::StreamKey;
use shadowcat::store::{End, EventStore, EventWriter, MemoryStore, Owner};
use tokio::time::Instant;

use super::client::{Book, Client, Mode, Polled};
use super::op::{Caps, Op, Setup, Who};
use super::oracle::{Course, Stream};
use super::request::{Asking, Pulse};
use super::slow::{Slow, settle, stir};
use super::tally::{Tally, What};
use super::upstream::Server;

pub(crate) const BEAT: Duration = Duration::from_millis(2_500);
pub(crate) const STALL: Duration = Duration::from_secs(30);
pub(crate) const DETACHED: Duration = Duration::from_secs(40);
pub(crate) const RETAIN: Duration = Duration::from_secs(60);
const MAX_TOTAL: usize = 48 * 1024;
/// So many streams of one principal go on at the same time.
const MAX_STREAMS: usize = 6;

pub(crate) struct World {
    pub(crate) setup: Setup,
    /// How many bytes all streams may take.
    pub(crate) max_held: Option<usize>,
    pub(crate) layer: ReplayLayer<Slow>,
    pub(crate) handle: ReplayHandle,
    pub(crate) server: Server,
    pub(crate) streams: Vec<Stream>,
    pub(crate) clients: Vec<Client>,
    pub(crate) asking: Vec<Asking>,
    /// How many sessions each principal has ended.
    pub(crate) sessions: [usize; 2],
    pub(crate) book: Book,
    pub(crate) is_closed: bool,
    pub(crate) refusal: Option<Vec<u8>>,
    fillers: u64,
    /// A client of nobody's, which keeps the layer's clock going.
    pub(crate) pulse: Option<Pulse>,
    pub(crate) tally: Tally,
}

impl World {
    /// With caps for both principals together, or only for each of them.
    pub(crate) fn new(setup: Setup, is_shared: bool) -> Self {
        let memory = MemoryStore::new().with_retain_for(RETAIN);
        let total = |memory: MemoryStore, bytes| {
            if is_shared {
                memory.with_max_total_bytes(bytes)
            } else {
                memory
            }
        };
        let memory = match setup.caps {
            Caps::Loose => memory,
            Caps::Tight { events } => {
                let memory = memory
                    .with_max_events(NonZeroUsize::new(events).expect("not zero"))
                    .with_max_bytes(2048)
                    .with_max_owner_bytes(24 * 1024);
                total(memory, MAX_TOTAL)
            }
            Caps::Pages => total(
                memory.with_max_bytes(200_000).with_max_owner_bytes(400_000),
                600_000,
            ),
        };
        // Nobody's streams, as the pulse is one, have a cap together with others only.
        let max_held = match setup.caps {
            Caps::Tight { .. } if is_shared => Some(MAX_TOTAL),
            _ => None,
        };
        let store = Slow::new(memory, setup.slow, setup.is_late);
        let layer = ReplayLayer::new(store.clone())
            .with_keep_alive(Some(Duration::from_secs(10)))
            .with_stall_timeout(Some(STALL))
            .with_max_detached_for(DETACHED)
            .with_max_detached(setup.max_detached);
        Self {
            setup,
            max_held,
            handle: layer.handle(),
            layer,
            server: Server::new(),
            streams: Vec::new(),
            clients: Vec::new(),
            asking: Vec::new(),
            sessions: [0; 2],
            book: Book {
                is_crowded: setup.max_detached < 10,
                keys: HashMap::new(),
                store,
                sent: [vec![], vec![]],
            },
            is_closed: false,
            refusal: None,
            fillers: 0,
            pulse: None,
            tally: Tally::default(),
        }
    }

    pub(crate) fn session(&self, who: Who) -> String {
        format!("session-{who}-{}", self.sessions[who])
    }

    /// The `nth` of those that `is_it`, the newest first.
    fn pick<T>(all: &[T], nth: usize, is_it: impl Fn(&T) -> bool) -> Option<usize> {
        let mut found: Vec<_> = (0..all.len()).filter(|&at| is_it(&all[at])).collect();
        found.reverse();
        (!found.is_empty()).then(|| found[nth % found.len()])
    }

    fn client(&self, who: Who, nth: usize) -> Option<usize> {
        Self::pick(&self.clients, nth, |client| {
            client.who == who && client.is_connected()
        })
    }

    fn stream(&self, who: Who, nth: usize, is_it: impl Fn(&Stream) -> bool) -> Option<usize> {
        Self::pick(&self.streams, nth, |one| one.who == who && is_it(one))
    }

    pub(crate) async fn step(&mut self, op: &Op) {
        let done = self.apply(op).await;
        if let Some(what) = done {
            self.tally.count(what);
        }
        self.audit();
    }

    /// Does it, and says what it was; `None` if there was nothing to do it to.
    async fn apply(&mut self, op: &Op) -> Option<What> {
        match *op {
            Op::Open { who, kind } => {
                let live = self.streams.iter();
                let live = live.filter(|one| one.who == who && one.is_said()).count();
                if live >= MAX_STREAMS {
                    return None;
                }
                self.open(who, kind);
                Some(What::Open)
            }
            Op::Say {
                who,
                stream,
                ref what,
            } => {
                let mut what = what.clone();
                if self.setup.caps != Caps::Pages && what.shape == super::op::Shape::Huge {
                    what.shape = super::op::Shape::Plain;
                }
                let at = self.stream(who, stream, Stream::is_said)?;
                self.streams[at].say(&what);
                Some(What::Say)
            }
            Op::Answer { who, stream } => {
                let at = self.stream(who, stream, Stream::is_said)?;
                self.streams[at].answer();
                Some(What::Say)
            }
            Op::End {
                who,
                stream,
                broken,
            } => {
                let at = self.stream(who, stream, Stream::is_said)?;
                self.streams[at].end(broken);
                Some(What::End)
            }
            Op::Read {
                who,
                client,
                frames,
            } => {
                let at = self.client(who, client)?;
                self.read(at, frames);
                Some(What::Read)
            }
            Op::Cut { who, client, bytes } => {
                let at = self.client(who, client)?;
                self.cut(at, bytes);
                Some(What::Cut)
            }
            Op::Resume {
                who,
                stream,
                cursor,
                server,
                patience,
            } => {
                let at = self.stream(who, stream, |one| one.cursor.is_some())?;
                self.resume(at, cursor, server, patience)
                    .then_some(What::Resume)
            }
            Op::SecondAttach { who, client } => {
                let at = Self::pick(&self.clients, client, |client| {
                    let has_cursor = self.streams[client.stream].cursor.is_some();
                    let is_there = client.is_connected() && client.mode == Mode::Live;
                    client.who == who && is_there && has_cursor
                })?;
                let at = self.clients[at].stream;
                let done = self.resume(at, super::op::Cursor::Own, super::op::Reopen::Accepts, 0);
                done.then_some(What::SecondAttach)
            }
            Op::Evict { who, events } => {
                if self.setup.caps.is_loose() {
                    return None;
                }
                self.evict(who, events);
                Some(What::Evict)
            }
            Op::Requests { who, give_up } => {
                let at = self.asking.iter().position(|asking| asking.who == who)?;
                let asking = self.asking.remove(at);
                if !give_up {
                    self.finish_request(asking);
                }
                Some(What::Request)
            }
            Op::Settle => {
                settle().await;
                Some(What::Settle)
            }
            Op::Elapse { beats } => {
                for _ in 0..beats {
                    self.elapse(BEAT).await;
                }
                Some(What::Elapse)
            }
            Op::Slow { polls } => {
                self.book.store.set(polls);
                Some(What::Slow)
            }
            Op::Delete { who } => {
                self.delete(who);
                Some(What::Delete)
            }
            Op::Dismiss { who, client } => {
                let at = self.client(who, client)?;
                self.dismiss(at);
                Some(What::Dismiss)
            }
            Op::Shutdown => {
                self.handle.end_all(Duration::from_secs(1));
                self.is_closed = true;
                for client in &mut self.clients {
                    client.is_dismissed = true;
                }
                for stream in &mut self.streams {
                    stream.excuse("shutdown");
                }
                Some(What::Shutdown)
            }
        }
    }

    pub(crate) async fn elapse(&mut self, time: Duration) {
        tokio::time::advance(time).await;
        if let Some(pulse) = &mut self.pulse
            && pulse.poll_data().is_none()
        {
            self.pulse = None;
        }
        settle().await;
        self.audit();
    }

    /// Reads up to so many frames. Whoever waits with nothing to be woken by has all there is.
    pub(crate) fn read(&mut self, at: usize, frames: usize) {
        for _ in 0..frames {
            if !self.read_frame(at, None) {
                return;
            }
        }
    }

    /// Reads a frame, or only some bytes of one; false if there is none.
    fn read_frame(&mut self, at: usize, bytes: Option<usize>) -> bool {
        let client = &mut self.clients[at];
        let stalled = client.is_stalled();
        let polled = client.poll();
        stir();
        let stream = &mut self.streams[client.stream];
        if !stalled && !client.is_fenced {
            stream.left = Instant::now();
        }
        match polled {
            Polled::Data(mut data) => {
                assert!(!data.is_empty(), "an empty frame");
                if let Some(bytes) = bytes {
                    data.truncate(bytes % (data.len() + 1));
                }
                client.hear(data, stream, &mut self.book);
                return true;
            }
            Polled::Quiet => self.check_quiet(at),
            // Another client has the stream, or nobody any more.
            Polled::End | Polled::Failed(BodyErrorKind::Superseded) => {
                self.book.note(&self.clients[at], "end");
                self.check_end(at, stalled);
                self.let_go(at);
            }
            Polled::Failed(BodyErrorKind::GivenUp) => {
                let stream = &mut self.streams[self.clients[at].stream];
                assert!(stream.may_be_given_up(), "RPL-9: {:?}", stream.excuse);
                stream.excuse("given up");
                self.let_go(at);
            }
            Polled::Failed(kind) => {
                let (client, stream) = (&self.clients[at], &self.streams[self.clients[at].stream]);
                assert_eq!(
                    stream.course,
                    Course::Broken,
                    "{kind:?}: {:?}",
                    stream.excuse
                );
                assert_eq!(client.next, stream.events.len() as u64 + 1, "{kind:?}");
                self.let_go(at);
            }
        }
        false
    }

    /// A client's connection is gone.
    pub(crate) fn let_go(&mut self, at: usize) {
        let stats = self.handle.stats();
        let detached = stats.detached + stats.suspended;
        let client = &mut self.clients[at];
        client.drop_body();
        let stream = &mut self.streams[client.stream];
        if !client.is_stalled() && !client.is_fenced {
            stream.left = Instant::now();
        }
        if client.mode == Mode::Modern {
            assert!(stream.tap.is_dropped(), "RPL-15: a drop is a cancel");
            return;
        }
        let is_driver = client.mode == Mode::Live && !client.is_fenced;
        if is_driver && detached >= self.setup.max_detached {
            stream.excuse("no room without a client");
        }
    }

    fn cut(&mut self, at: usize, bytes: usize) {
        if bytes > 0 {
            self.read_frame(at, Some(bytes));
        }
        if self.clients[at].is_connected() {
            self.let_go(at);
        }
    }

    fn dismiss(&mut self, at: usize) {
        let stream = self.clients[at].stream;
        let serial = self.streams[stream].serial;
        if self.clients[at].mode == Mode::Live && self.handle.end(serial, Duration::from_secs(1)) {
            for client in &mut self.clients {
                client.is_dismissed |= client.stream == stream && client.mode == Mode::Live;
            }
        }
    }

    /// Fills the store with something of that principal.
    fn evict(&mut self, who: Who, events: usize) {
        self.fillers += 1;
        let mut key = [0xff; 16];
        key[..8].copy_from_slice(&self.fillers.to_be_bytes());
        let owner = self.owner(who, Some(&self.session(who)));
        let memory = &self.book.store.memory;
        let open = memory.open(StreamKey::from_bytes(key), owner, "0".into());
        let mut writer = open.into_inner().expect("room for a stream");
        let size = if self.setup.caps == Caps::Pages {
            10_000
        } else {
            500
        };
        for sequence in 1..=events as u64 {
            let append = writer.append(sequence, &vec![b'x'; size]).into_inner();
            append.expect("room for an event");
        }
        // Of use to nobody, and first to go.
        writer.close(End::Complete).into_inner().expect("closed");
    }

    /// Whose a request is.
    pub(crate) fn owner(&self, who: Who, session: Option<&str>) -> Owner {
        let principal = ["ann", "bob"][who].as_bytes();
        let principal = self.setup.is_owner_told.then_some(principal);
        Owner::new(principal, session.map(str::as_bytes))
    }
}
