//! What can happen, and how a history of it is made up.

use proptest::collection::vec;
use proptest::prelude::*;

/// One of the two principals.
pub(crate) type Who = usize;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A request whose response is an event stream.
    Open { who: Who, kind: Kind },
    /// The server says something.
    Say {
        who: Who,
        stream: usize,
        what: Saying,
    },
    /// The server answers; a batch is answered one by one.
    Answer { who: Who, stream: usize },
    /// The server's response ends, in good order or not.
    End {
        who: Who,
        stream: usize,
        broken: bool,
    },
    /// A client reads up to so many frames.
    Read {
        who: Who,
        client: usize,
        frames: usize,
    },
    /// A client is gone after it has read so many bytes more.
    Cut {
        who: Who,
        client: usize,
        bytes: usize,
    },
    /// Somebody wants to go on after a cursor.
    Resume {
        who: Who,
        stream: usize,
        cursor: Cursor,
        server: Reopen,
        /// After so many polls the request is left alone for a while; 0 waits for the response.
        patience: usize,
    },
    /// A client comes back although its connection is still there.
    SecondAttach { who: Who, client: usize },
    /// Something else needs the room.
    Evict { who: Who, events: usize },
    /// Requests that were left alone go on, or are given up.
    Requests { who: Who, give_up: bool },
    /// All tasks do what they have to do.
    Settle,
    /// Time passes, so many beats.
    Elapse { beats: u32 },
    /// The store takes so many polls for everything from now on.
    Slow { polls: u32 },
    /// The session is over.
    Delete { who: Who },
    /// An administrator sends a client away.
    Dismiss { who: Who, client: usize },
    /// The server stops.
    Shutdown,
}

impl Op {
    /// The same without what may come out in several ways: how often a request is polled that is left
    /// alone, and which of several streams of a session is the one that a new one replaces.
    pub(crate) fn in_one_way(mut self) -> Self {
        match &mut self {
            Self::Resume { patience, .. } => *patience = 0,
            Self::Open { kind, .. } if *kind == Kind::Standalone => *kind = Kind::Generic,
            // The layer's clock would stop with the last stream.
            Self::Shutdown => return Self::Settle,
            _ => {}
        }
        self
    }

    /// Whose doing it is, if anybody's in particular.
    pub(crate) fn who(&self) -> Option<Who> {
        match *self {
            Self::Open { who, .. }
            | Self::Say { who, .. }
            | Self::Answer { who, .. }
            | Self::End { who, .. }
            | Self::Read { who, .. }
            | Self::Cut { who, .. }
            | Self::Resume { who, .. }
            | Self::SecondAttach { who, .. }
            | Self::Evict { who, .. }
            | Self::Requests { who, .. }
            | Self::Delete { who }
            | Self::Dismiss { who, .. } => Some(who),
            Self::Settle | Self::Elapse { .. } | Self::Slow { .. } | Self::Shutdown => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call of a client of 2025-11-25, of 2025-06-18, of 2025-03-26.
    CallD,
    CallC,
    CallB,
    Batch,
    Initialize,
    /// The GET stream of a session.
    Standalone,
    /// A GET without anything of MCP.
    Generic,
    /// A call of 2026-07-28.
    Modern,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Cursor {
    Own,
    /// An earlier one of one's own: so many events back.
    Stale(usize),
    Ahead(u64),
    /// A bit of one's own is flipped, or the stream is guessed.
    Forged(usize),
    /// Somebody else's.
    Foreign,
}

/// What the server does when it is asked for the rest of a stream that it has closed early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reopen {
    Accepts,
    /// It begins with the event that it was asked to begin after.
    Repeats,
    Refuses,
}

#[derive(Clone, Debug)]
pub(crate) struct Saying {
    pub(crate) events: usize,
    pub(crate) size: usize,
    pub(crate) line_end: &'static str,
    pub(crate) own_id: bool,
    pub(crate) comment: bool,
    pub(crate) retry: bool,
    pub(crate) shape: Shape,
    /// Where the text is cut into two chunks; what is behind may come only with the next ones.
    pub(crate) split: usize,
    pub(crate) holds_rest: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    Named,
    TwoLines,
    /// An id and no data: what a server primes its clients with.
    Empty,
    NoData,
    /// As large as a page of the log.
    Huge,
}

/// How a world is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) caps: Caps,
    /// Whether somebody outside says whose a request is; else its session does.
    pub(crate) is_owner_told: bool,
    pub(crate) max_detached: usize,
    pub(crate) slow: u32,
    /// Whether a slow store does what it is asked for at the end of that time, or at its start.
    pub(crate) is_late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caps {
    Loose,
    /// Few events and bytes per stream, per owner, and in total.
    Tight {
        events: usize,
    },
    /// Enough for a few pages.
    Pages,
}

impl Caps {
    pub(crate) fn is_loose(self) -> bool {
        self == Self::Loose
    }
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    (0_u8..10, any::<bool>(), 0_u8..6, 0_u8..8, any::<bool>()).prop_map(
        |(caps, is_owner_told, detached, slow, is_late)| Setup {
            caps: match caps {
                0..3 => Caps::Loose,
                3..9 => Caps::Tight {
                    events: usize::from(caps) * 2 - 4,
                },
                _ => Caps::Pages,
            },
            is_owner_told,
            max_detached: if detached == 5 { 1 } else { 100 },
            slow: u32::from(slow.saturating_sub(4)),
            is_late,
        },
    )
}

pub(crate) fn history(most: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 0..=most)
}

/// Numbers that become an operation: so that one shrinks as fast as numbers do, to the simplest.
fn op() -> impl Strategy<Value = Op> {
    (0_u16..1018, any::<bool>(), 0_usize..8, any::<u32>())
        .prop_map(|(choice, who, nth, detail)| make(choice, usize::from(who), nth, detail as usize))
}

fn make(choice: u16, who: Who, nth: usize, detail: usize) -> Op {
    match choice {
        0..30 => Op::Settle,
        30..220 => Op::Read {
            who,
            client: nth,
            frames: [1, 3, 100][detail % 3],
        },
        220..390 => Op::Say {
            who,
            stream: nth,
            what: saying(detail),
        },
        390..470 => Op::Open {
            who,
            kind: KINDS[detail % KINDS.len()],
        },
        470..525 => Op::Cut {
            who,
            client: nth,
            bytes: if detail.is_multiple_of(3) {
                0
            } else {
                detail % 400
            },
        },
        525..675 => Op::Resume {
            who,
            stream: nth,
            cursor: cursor(detail / 64),
            server: [
                Reopen::Accepts,
                Reopen::Accepts,
                Reopen::Repeats,
                Reopen::Refuses,
            ][detail % 4],
            patience: (detail / 4 % 16).saturating_sub(11),
        },
        675..825 => Op::SecondAttach { who, client: nth },
        825..905 => Op::Evict {
            who,
            events: 1 + detail % 40,
        },
        905..925 => Op::Answer { who, stream: nth },
        925..947 => Op::End {
            who,
            stream: nth,
            broken: detail.is_multiple_of(3),
        },
        947..972 => Op::Elapse {
            beats: 1 + (detail % 20) as u32,
        },
        972..992 => Op::Requests {
            who,
            give_up: detail.is_multiple_of(3),
        },
        992..1002 => Op::Slow {
            polls: (detail % 4) as u32,
        },
        1002..1010 => Op::Dismiss { who, client: nth },
        1010..1015 => Op::Delete { who },
        _ => Op::Shutdown,
    }
}

const KINDS: [Kind; 12] = [
    Kind::CallD,
    Kind::CallD,
    Kind::CallD,
    Kind::Standalone,
    Kind::CallC,
    Kind::CallB,
    Kind::Batch,
    Kind::Standalone,
    Kind::Generic,
    Kind::Initialize,
    Kind::Generic,
    Kind::Modern,
];

fn cursor(detail: usize) -> Cursor {
    let more = detail / 16;
    match detail % 16 {
        0..8 => Cursor::Own,
        8..12 => Cursor::Stale(1 + more % 6),
        12 => Cursor::Ahead(1 + (more % 3) as u64),
        13 => Cursor::Forged(more % 300),
        _ => Cursor::Foreign,
    }
}

fn saying(detail: usize) -> Saying {
    let bit = |at: u32| detail >> at & 1 == 1;
    Saying {
        events: [1, 1, 2, 5][detail & 3],
        size: [0, 1, 30, 100, 300, 7, 60, 200][detail >> 2 & 7],
        line_end: ["\n", "\n", "\r\n", "\r"][detail >> 5 & 3],
        own_id: bit(7) && bit(8),
        comment: bit(9) && bit(10),
        retry: bit(11) && bit(12) && bit(13),
        shape: match detail >> 14 & 15 {
            0..9 => Shape::Plain,
            9..11 => Shape::Named,
            11 => Shape::TwoLines,
            12 => Shape::Empty,
            13 => Shape::NoData,
            _ => Shape::Huge,
        },
        split: if bit(18) { detail >> 19 & 255 } else { 0 },
        holds_rest: bit(27),
    }
}
