//! What may happen.

use proptest::{collection::vec, prelude::*};

/// One of two principals.
pub(crate) type Who = usize;

/// One of the sessions, counted from the last one back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pick {
    pub(crate) nth: usize,
    /// Whether those that are over count.
    pub(crate) any: bool,
}

/// Who sends a request in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Owner,
    Stranger,
}

/// Requests under way, streams and cursors are counted from the last one back, too.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Initialize(Who, Opening),
    /// A request is sent, and goes as far as the server. The number is its JSON-RPC id.
    Send(Caller, Pick, Verb, u8),
    /// The server answers one of those that have reached it.
    Answer(usize, Answer),
    /// The client does not wait for the answer.
    Abandon(usize),
    /// A request without an id, or with one that is none of ours.
    Stray(Who, Stray),
    /// The server says something on a stream.
    Say(usize),
    /// The server answers what the stream is of, and ends it.
    Close(usize),
    /// The client of a stream goes away.
    Hang(usize),
    /// A client asks for the rest of a stream, in one of the sessions.
    Resume(Caller, Rest, usize),
    Terminate(Pick),
    Wait(Wait),
    /// The store takes so many polls from now on.
    Slow(u32),
}

/// The session that a cursor is sent in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rest {
    /// That of its stream.
    Here,
    Elsewhere(Pick),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Call,
    /// Two calls: of the revision that has batches, and of another.
    Batch,
    /// An answer to a request of the server.
    Respond,
    Notify,
    Listen,
    Delete,
    /// A call of 2026-07-28, which has no sessions.
    Stateless,
}

/// How the server answers an `initialize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With a session, of 2025-11-25.
    Newer,
    /// With one of 2025-03-26.
    Older,
    Refuses,
    /// With the id of the session that was given last.
    Repeats,
    /// … an id that is none.
    Garbles,
    /// … none.
    GivesNone,
    /// … an id and a JSON-RPC error.
    Fails,
    /// The client goes after so many polls, before it is answered.
    Never(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Json,
    Stream,
    /// 500, or 405 to a DELETE.
    Refuses,
    /// 404
    Forgets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stray {
    Unknown,
    /// What the server calls a session.
    Theirs,
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Short,
    AlmostIdle,
    Idle,
}

/// Two sessions of one and one of another, or not all of them, and then anything.
pub(crate) fn history(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    (0..4_usize, vec(any::<u32>(), 1..longest)).prop_map(|(given_count, genes)| {
        let given = [
            Op::Initialize(0, Opening::Newer),
            Op::Initialize(1, Opening::Older),
            Op::Initialize(0, Opening::Newer),
        ];
        let given = given.into_iter().take(given_count);
        given.chain(genes.into_iter().map(op)).collect()
    })
}

/// A number as an operation: to make it up is quick, and to make it smaller makes it simpler.
fn op(gene: u32) -> Op {
    let mut genes = Genes(gene);
    let kind = genes.take(40);
    match kind {
        0..14 => Op::Send(
            genes.caller(),
            genes.pick(),
            genes.one_of(&VERBS),
            genes.take(3) as u8,
        ),
        14..22 => Op::Answer(genes.small(), genes.one_of(&ANSWERS)),
        22..24 => Op::Say(genes.small()),
        24 => Op::Close(genes.small()),
        25..27 => Op::Hang(genes.small()),
        27..32 => {
            let rest = match genes.take(6) {
                0 => Rest::Elsewhere(genes.pick()),
                _ => Rest::Here,
            };
            Op::Resume(genes.caller(), rest, genes.small())
        }
        32..35 => Op::Initialize(genes.take(2), genes.one_of(&OPENINGS)),
        35 => Op::Abandon(genes.small()),
        36 => Op::Wait(genes.one_of(&[Wait::Short, Wait::AlmostIdle, Wait::Idle])),
        37 => Op::Terminate(genes.pick()),
        38 => Op::Stray(
            genes.take(2),
            genes.one_of(&[Stray::Unknown, Stray::Theirs, Stray::Missing]),
        ),
        _ => Op::Slow(genes.take(3) as u32),
    }
}

const VERBS: [Verb; 16] = {
    use Verb::{Batch, Call, Delete, Listen, Notify, Respond, Stateless};
    [
        Call, Call, Call, Call, Call, Call, Call, Listen, Listen, Delete, Delete, Batch, Batch,
        Respond, Notify, Stateless,
    ]
};

const ANSWERS: [Answer; 8] = {
    use Answer::{Forgets, Json, Refuses, Stream};
    [Json, Json, Stream, Stream, Stream, Stream, Refuses, Forgets]
};

const OPENINGS: [Opening; 13] = {
    use Opening::{Fails, Garbles, GivesNone, Never, Newer, Older, Refuses, Repeats};
    [
        Newer,
        Newer,
        Newer,
        Older,
        Older,
        Refuses,
        Repeats,
        Garbles,
        GivesNone,
        Fails,
        Never(1),
        Never(3),
        Never(8),
    ]
};

struct Genes(u32);

impl Genes {
    fn take(&mut self, below: u32) -> usize {
        let taken = self.0 % below;
        self.0 /= below;
        taken as usize
    }

    /// Mostly one of the last.
    fn small(&mut self) -> usize {
        [0, 0, 1, 1, 2, 2, 3, 4][self.take(8)]
    }

    fn pick(&mut self) -> Pick {
        let (nth, any) = (self.take(4), self.take(8) == 0);
        Pick { nth, any }
    }

    fn caller(&mut self) -> Caller {
        match self.take(6) {
            0 => Caller::Stranger,
            _ => Caller::Owner,
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.take(all.len() as u32)]
    }
}
