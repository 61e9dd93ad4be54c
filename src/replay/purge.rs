use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::runtime::Handle;

use super::{hub::Hub, layer::Shared, whose::Session};
use crate::store::{EventStore, Owner};

/// Ends the streams of a session that is over, and forgets what they said (RPL-10).
///
/// The store may take its time; until it is done, nobody resumes them.
pub(super) fn purge<T: EventStore>(
    store: &T,
    hub: &Arc<Hub>,
    owner: Owner,
    runtime: Option<&Handle>,
) {
    for stream in hub.purge(&owner) {
        stream.terminate();
    }
    let mut purge = store.purge(owner);
    let hub = Arc::clone(hub);
    let tell = move |purged| {
        hub.purged(&owner);
        if let Err(error) = purged {
            tracing::warn!(%error, "the streams of a session that is over are not forgotten");
        }
    };
    // A task that goes on asks again, and is woken.
    match Pin::new(&mut purge).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(purged) => tell(purged),
        // A session is ended once, so this is no task per request.
        Poll::Pending => {
            if let Some(runtime) = runtime {
                runtime.spawn(async move { tell(purge.await) });
            }
        }
    }
}

/// Has the streams of a session end with it, whoever ends it. Once said is enough.
pub(super) fn purge_at_end<T: EventStore>(
    shared: &Shared<T>,
    session: &Session,
    runtime: Option<Handle>,
) {
    let owner = session.owner();
    let (store, hub) = (shared.store.clone(), Arc::clone(&shared.hub));
    session.on_end(shared.hub.end_key, move || {
        purge(&store, &hub, owner, runtime.as_ref());
    });
}
