use std::sync::Arc;

use super::Direction;
use crate::{jsonrpc::Kind, pattern::Pattern};

/// Which messages an [`Interceptor`](super::Interceptor) is asked about: those that any of its parts is
/// about.
///
/// What nobody is interested in is not even read. A method is a name, or what names begin with if it ends
/// with a star, such as `notifications/*`; a star alone is any. A response is of the method of its
/// request. If nobody knows which that is, as in a stream that was opened by GET, or was for another
/// request, it matters to everybody who is interested in responses.
///
/// A clone costs a reference count.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Interest {
    /// Those of all parts together, to be asked first.
    sorts: Sorts,
    parts: Arc<[Part]>,
}

#[derive(Clone, Debug)]
struct Part {
    sorts: Sorts,
    method: Pattern,
}

/// Directions and kinds of messages, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorts(u8);

impl Sorts {
    pub(super) const NONE: Self = Self(0);
    const ALL: Self = Self(0b11_1111);
    const TO_SERVER: Self = Self(0b00_0111);
    const TO_CLIENT: Self = Self(0b11_1000);
    /// What a server says that answers nothing.
    pub(super) const CALLS: Self = Self::of(Direction::ToClient, Kind::Request)
        .or(Self::of(Direction::ToClient, Kind::Notification));
    pub(super) const RESPONSES: Self = Self::of(Direction::ToClient, Kind::Response);

    /// Of what is no message there are none.
    pub(super) const fn of(direction: Direction, kind: Kind) -> Self {
        let bit = match kind {
            Kind::Request => 1,
            Kind::Notification => 2,
            Kind::Response => 4,
            Kind::Invalid => 0,
        };
        match direction {
            Direction::ToServer => Self(bit),
            Direction::ToClient => Self(bit << 3),
        }
    }

    pub(super) const fn in_direction(direction: Direction) -> Self {
        match direction {
            Direction::ToServer => Self::TO_SERVER,
            Direction::ToClient => Self::TO_CLIENT,
        }
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[inline]
    pub(super) const fn has_any_of(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Interest {
    /// No messages.
    pub fn none() -> Self {
        Self::default()
    }

    /// All messages in both directions.
    pub fn all() -> Self {
        Self::none().with(Sorts::ALL, "*")
    }

    /// All messages in one direction.
    pub fn in_direction(direction: Direction) -> Self {
        Self::none().with(Sorts::in_direction(direction), "*")
    }

    /// The requests of clients that have this method.
    ///
    /// What has no id is a notification, whatever its method is, and not among them. A server may act on it
    /// nevertheless: who has to stop those too [adds](Self::add) them.
    pub fn requests(method: &str) -> Self {
        Self::none().add(Direction::ToServer, Kind::Request, method)
    }

    /// The responses to the requests of clients that have this method.
    pub fn responses(method: &str) -> Self {
        Self::none().add(Direction::ToClient, Kind::Response, method)
    }

    /// The [requests](Self::requests) of clients that have this method, and the responses to them.
    pub fn exchanges(method: &str) -> Self {
        Self::requests(method).add(Direction::ToClient, Kind::Response, method)
    }

    /// Also the messages of one kind in one direction that have this method. There are none of
    /// [`Kind::Invalid`].
    ///
    /// What a client answers to a server's request has no method that is known here: for those it says
    /// nothing.
    pub fn add(self, direction: Direction, kind: Kind, method: &str) -> Self {
        self.with(Sorts::of(direction, kind), method)
    }

    /// Also what `other` is about.
    pub fn or(self, other: &Self) -> Self {
        let parts = other.parts.iter();
        parts.fold(self, |all, part| all.with_part(part.clone()))
    }

    fn with(self, sorts: Sorts, method: &str) -> Self {
        let method = Pattern::new(method);
        self.with_part(Part { sorts, method })
    }

    fn with_part(mut self, part: Part) -> Self {
        self.sorts = self.sorts.or(part.sorts);
        let mut parts = self.parts.to_vec();
        match parts.iter_mut().find(|old| old.method == part.method) {
            Some(old) => old.sorts = old.sorts.or(part.sorts),
            None => parts.push(part),
        }
        self.parts = parts.into();
        self
    }

    /// All directions and kinds, whatever the method.
    #[inline]
    pub(super) const fn sorts(&self) -> Sorts {
        self.sorts
    }

    /// What it is about of messages with that method; `None` if nobody knows which that is.
    #[inline]
    pub(super) fn of_method(&self, method: Option<&[u8]>) -> Sorts {
        let Some(method) = method else {
            return self.sorts;
        };
        let parts = self.parts.iter();
        let parts = parts.filter(|part| part.method.matches(method));
        parts.fold(Sorts::NONE, |all, part| all.or(part.sorts))
    }

    /// Whether it is about a message of that sort and method.
    #[inline]
    pub(super) fn is_in(&self, sort: Sorts, method: Option<&[u8]>) -> bool {
        self.sorts.has_any_of(sort) && self.of_method(method).has_any_of(sort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in(interest: &Interest, direction: Direction, kind: Kind, method: &str) -> bool {
        let method = Some(method.as_bytes()).filter(|method| !method.is_empty());
        interest.is_in(Sorts::of(direction, kind), method)
    }

    #[test]
    fn interest_is_in_directions_kinds_and_methods() {
        use Direction::{ToClient, ToServer};
        use Kind::{Invalid, Notification, Request, Response};

        let calls = Interest::exchanges("tools/call");
        assert!(is_in(&calls, ToServer, Request, "tools/call"));
        assert!(is_in(&calls, ToClient, Response, "tools/call"));
        // Nobody knows what it answers.
        assert!(is_in(&calls, ToClient, Response, ""));
        for (direction, kind, method) in [
            (ToServer, Request, "tools/list"),
            (ToServer, Notification, "tools/call"),
            (ToServer, Response, ""),
            (ToClient, Request, "tools/call"),
            (ToClient, Response, "tools/calls"),
            (ToServer, Invalid, "tools/call"),
        ] {
            assert!(!is_in(&calls, direction, kind, method), "{kind:?} {method}");
        }
        let logs = Interest::none().add(ToClient, Notification, "notifications/*");
        assert!(is_in(
            &logs,
            ToClient,
            Notification,
            "notifications/message"
        ));
        assert!(!is_in(
            &logs,
            ToServer,
            Notification,
            "notifications/message"
        ));
        let both = calls.or(&logs);
        assert!(is_in(&both, ToServer, Request, "tools/call"));
        assert!(is_in(&both, ToClient, Notification, "notifications/x"));
        let all = Interest::all();
        assert!(is_in(&all, ToServer, Response, "") && is_in(&all, ToClient, Request, "x"));
        assert!(!is_in(&all, ToServer, Invalid, ""));
        let back = Interest::in_direction(ToClient);
        assert!(is_in(&back, ToClient, Request, "x") && !is_in(&back, ToServer, Request, "x"));
        assert!(!is_in(&Interest::none(), ToServer, Request, "x"));
    }
}
