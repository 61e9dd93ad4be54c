use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{
    authorizer::{Shared, Step},
    digest::Digest,
};
use crate::auth::{Principal, Rejection};

/// The decision of a [`JwtAuthorizer`](super::JwtAuthorizer) that is not there at once: keys are being
/// fetched, the same token is being verified for somebody else, or so many are that this one is on
/// another thread.
///
/// Dropped, it lets go of all that. A fetch goes on for the others, and so does a check that has begun.
#[must_use = "futures do nothing unless polled"]
pub struct Deciding {
    // Boxed, because it is rare, and nobody should carry it about who has no use for it.
    decision: Pin<Box<dyn Future<Output = Result<Principal, Rejection>> + Send>>,
}

impl Deciding {
    pub(super) fn new(shared: &Arc<Shared>, token: &str, digest: Digest, step: Step) -> Self {
        let decision = decide(Arc::clone(shared), token.into(), digest, step);
        Self {
            decision: Box::pin(decision),
        }
    }
}

impl Future for Deciding {
    type Output = Result<Principal, Rejection>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().decision.as_mut().poll(cx)
    }
}

async fn decide(
    shared: Arc<Shared>,
    token: Arc<str>,
    digest: Digest,
    mut step: Step,
) -> Result<Principal, Rejection> {
    let mut waits = true;
    loop {
        match step {
            Step::Decided(decided) => return decided,
            Step::Keys(wait) => {
                wait.over().await;
                // Whatever came of it: a token has to be content with one fetch.
                waits = false;
            }
            Step::Wait(flight) => {
                if let Some(landed) = flight.outcome().await {
                    return landed;
                }
            }
            Step::Check(check, payload, place) => {
                // Whoever goes away while this waits gives its turn to the next one.
                let Some(permit) = place.turn().await else {
                    return Err(Rejection::unavailable(Duration::from_secs(1)));
                };
                let (shared, token) = (Arc::clone(&shared), Arc::clone(&token));
                let checked = spawn_blocking(move || {
                    let outcome = shared.check_there(check, &token, &payload);
                    drop(permit);
                    outcome
                });
                let Ok(outcome) = checked.await else {
                    // The runtime is being shut down.
                    return Err(Rejection::unavailable(Duration::from_secs(1)));
                };
                return outcome;
            }
        }
        step = shared.next(&token, &digest, waits);
    }
}

impl fmt::Debug for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deciding").finish_non_exhaustive()
    }
}
