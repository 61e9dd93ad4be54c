use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;

use super::{BodyError, source::Connect};

/// The one that reads a stream's body and records its events, whoever drives it.
pub(super) trait Produce: Send {
    /// Goes on until there is something for the client, or nothing more is to be had just now.
    fn poll_produce(self: Pin<&mut Self>, sink: Sink, cx: &mut Context<'_>) -> Poll<Step>;

    /// The number of the last event that is in the log.
    fn recorded(&self) -> u64;

    /// Whether the log is there: no client is given a cursor before (RPL-6).
    fn has_log(&self) -> bool;

    /// Whether it has to go on when nobody listens: it records, and something is still to come.
    fn outlives_client(&self) -> bool;

    /// Whether the last response is there, so that the rest of the body is not worth waiting for.
    fn is_answered(&self) -> bool;

    /// Whether events are recorded, or were to the end.
    fn is_recording(&self) -> bool;

    /// Lets go of the server, and says so in its place, in the log too.
    fn give_up(self: Pin<&mut Self>);

    /// The upstream's id to resume with, once its response has ended before the stream has.
    fn suspended_at(&self) -> Option<&[u8]>;

    /// Goes on with another response of the upstream.
    fn reopen(self: Pin<&mut Self>, connect: Connect);
}

/// For whom a producer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sink {
    /// A client that has all events up to that number.
    Client { delivered: u64 },
    /// The log alone.
    Nobody,
}

impl Sink {
    /// Whether the event of that number is not to be sent.
    #[inline]
    pub(super) const fn has(self, sequence: u64) -> bool {
        match self {
            Self::Client { delivered } => sequence <= delivered,
            Self::Nobody => true,
        }
    }
}

/// What a producer came to.
#[derive(Debug)]
pub(super) enum Step {
    /// Whole events and comments.
    Data(Bytes),
    /// So many bytes were read, and nobody wants them.
    Read(usize),
    Trailers(Box<HeaderMap>),
    /// The upstream closed early, and can be asked for the rest.
    Suspended,
    /// Everything is said, and the log is closed.
    Ended,
    /// The stream broke, and nobody waits for a response. The log is closed.
    Failed(BodyError),
}
