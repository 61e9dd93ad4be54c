use super::{Message, interest::Sorts};
use crate::jsonrpc::{Guise, Kind};

/// What a message of a server is judged as.
#[derive(Debug)]
pub(super) enum Reading {
    As(Message),
    /// It is no message, and nobody takes it for one that somebody is interested in.
    NoMessage,
    /// Clients may take it for messages that differ: whatever is judged, another one may get there.
    Unclear,
}

impl Reading {
    /// Reads a message for those who want `wants`, as a client may.
    #[inline]
    pub(super) fn of(message: Message, wants: Sorts) -> Self {
        if message.may_be_in_guise() {
            return Self::of_unusual(message, wants);
        }
        Self::As(message)
    }

    #[cold]
    fn of_unusual(message: Message, wants: Sorts) -> Self {
        let wants_responses = wants.has_any_of(Sorts::RESPONSES);
        let kind = match message.guise() {
            Guise::Unclear if wants_responses => return Self::Unclear,
            Guise::Either(_) if wants_responses && wants.has_any_of(Sorts::CALLS) => {
                return Self::Unclear;
            }
            Guise::Response | Guise::Either(_) if wants_responses => Kind::Response,
            Guise::Call(kind) | Guise::Either(kind) => kind,
            Guise::Itself | Guise::Response | Guise::Unclear => message.kind(),
        };
        match kind {
            Kind::Invalid => Self::NoMessage,
            kind => Self::As(message.with_kind(kind)),
        }
    }
}
