use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri, header::CONTENT_LENGTH};
use http_body::Body;

use super::{
    ResponseBody,
    ask::Joined,
    flight::Flight,
    id::{self, SessionId},
    keep::{Keep, is_settled},
    layer::Shared,
    learn::Learner,
    reason::Reason,
};
use crate::{
    body,
    header::MCP_SESSION_ID,
    jsonrpc::Handshake,
    protocol::Era,
    refusal::{Recipient, Refusal},
    sse::is_event_stream,
    store::{
        SessionKey, SessionLease, SessionName, SessionRecord, SessionStore, StoreError,
        StoreErrorKind,
    },
};

/// What the response to a request means for sessions.
pub(super) enum Role {
    /// Nothing.
    Pass,
    /// It is of a session.
    Member(Member),
    /// It may open one.
    Founder(Founder),
}

pub(super) struct Member {
    flight: Flight,
    /// The id as the client sent it.
    outer: HeaderValue,
    /// Of a DELETE.
    ending: Option<Ending>,
}

/// The claim to be the one who ends a session, until it is dropped.
pub(super) struct Ending(SessionRecord);

impl Drop for Ending {
    fn drop(&mut self) {
        let Self(session) = self;
        session.release_end();
    }
}

/// A session that is open, and taken back unless it is given.
pub(super) struct Founder {
    session: SessionRecord,
    /// Taken when it is given.
    lease: Option<SessionLease>,
    /// What its server calls it, and has to be told if it is not given after all.
    owed: Option<HeaderValue>,
    /// Where it is told, if it can be.
    path: Option<Arc<Uri>>,
    keep: Weak<dyn Keep>,
    /// Who sent the `initialize`.
    recipient: Recipient,
}

impl Drop for Founder {
    fn drop(&mut self) {
        let Self {
            session,
            lease,
            owed,
            path,
            keep,
            recipient: _,
        } = self;
        let Some(keep) = keep.upgrade().filter(|_| lease.is_some()) else {
            return;
        };
        keep.abandon(session);
        if let (Some(upstream), Some(path)) = (owed.take(), path.take()) {
            keep.return_to(session, upstream, path);
        }
    }
}

/// What the store has to do before a response leaves.
pub(super) enum Todo {
    /// Forget the session, which is over for its server.
    End {
        flight: Flight,
        key: SessionKey,
        /// Whether nobody else sees to it.
        is_first: bool,
    },
    /// Name the session that its server has given.
    Establish {
        founder: Founder,
        id: SessionId,
        upstream: HeaderValue,
    },
}

/// A response, or what has to be done for it first.
pub(super) enum Answer<B> {
    Ready(Response<ResponseBody<B>>),
    First(Todo, Response<B>),
}

impl From<Joined> for Role {
    fn from(joined: Joined) -> Self {
        let Joined {
            flight,
            outer,
            method,
        } = joined;
        // It was claimed when the request was joined.
        let ending = (method == Method::DELETE).then(|| Ending(flight.record().clone()));
        Self::Member(Member {
            flight,
            outer,
            ending,
        })
    }
}

impl Role {
    pub(super) fn founder(
        lease: SessionLease,
        keep: Weak<dyn Keep>,
        path: Option<Arc<Uri>>,
        recipient: Recipient,
    ) -> Self {
        Self::Founder(Founder {
            session: lease.record().clone(),
            lease: Some(lease),
            owed: None,
            path,
            keep,
            recipient,
        })
    }

    pub(super) fn answer<B, T>(self, mut response: Response<B>, shared: &Shared<T>) -> Answer<B>
    where
        B: Body<Data = Bytes>,
        T: SessionStore,
    {
        match self {
            Self::Pass => {
                // It is said with the response to an `initialize` only (SES-1).
                response.headers_mut().remove(MCP_SESSION_ID);
                Answer::Ready(pass(response))
            }
            Self::Member(member) => member.answer(response, shared),
            Self::Founder(founder) => founder.answer(response, shared),
        }
    }
}

impl Member {
    fn answer<B, T>(self, mut response: Response<B>, shared: &Shared<T>) -> Answer<B>
    where
        B: Body<Data = Bytes>,
        T: SessionStore,
    {
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
            // At once, and before another DELETE has its turn (D09).
            let is_first = shared.see_to_end(&flight);
            drop(ending);
            let todo = Todo::End {
                flight,
                key,
                is_first,
            };
            return Answer::First(todo, response);
        }
        // Some servers repeat the id.
        let theirs = headers.get(MCP_SESSION_ID);
        if theirs.is_some() && theirs == flight.upstream() {
            headers.insert(MCP_SESSION_ID, outer);
        } else {
            headers.remove(MCP_SESSION_ID);
        }
        Answer::Ready(hold(response, flight, None))
    }
}

impl Founder {
    fn answer<B, T>(mut self, mut response: Response<B>, shared: &Shared<T>) -> Answer<B> {
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
            return Answer::Ready(pass(response));
        };
        let id = if shared.config.passes_ids {
            Some(SessionId::digest(upstream.as_bytes()))
        } else {
            SessionId::mint()
        };
        self.owed = Some(upstream.clone());
        let Some(id) = id else {
            return self.refuse(Reason::Unavailable);
        };
        let todo = Todo::Establish {
            founder: self,
            id,
            upstream,
        };
        Answer::First(todo, response)
    }

    fn refuse<B>(self, reason: Reason) -> Answer<B> {
        Answer::Ready(respond(reason.refusal(), &self.recipient))
    }

    /// The response of a session that is there now, or is not.
    fn given<B>(
        mut self,
        outer: Option<HeaderValue>,
        done: Result<(), StoreError>,
        response: Response<B>,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let reason = match (done.map_err(|error| error.kind()), outer) {
            (Ok(()), Some(outer)) => {
                if let Some(lease) = self.lease.take() {
                    return self.respond(lease, outer, response);
                }
                Reason::Unavailable
            }
            (Err(StoreErrorKind::Conflict), _) => {
                // It is somebody else's: telling the server that it is over would end that one.
                self.owed = None;
                tracing::error!("a server gave two clients one session: the second is refused");
                Reason::BadUpstream
            }
            _ => Reason::Unavailable,
        };
        respond(reason.refusal(), &self.recipient)
    }

    fn respond<B>(
        &self,
        lease: SessionLease,
        outer: HeaderValue,
        mut response: Response<B>,
    ) -> Response<ResponseBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        response.headers_mut().insert(MCP_SESSION_ID, outer);
        let (session, keep) = (lease.record().clone(), Weak::clone(&self.keep));
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
        hold(response, Flight::alone(lease), Some(Box::new(learner)))
    }
}

impl Todo {
    /// Has the store do it.
    pub(super) fn start<T: SessionStore>(&self, shared: &Shared<T>) -> Started<T> {
        match self {
            Self::End { flight, key, .. } => Started::End(shared.store.end(*key, flight.owner())),
            Self::Establish {
                founder,
                id,
                upstream,
            } => {
                let key = id.key(shared.config.realm);
                let name = SessionName::new(key, id.secret, upstream.clone());
                let name = name.with_path(founder.path.clone());
                Started::Establish(shared.store.establish(&founder.session, name))
            }
        }
    }

    /// Who has to be refused if the store does not do it.
    pub(super) const fn recipient(&self) -> Option<&Recipient> {
        match self {
            // Its server has ended it: that is what the client is told.
            Self::End { .. } => None,
            Self::Establish { founder, .. } => Some(&founder.recipient),
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
            Self::Establish {
                founder,
                id,
                upstream,
            } => {
                if done.is_ok() {
                    shared.note_session();
                    shared.counters.count_opened();
                }
                let outer = if shared.config.passes_ids {
                    Some(upstream)
                } else {
                    id.to_header()
                };
                founder.given(outer, done, response)
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

fn pass<B>(response: Response<B>) -> Response<ResponseBody<B>> {
    response.map(|body| ResponseBody::plain(body::ResponseBody::inner(body)))
}

/// The response when the store takes too long.
pub(super) fn unavailable<B>(recipient: &Recipient) -> Response<ResponseBody<B>> {
    respond(Reason::Unavailable.refusal(), recipient)
}

pub(super) fn respond<B>(refusal: Refusal, recipient: &Recipient) -> Response<ResponseBody<B>> {
    refusal.into_response(recipient).map(ResponseBody::plain)
}

fn hold<B>(
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
