use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::digest::Digest;
use crate::auth::{Principal, Rejection};

/// Tokens that are being verified, so that each is by one only, however many requests bring it at once.
///
/// There is one for every request that is having a signature verified or waits for that, and no more.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashMap<Digest, watch::Receiver<Landed>>>,
}

/// What came out; `None` until then.
type Landed = Option<Result<Principal, Rejection>>;

/// Whose turn it is to verify a token.
pub(super) enum Boarding {
    Mine(Turn),
    Theirs(Flight),
}

/// It is one's own turn. When it is dropped without an outcome, it is somebody else's.
pub(super) struct Turn {
    flights: Arc<Flights>,
    digest: Digest,
    landed: watch::Sender<Landed>,
    is_over: bool,
}

/// Somebody else verifies that token.
pub(super) struct Flight {
    landed: watch::Receiver<Landed>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Landed>>> {
        // Nothing in here can panic half way.
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn board(self: &Arc<Self>, digest: &Digest) -> Boarding {
        let mut under_way = self.lock();
        if let Some(landed) = under_way.get(digest) {
            return Boarding::Theirs(Flight {
                landed: landed.clone(),
            });
        }
        let (landed, receiver) = watch::channel(None);
        under_way.insert(*digest, receiver);
        Boarding::Mine(Turn {
            flights: Arc::clone(self),
            digest: *digest,
            landed,
            is_over: false,
        })
    }
}

impl Turn {
    /// Tells the outcome to everybody who waits for it.
    pub(super) fn land(mut self, outcome: &Result<Principal, Rejection>) {
        self.close();
        // Nobody comes to wait any more.
        if self.landed.receiver_count() > 0 {
            self.landed.send_replace(Some(outcome.clone()));
        }
    }

    fn close(&mut self) {
        // Once: the next one may have begun.
        if !self.is_over {
            self.is_over = true;
            self.flights.lock().remove(&self.digest);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.close();
    }
}

impl Flight {
    /// The outcome; `None` if whose turn it was has gone away.
    pub(super) async fn outcome(mut self) -> Landed {
        let landed = self.landed.wait_for(Option::is_some).await;
        landed.ok()?.clone()
    }
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("under_way", &self.lock().len())
            .finish()
    }
}
