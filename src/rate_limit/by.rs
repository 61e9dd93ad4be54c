use std::{borrow::Cow, sync::Arc};

use http::Method;

#[cfg(feature = "auth")]
use crate::auth::Principal;
#[cfg(feature = "session")]
use crate::session::Session;
#[cfg(any(feature = "auth", feature = "session"))]
use crate::store::Owner;
use crate::{
    jsonrpc::{Envelope, Kind},
    message::Message,
    pattern::Pattern,
};

use super::{Caller, KeyError, RateKey};

/// An account per principal: issuer and subject, whatever token it comes with (RL-1).
///
/// It goes by the [`Principal`] that an [`AuthLayer`](crate::auth::AuthLayer) outside has verified.
/// Without one the request gets 500, unless there is [another key](RateKey::or).
#[cfg(feature = "auth")]
#[derive(Clone, Copy, Debug, Default)]
pub struct ByPrincipal;

#[cfg(feature = "auth")]
impl RateKey for ByPrincipal {
    type Key<'a> = &'a Owner;

    #[inline]
    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<&'a Owner, KeyError> {
        let principal = caller.extensions().get::<Principal>();
        principal
            .map(Principal::as_owner)
            .ok_or_else(|| KeyError::missing("Principal: nothing outside authenticates"))
    }
}

/// An account per session.
///
/// It goes by the [`Session`] that a [`SessionLayer`](crate::session::SessionLayer) outside has found.
/// Some clients have a session for each call, and whoever may open sessions has as many accounts (RL-1):
/// count principals too, in another layer. Without a session, as for all requests of 2026-07-28, the
/// request gets 500, unless there is [another key](RateKey::or).
#[cfg(feature = "session")]
#[derive(Clone, Copy, Debug, Default)]
pub struct BySession;

#[cfg(feature = "session")]
impl RateKey for BySession {
    type Key<'a> = &'a Owner;

    #[inline]
    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<&'a Owner, KeyError> {
        let session = caller.extensions().get::<Session>();
        session
            .map(Session::as_owner)
            .ok_or_else(|| KeyError::missing("Session: nothing outside binds sessions"))
    }
}

/// An account for each of some methods, and one for all others; mostly together with another key, such
/// as `(ByPrincipal, ByMethod::new(["tools/call"]))`.
///
/// It goes by the [`Message`] that a [`MessageLayer`](crate::message::MessageLayer) outside has read, not
/// by a header (RL-7); without one a POST gets 500. A batch of several that have accounts of their own
/// has one more, and what is in it costs what it costs alone. Requests without a body belong to the
/// others.
#[derive(Clone, Debug)]
#[must_use]
pub struct ByMethod {
    names: Names,
}

/// An account for each of some tools, and one for all others and for messages that call none. Mostly
/// together with another key, such as `(ByPrincipal, ByTool::new(["crawl", "db_*"]))`.
///
/// Like [`ByMethod`] it goes by the [`Message`], and a batch of several tools has one more account.
#[derive(Clone, Debug)]
#[must_use]
pub struct ByTool {
    names: Names,
}

/// Those that have accounts: clients can make up as many others as they like.
#[derive(Clone, Debug)]
struct Names(Arc<[Pattern]>);

/// What a request is about, as far as that has an account of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    kind: SubjectKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum SubjectKind {
    /// That name, by its place.
    Named(usize),
    Other,
    /// Of a batch whose messages are about several of them.
    Mixed,
}

impl ByMethod {
    /// An account for each of these methods, such as `tools/call` or `tasks/*`: a star at the end is for
    /// whatever follows, and all of that has one account. Of several that a method is of, the last one
    /// counts.
    pub fn new<N: AsRef<str>>(methods: impl IntoIterator<Item = N>) -> Self {
        Self {
            names: Names::new(methods),
        }
    }
}

impl ByTool {
    /// An account for each of these tools, such as `crawl` or `db_*`: a star at the end is for whatever
    /// follows, and all of that has one account. Of several that a tool is of, the last one counts.
    pub fn new<N: AsRef<str>>(tools: impl IntoIterator<Item = N>) -> Self {
        Self {
            names: Names::new(tools),
        }
    }
}

impl RateKey for ByMethod {
    type Key<'a> = Subject;

    fn key(&self, caller: Caller<'_>) -> Result<Subject, KeyError> {
        self.names.subject(caller, Envelope::method_bytes)
    }
}

impl RateKey for ByTool {
    type Key<'a> = Subject;

    fn key(&self, caller: Caller<'_>) -> Result<Subject, KeyError> {
        self.names.subject(caller, tool)
    }
}

/// The tool that a message calls, if it can be read.
fn tool<'a>(message: &Envelope<'a>) -> Option<Cow<'a, [u8]>> {
    let method = message.method_bytes()?;
    if *method != *b"tools/call" {
        return None;
    }
    message.name_raw(&method).and_then(Envelope::bytes)
}

impl Names {
    fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let names = names.into_iter();
        Self(names.map(|name| Pattern::new(name.as_ref())).collect())
    }

    fn subject<'a>(
        &self,
        caller: Caller<'a>,
        of: impl Fn(&Envelope<'a>) -> Option<Cow<'a, [u8]>>,
    ) -> Result<Subject, KeyError> {
        let find = |message: &Envelope<'a>| match of(message) {
            Some(name) => self.find(&name),
            None => SubjectKind::Other,
        };
        let kind = match caller.message().map(Message::peek) {
            None if caller.method() == Method::POST => return Err(unread()),
            // Without a body, or with one that is not JSON, it is about nothing.
            None | Some(Err(_)) => SubjectKind::Other,
            Some(Ok(peek)) => match peek.as_single() {
                Some(message) => find(message),
                None => {
                    // Responses are free, and ask for nothing.
                    let asking = peek.envelopes().filter(|one| one.kind() != Kind::Response);
                    let mut kinds = asking.map(|one| find(&one));
                    let first = kinds.next().unwrap_or(SubjectKind::Other);
                    if kinds.all(|kind| kind == first) {
                        first
                    } else {
                        SubjectKind::Mixed
                    }
                }
            },
        };
        Ok(Subject { kind })
    }

    fn find(&self, name: &[u8]) -> SubjectKind {
        let place = self.0.iter().rposition(|pattern| pattern.matches(name));
        place.map_or(SubjectKind::Other, SubjectKind::Named)
    }
}

/// Nobody has read the body.
pub(super) fn unread() -> KeyError {
    KeyError::missing("Message: no MessageLayer outside has read it")
}
