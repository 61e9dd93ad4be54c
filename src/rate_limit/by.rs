use std::{borrow::Cow, hash::Hash};

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

/// An account per method of a message, or per HTTP method where there is no body; mostly together with
/// another key, such as `(ByPrincipal, ByMethod)`.
///
/// It goes by the [`Message`] that a [`MessageLayer`](crate::message::MessageLayer) outside has read, not
/// by a header (RL-7); without one a POST gets 500. A batch of several methods has one more account, and
/// what is in it costs what it costs alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByMethod;

/// An account per tool; all messages that call none have one together. Mostly together with another
/// key, such as `(ByPrincipal, ByTool)`.
///
/// Like [`ByMethod`] it goes by the [`Message`], and a batch of several tools has one more account.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTool;

/// What a request is about, to be told from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject<'a> {
    kind: SubjectKind<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum SubjectKind<'a> {
    Http(&'a Method),
    Named(Option<Cow<'a, [u8]>>),
    /// Of a batch whose messages are about several things.
    Mixed,
}

impl RateKey for ByMethod {
    type Key<'a> = Subject<'a>;

    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<Subject<'a>, KeyError> {
        subject(caller, Envelope::method_bytes)
    }
}

impl RateKey for ByTool {
    type Key<'a> = Subject<'a>;

    fn key<'a>(&'a self, caller: Caller<'a>) -> Result<Subject<'a>, KeyError> {
        subject(caller, tool)
    }
}

/// The tool that a message calls; empty if it cannot be read.
fn tool<'a>(message: &Envelope<'a>) -> Option<Cow<'a, [u8]>> {
    let method = message.method_bytes()?;
    if *method != *b"tools/call" {
        return None;
    }
    let name = message.name_raw(&method).and_then(Envelope::bytes);
    Some(name.unwrap_or_default())
}

fn subject<'a>(
    caller: Caller<'a>,
    of: impl Fn(&Envelope<'a>) -> Option<Cow<'a, [u8]>>,
) -> Result<Subject<'a>, KeyError> {
    let kind = match caller.message().map(Message::peek) {
        None if caller.method() == Method::POST => return Err(unread()),
        None => SubjectKind::Http(caller.method()),
        // Not JSON, so about nothing.
        Some(Err(_)) => SubjectKind::Named(None),
        Some(Ok(peek)) => match peek.as_single() {
            Some(message) => SubjectKind::Named(of(message)),
            None => {
                // Responses are free, and ask for nothing.
                let asking = peek.envelopes().filter(|one| one.kind() != Kind::Response);
                let mut subjects = asking.map(|one| of(&one));
                let first = subjects.next().unwrap_or_default();
                if subjects.all(|subject| subject == first) {
                    SubjectKind::Named(first)
                } else {
                    SubjectKind::Mixed
                }
            }
        },
    };
    Ok(Subject { kind })
}

/// Nobody has read the body.
pub(super) fn unread() -> KeyError {
    KeyError::missing("Message: no MessageLayer outside has read it")
}
