//! What may happen.

use proptest::{collection::vec, prelude::*};

/// One of two principals.
pub(crate) type Who = bool;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Initialize(Who, Answer),
    /// Something is sent in a session; which one is counted from the first of the history.
    Send(Who, usize, Verb, Answer),
    /// An id that never was, or one that a server has made up.
    Stray(Who, Verb, bool),
    /// A client goes away.
    Hang(usize),
    /// The server ends a stream.
    Close(usize),
    Terminate(usize),
    Wait(Wait),
    /// The store takes so many polls from now on.
    Slow(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Call,
    Notify,
    Listen,
    Delete,
}

/// What the server does, if it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Fine,
    /// 500, 405 or 400.
    Refuses,
    /// 404
    Forgets,
    /// An `initialize` gets the id of the session that was given last.
    Repeats,
    /// … an id that is none.
    Garbles,
    /// … none.
    GivesNone,
    /// The client does not wait for it.
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Short,
    AlmostIdle,
    Idle,
}

pub(crate) fn history(longest: usize) -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..longest)
}

fn op() -> impl Strategy<Value = Op> {
    let verb = prop_oneof![
        4 => Just(Verb::Call),
        1 => Just(Verb::Notify),
        3 => Just(Verb::Listen),
        2 => Just(Verb::Delete),
    ];
    let opening = prop_oneof![
        6 => Just(Answer::Fine),
        1 => Just(Answer::Refuses),
        1 => Just(Answer::Repeats),
        1 => Just(Answer::Garbles),
        1 => Just(Answer::GivesNone),
        1 => Just(Answer::Never),
    ];
    let answer = prop_oneof![
        10 => Just(Answer::Fine),
        1 => Just(Answer::Refuses),
        1 => Just(Answer::Forgets),
        1 => Just(Answer::Never),
    ];
    let wait = prop_oneof![
        2 => Just(Wait::Short),
        2 => Just(Wait::AlmostIdle),
        1 => Just(Wait::Idle),
    ];
    prop_oneof![
        6 => (any::<Who>(), opening).prop_map(|(who, answer)| Op::Initialize(who, answer)),
        16 => (any::<Who>(), 0..8_usize, verb.clone(), answer)
            .prop_map(|(who, nth, verb, answer)| Op::Send(who, nth, verb, answer)),
        1 => (any::<Who>(), verb, any::<bool>())
            .prop_map(|(who, verb, is_theirs)| Op::Stray(who, verb, is_theirs)),
        2 => (0..8_usize).prop_map(Op::Hang),
        2 => (0..8_usize).prop_map(Op::Close),
        1 => (0..8_usize).prop_map(Op::Terminate),
        3 => wait.prop_map(Op::Wait),
        1 => (0..3_u32).prop_map(Op::Slow),
    ]
}
