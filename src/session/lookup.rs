use std::mem;

use http::{HeaderMap, HeaderValue, Method, Request};

use super::{
    Session,
    ending::Ending,
    flight::{Flight, Ids},
    id,
    id::SessionId,
    layer::Shared,
    reason::Reason,
};
use crate::{
    auth::Principal,
    header::{LAST_EVENT_ID, MCP_SESSION_ID},
    jsonrpc::Kind,
    message::{Message, classify},
    protocol::{Era, ProtocolVersion},
    store::{Owner, SessionLease, StoreError, StoreErrorKind},
};

/// What a request wants of sessions.
pub(super) enum Lookup {
    /// One is to be opened.
    Open { owner: Owner },
    /// It is in one.
    Join { id: SessionId, owner: Owner },
}

/// A request that was found to be in a session.
pub(super) struct Joined {
    pub(super) flight: Flight,
    /// The id as the client sent it.
    pub(super) outer: HeaderValue,
    /// Of a DELETE.
    pub(super) ending: Option<Ending>,
}

/// What a request wants, before its session is looked up; `None` if it has nothing to do with any.
pub(super) fn judge<B, T>(
    request: &mut Request<B>,
    shared: &Shared<T>,
) -> Result<Option<Lookup>, Reason> {
    let extensions = request.extensions();
    let message = extensions.get::<Message>();
    let era = Era::told(extensions, message).unwrap_or_else(|| {
        let peek = message.map(Message::peek);
        let peek = peek
            .as_ref()
            .map(|peek| peek.as_ref().map_err(|error| *error));
        classify(request.method(), request.headers(), peek).era
    });
    if era == Era::Stateless {
        // Whoever looks at them nevertheless must not find somebody else's (ERA-3, AMB-2).
        let headers = request.headers_mut();
        headers.remove(MCP_SESSION_ID);
        headers.remove(LAST_EVENT_ID);
        return Ok(None);
    }
    let is_post = request.method() == Method::POST;
    let may_need_one = is_post || matches!(*request.method(), Method::GET | Method::DELETE);
    let named = named(request.headers())?;
    if named.is_none() && !may_need_one {
        return Ok(None);
    }
    let principal = extensions.get::<Principal>();
    let owner = match principal {
        Some(principal) => shared.bind(principal),
        None if shared.config.allows_anonymous => Owner::ANONYMOUS,
        None => {
            tracing::error!("a request has no principal: nothing outside authenticates");
            return Err(Reason::Unauthenticated);
        }
    };
    let opens = is_post && message.is_some_and(is_initialize);
    match named {
        Some(_) if opens => Err(Reason::Misplaced),
        Some(name) => {
            let id = if shared.config.passes_ids {
                Some(SessionId::digest(name.as_bytes()))
            } else {
                SessionId::parse(name.as_bytes())
            };
            match id {
                Some(id) => Ok(Some(Lookup::Join { id, owner })),
                None => Err(unknown(shared)),
            }
        }
        None if opens => Ok(Some(Lookup::Open { owner })),
        None if era.has_sessions() && shared.gives_sessions() => Err(Reason::Missing),
        None => Ok(None),
    }
}

/// The one session id that a request has, if any.
fn named(headers: &HeaderMap) -> Result<Option<&HeaderValue>, Reason> {
    // To hash a name of our own takes as long as to look at a dozen, and few requests have more fields.
    let Some((_, value)) = headers.iter().find(|(name, _)| **name == MCP_SESSION_ID) else {
        return Ok(None);
    };
    // Nearly no request has any field twice, and then nothing need be looked up for it.
    let is_repeated = headers.len() > headers.keys_len()
        && headers.get_all(MCP_SESSION_ID).iter().nth(1).is_some();
    if is_repeated || !id::is_legal(value.as_bytes(), SessionId::MAX_LEN) {
        return Err(Reason::Malformed);
    }
    Ok(Some(value))
}

/// Whether a message opens a session. A notification of that name does not.
fn is_initialize(message: &Message) -> bool {
    let Ok(peek) = message.peek() else {
        return false;
    };
    peek.single().is_some_and(|one| {
        one.kind() == Kind::Request && one.method_bytes().as_deref() == Some(b"initialize")
    })
}

/// Makes a request one of the session that was found for it, or was not.
pub(super) fn join<B, T>(
    request: &mut Request<B>,
    id: &SessionId,
    loaded: Result<SessionLease, StoreError>,
    shared: &Shared<T>,
) -> Result<Joined, Reason> {
    let lease = match loaded {
        Ok(lease) if lease.verify(&id.secret) => lease,
        Ok(_) => return Err(unknown(shared)),
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Err(unknown(shared)),
        // Not 404: the session may be there (SES-4).
        Err(error) => {
            tracing::warn!(%error, "a session cannot be looked up");
            return Err(Reason::Unavailable);
        }
    };
    shared.note_session();
    let message = request.extensions().get::<Message>();
    let (ids, is_batch) = match message.map(Message::peek) {
        Some(Ok(peek)) => (Ids::of(&peek), peek.is_batch()),
        _ => (Ids::None, false),
    };
    if let Some(version) = lease.version() {
        let told = Era::told(request.extensions(), message);
        follow(request, version, told, is_batch)?;
    }
    // The claim goes with it if the request is refused after all.
    let flight = Flight::start(lease, ids).map_err(|_| Reason::Repeated)?;
    let is_delete = request.method() == Method::DELETE;
    let field = request.headers_mut().get_mut(MCP_SESSION_ID);
    let (Some(upstream), Some(field)) = (flight.upstream(), field) else {
        return Err(unknown(shared));
    };
    let outer = if shared.config.passes_ids {
        field.clone()
    } else {
        mem::replace(field, upstream.clone())
    };
    // One asks the server, and another one finds the session about to end (D09).
    let mut ending = None;
    if is_delete {
        ending = Ending::claim(&flight, &shared.backlog);
        if ending.is_none() {
            return Err(unknown(shared));
        }
    }
    // A slow store may have found it before it ended.
    if flight.is_ended() {
        return Err(unknown(shared));
    }
    let session = Session::new(flight.record().clone());
    request.extensions_mut().insert(session);
    Ok(Joined {
        flight,
        outer,
        ending,
    })
}

/// Has a request follow what its session has agreed on, whatever its header says (VER-3).
fn follow<B>(
    request: &mut Request<B>,
    version: ProtocolVersion,
    told: Option<Era>,
    is_batch: bool,
) -> Result<(), Reason> {
    let agreed = Era::from(version);
    if is_batch && !agreed.allows_batches() {
        return Err(Reason::Batch);
    }
    if told != Some(agreed) {
        tracing::debug!(%version, ?told, "a request is of another revision than its session");
        request.extensions_mut().insert(agreed);
    }
    Ok(())
}

fn unknown<T>(shared: &Shared<T>) -> Reason {
    shared.counters.count_unknown();
    Reason::Unknown
}
