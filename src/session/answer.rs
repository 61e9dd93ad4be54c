use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header::CONTENT_LENGTH};
use http_body::Body;

use super::{
    ResponseBody,
    ending::Ending,
    flight::Flight,
    id::{self, SessionId},
    keep::{Keep, is_settled},
    layer::Shared,
    learn::Learner,
    lookup::Joined,
    reason::Reason,
};
use crate::{
    body,
    header::MCP_SESSION_ID,
    jsonrpc::Handshake,
    protocol::Era,
    refusal::{Recipient, Refusal},
    sse::is_event_stream,
    store::{SessionName, SessionRecord, SessionStore, StoreError, StoreErrorKind},
};

/// What the response to a request means for sessions.
pub(super) enum Role {
    /// Nothing.
    Pass,
    /// It is of a session.
    Member(Member),
    /// It may open one. Boxed, because few do.
    Opening(Box<Opening>),
}

pub(super) struct Member {
    flight: Flight,
    /// The id as the client sent it.
    outer: HeaderValue,
    /// Of a DELETE.
    ending: Option<Ending>,
}

/// A session that is open, and taken back unless it is given.
pub(super) struct Opening {
    session: SessionRecord,
    /// The `initialize` itself, taken when it is given: its id is not free before its response is over
    /// (SE-7).
    flight: Option<Flight>,
    /// What the store was asked to call it, as long as nobody knows whether it does.
    name: Option<SessionName>,
    /// Where its server is told of its end, if it can be.
    path: Option<Arc<Uri>>,
    keep: Arc<dyn Keep>,
    /// Who sent the `initialize`.
    recipient: Recipient,
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Self {
            session,
            flight,
            name,
            path: _,
            keep,
            recipient: _,
        } = self;
        if flight.is_none() {
            return;
        }
        match name.take() {
            // Its server is told once the store has said that it is nobody else's: a server that gives
            // two clients one session would end the other one's (B11).
            Some(name) => keep.disown(session, name),
            None => keep.abandon(session),
        }
    }
}

/// What the store has been asked to do before a response leaves.
pub(super) enum Todo {
    /// Forget the session, which is over for its server.
    End {
        flight: Flight,
        /// Whether nobody else sees to it.
        is_first: bool,
    },
    /// Name the session that its server has given.
    Establish {
        opening: Box<Opening>,
        /// The id that the client is given.
        outer: HeaderValue,
    },
}

/// What becomes of a response.
pub(super) enum Answer<T: SessionStore> {
    /// It is passed on.
    Pass,
    /// The same, and its body is of the session: it keeps it, and ends with it if it is a stream.
    Hold(Flight),
    /// The store has to do something first.
    First(Started<T>, Todo),
    /// The client is given another one.
    Refuse(Reason, Recipient),
}

impl From<Joined> for Role {
    fn from(joined: Joined) -> Self {
        let Joined {
            flight,
            outer,
            ending,
        } = joined;
        Self::Member(Member {
            flight,
            outer,
            ending,
        })
    }
}

impl Role {
    pub(super) fn opening(
        flight: Flight,
        keep: Arc<dyn Keep>,
        path: Option<Arc<Uri>>,
        recipient: Recipient,
    ) -> Self {
        Self::Opening(Box::new(Opening {
            session: flight.record().clone(),
            flight: Some(flight),
            name: None,
            path,
            keep,
            recipient,
        }))
    }

    /// Judges a response where it is, because it is much to move about.
    pub(super) fn answer<B, T: SessionStore>(
        self,
        response: &mut Response<B>,
        shared: &Shared<T>,
    ) -> Answer<T> {
        match self {
            Self::Pass => {
                // It is said with the response to an `initialize` only (SES-1).
                response.headers_mut().remove(MCP_SESSION_ID);
                Answer::Pass
            }
            Self::Member(member) => member.answer(response, shared),
            Self::Opening(opening) => opening.answer(response, shared),
        }
    }
}

impl Member {
    fn answer<B, T: SessionStore>(
        self,
        response: &mut Response<B>,
        shared: &Shared<T>,
    ) -> Answer<T> {
        let Self {
            flight,
            outer,
            ending,
        } = self;
        let status = response.status();
        let headers = response.headers_mut();
        // 405 says that sessions of this server cannot be deleted (SES-5).
        let is_over = status == StatusCode::NOT_FOUND || (ending.is_some() && status.is_success());
        if let Some(key) = flight.key().filter(|_| is_over) {
            headers.remove(MCP_SESSION_ID);
            let is_first = shared.see_to_end(&flight);
            if let Some(ending) = ending {
                ending.complete();
            }
            let end = Started::End(shared.store.end(key, flight.owner()));
            let todo = Todo::End { flight, is_first };
            return Answer::First(end, todo);
        }
        // Some servers repeat the id. To hash its name takes as long as to look at a dozen.
        if headers.keys().any(|name| *name == MCP_SESSION_ID) {
            if headers.get(MCP_SESSION_ID) == flight.upstream() {
                headers.insert(MCP_SESSION_ID, outer);
            } else {
                headers.remove(MCP_SESSION_ID);
            }
        }
        Answer::Hold(flight)
    }
}

impl Opening {
    fn answer<B, T: SessionStore>(
        mut self: Box<Self>,
        response: &mut Response<B>,
        shared: &Shared<T>,
    ) -> Answer<T> {
        let status = response.status();
        let headers = response.headers_mut();
        let max = if shared.config.passes_ids {
            SessionId::MAX_LEN
        } else {
            SessionId::MAX_UPSTREAM_LEN
        };
        let upstream = match named(headers, max) {
            Ok(upstream) if status.is_success() => upstream,
            Err(()) if status.is_success() => {
                tracing::error!("a server answered with a session id that is none");
                return self.refuse(Reason::BadUpstream);
            }
            _ => None,
        };
        headers.remove(MCP_SESSION_ID);
        let Some(upstream) = upstream else {
            return Answer::Pass;
        };
        let given = if shared.config.passes_ids {
            Some((SessionId::digest(upstream.as_bytes()), upstream.clone()))
        } else {
            SessionId::mint().and_then(|id| id.to_header().map(|text| (id, text)))
        };
        let Some((id, outer)) = given else {
            return self.refuse(Reason::Unavailable);
        };
        let name = SessionName::new(id.key(shared.config.realm), id.secret, upstream);
        let name = name.with_path(self.path.take());
        self.name = Some(name.clone());
        let establish = Started::Establish(shared.store.establish(&self.session, name));
        let todo = Todo::Establish {
            opening: self,
            outer,
        };
        Answer::First(establish, todo)
    }

    fn refuse<T: SessionStore>(&self, reason: Reason) -> Answer<T> {
        Answer::Refuse(reason, self.recipient.clone())
    }

    /// The response of a session that is there now, or is not.
    fn given<B>(
        mut self,
        outer: HeaderValue,
        done: Result<(), StoreError>,
        response: Response<B>,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let reason = match done {
            Ok(()) => match self.flight.take() {
                Some(flight) => return self.respond(flight, outer, response),
                None => Reason::Unavailable,
            },
            Err(error) => match error.kind() {
                StoreErrorKind::Conflict => {
                    // Telling the server that it is over would end the other one.
                    self.name = None;
                    tracing::error!("a server gave two clients one session: the second is refused");
                    Reason::BadUpstream
                }
                StoreErrorKind::NotFound => {
                    self.name = None;
                    Reason::Unavailable
                }
                _ => {
                    tracing::warn!(%error, "it is not known whether a session is established");
                    Reason::Unavailable
                }
            },
        };
        respond(reason.refusal(), &self.recipient)
    }

    fn respond<B>(
        &self,
        flight: Flight,
        outer: HeaderValue,
        mut response: Response<B>,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        response.headers_mut().insert(MCP_SESSION_ID, outer);
        // Weak: a body that is read for long does not keep the layer.
        let (session, keep) = (flight.record().clone(), Arc::downgrade(&self.keep));
        let learner = Learner::new(is_event_stream(response.headers()), move |said| {
            let Some(keep) = keep.upgrade() else {
                return;
            };
            match said {
                Handshake::Agreed(Some(version)) if Era::from(version) != Era::Stateless => {
                    keep.learn(&session, version);
                }
                Handshake::Agreed(_) => {}
                // What failed leaves nothing (SE-8).
                Handshake::Refused => keep.end(&session),
            }
        });
        hold(response, flight, Some(Box::new(learner)))
    }
}

impl Todo {
    /// Who has to be refused if the store does not do it.
    pub(super) const fn recipient(&self) -> Option<&Recipient> {
        match self {
            // Its server has ended it: that is what the client is told.
            Self::End { .. } => None,
            Self::Establish { opening, .. } => Some(&opening.recipient),
        }
    }

    /// Answers once the store has done it, or has not.
    pub(super) fn finish<B, T>(
        self,
        done: Result<(), StoreError>,
        response: Response<B>,
        shared: &Shared<T>,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes>,
        T: SessionStore,
    {
        match self {
            Self::End {
                flight, is_first, ..
            } => {
                if is_first && !is_settled(&done) {
                    shared.forget_later(&flight);
                }
                pass(response)
            }
            Self::Establish { opening, outer } => {
                if done.is_ok() {
                    shared.note_session();
                    shared.counters.count_opened();
                }
                opening.given(outer, done, response)
            }
        }
    }
}

/// What the store is about.
pub(super) enum Started<T: SessionStore> {
    End(T::End),
    Establish(T::Establish),
}

/// The one session id that a server has answered with, if any: a copy, because a part of a transport
/// buffer would keep all of it for as long as the session.
fn named(headers: &HeaderMap, max: usize) -> Result<Option<HeaderValue>, ()> {
    let mut values = headers.get_all(MCP_SESSION_ID).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if id::is_legal(value.as_bytes(), max) => {
            let mut copy = HeaderValue::from_bytes(value.as_bytes()).map_err(drop)?;
            copy.set_sensitive(true);
            Ok(Some(copy))
        }
        _ => Err(()),
    }
}

pub(super) fn pass<B>(response: Response<B>) -> Response<ResponseBody<B>> {
    response.map(|body| ResponseBody::plain(body::ResponseBody::inner(body)))
}

/// The response when the store takes too long.
pub(super) fn unavailable<B>(recipient: &Recipient) -> Response<ResponseBody<B>> {
    respond(Reason::Unavailable.refusal(), recipient)
}

pub(super) fn respond<B>(refusal: Refusal, recipient: &Recipient) -> Response<ResponseBody<B>> {
    refusal.into_response(recipient).map(ResponseBody::plain)
}

pub(super) fn hold<B>(
    mut response: Response<B>,
    flight: Flight,
    learner: Option<Box<Learner>>,
) -> Response<ResponseBody<B>>
where
    B: Body<Data = Bytes>,
{
    let is_stream = is_event_stream(response.headers());
    if is_stream {
        // It ends with its session, whatever was said of its length (SSE-13).
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    response.map(|body| ResponseBody::held(body, flight, is_stream, learner))
}
