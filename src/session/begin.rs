use std::sync::Arc;

use http::{Request, Response};
use tower_service::Service;

use super::{
    Session,
    answer::Role,
    flight::{Flight, Ids},
    id,
    keep::at_once,
    layer::Shared,
    lookup::{self, Lookup},
    pending::{LookingUp, Wait},
    reaper,
    reason::Reason,
};
use crate::{
    message::Message,
    refusal::Recipient,
    store::{Owner, SessionLease, SessionStore, StoreError, StoreErrorKind},
};

/// What has come of a request before the inner service is called.
pub(super) enum Begun {
    /// It is to be called.
    Ready(Role),
    /// It is not.
    Refused(Reason, Recipient),
    /// The store has to say something first. Only then there is a box.
    Waiting(LookingUp, Lookup),
}

/// Looks up what a request is in, or wants to open.
pub(super) fn begin<S, B, ResBody, T>(
    request: &mut Request<B>,
    service: &S,
    shared: &Arc<Shared<T>>,
) -> Begun
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    B: From<bytes::Bytes> + 'static,
    ResBody: 'static,
    T: SessionStore,
{
    let lookup = match lookup::judge(request, shared) {
        Ok(None) => return Begun::Ready(Role::Pass),
        Ok(Some(lookup)) => lookup,
        Err(reason) => return refused(request, reason),
    };
    reaper::start(shared, service);
    let wait = match &lookup {
        Lookup::Join { id, owner } => {
            match at_once(shared.store.load(id.key(shared.config.realm), *owner)) {
                Ok(loaded) => return resume(request, lookup, loaded, shared),
                Err(load) => Box::pin(load) as Wait,
            }
        }
        Lookup::Open { owner } => {
            let Some(nonce) = id::random() else {
                return refused(request, Reason::Unavailable);
            };
            // Whoever stores something for the session does so before it has a name.
            let principal = (!owner.is_anonymous()).then(|| owner.as_bytes().as_slice());
            let streams = Owner::new(principal, Some(&nonce));
            match at_once(shared.store.open(*owner, streams)) {
                Ok(opened) => return resume(request, lookup, opened, shared),
                Err(open) => Box::pin(open) as Wait,
            }
        }
    };
    let opens = matches!(lookup, Lookup::Open { .. });
    let limit = shared.config.store_timeout;
    let looking_up = LookingUp::new(wait, opens, limit, Arc::clone(shared) as _);
    Begun::Waiting(looking_up, lookup)
}

/// Goes on once the store has said what it has.
pub(super) fn resume<B, T>(
    request: &mut Request<B>,
    lookup: Lookup,
    said: Result<SessionLease, StoreError>,
    shared: &Arc<Shared<T>>,
) -> Begun
where
    T: SessionStore,
{
    match lookup {
        Lookup::Join { id, owner: _ } => match lookup::join(request, &id, said, shared) {
            Ok(joined) => Begun::Ready(Role::from(joined)),
            Err(reason) => refused(request, reason),
        },
        Lookup::Open { owner: _ } => match said {
            Ok(lease) => {
                let session = Session::new(lease.record().clone());
                request.extensions_mut().insert(session);
                let path = shared.paths.of(request.uri());
                let message = request.extensions().get::<Message>();
                let ids = match message.map(Message::peek) {
                    Some(Ok(peek)) => Ids::of(&peek),
                    _ => Ids::None,
                };
                let flight = Flight::first(lease, ids);
                let keep = Arc::clone(shared) as _;
                Begun::Ready(Role::opening(flight, keep, path, recipient(request)))
            }
            Err(error) => refused(request, full(&error)),
        },
    }
}

/// B19.
fn full(error: &StoreError) -> Reason {
    match error.kind() {
        StoreErrorKind::OverQuota => {
            tracing::warn!("a principal has too many sessions");
            Reason::OverQuota
        }
        _ => {
            tracing::warn!(%error, "no session can be opened");
            Reason::Unavailable
        }
    }
}

fn refused<B>(request: &Request<B>, reason: Reason) -> Begun {
    Begun::Refused(reason, recipient(request))
}

fn recipient<B>(request: &Request<B>) -> Recipient {
    Recipient::from(request.extensions().get::<Message>())
}
