use bytes::Bytes;

use super::{
    BodyErrorKind,
    values::{Part, Values},
};
use crate::sse::{Decoder, Frame, RawEvent};

/// How a body is cut into what may hold messages.
#[derive(Debug)]
pub(super) enum Framing {
    Events(Decoder),
    Values(Values),
    /// It must not have anything in it, because nobody could read that.
    Nothing,
}

/// A part of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// What means nothing.
    Pass(Bytes),
    Event(RawEvent),
    Value(Bytes),
    /// What nobody can read.
    Junk(Bytes),
}

impl Framing {
    /// Whether nothing is held.
    pub(super) fn is_clean(&self) -> bool {
        match self {
            Self::Events(decoder) => decoder.is_clean(),
            Self::Values(values) => values.is_clean(),
            Self::Nothing => true,
        }
    }

    /// Takes the next piece from the front of `chunk`; `None` says that it is used up.
    ///
    /// # Errors
    ///
    /// If it is too long, or if there should be none.
    #[inline]
    pub(super) fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Piece>, BodyErrorKind> {
        let too_large = BodyErrorKind::MessageTooLarge;
        Ok(match self {
            Self::Events(decoder) => match decoder.decode(chunk).map_err(|_| too_large)? {
                Some(Frame::Event(event)) => Some(Piece::Event(event)),
                Some(Frame::Comment(raw)) => Some(Piece::Pass(raw)),
                None => None,
            },
            Self::Values(values) => match values.next(chunk).map_err(|_| too_large)? {
                Some(Part::Value(value)) => Some(Piece::Value(value)),
                Some(Part::Between(raw)) => Some(Piece::Pass(raw)),
                Some(Part::Junk(raw)) => Some(Piece::Junk(raw)),
                None => None,
            },
            Self::Nothing if chunk.is_empty() => None,
            Self::Nothing => return Err(BodyErrorKind::Unreadable),
        })
    }
}
