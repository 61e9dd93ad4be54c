use std::sync::{Arc, Weak};

use tokio::time::sleep_until;

use super::shared::Shared;

/// The task that forgets streams when their time has come, until there are none, or no store.
pub(super) struct Sweeper {
    store: Weak<Shared>,
    is_over: bool,
}

impl Sweeper {
    pub(super) fn new(store: &Arc<Shared>) -> Self {
        Self {
            store: Arc::downgrade(store),
            is_over: false,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let next = match self.store.upgrade() {
                Some(store) => store.sweep(),
                None => None,
            };
            let Some(next) = next else {
                // The store knows, and may have another task by now.
                self.is_over = true;
                return;
            };
            sleep_until(next).await;
        }
    }
}

/// Dropped with its runtime, it must not leave a store behind that believes to be swept.
impl Drop for Sweeper {
    fn drop(&mut self) {
        if !self.is_over
            && let Some(store) = self.store.upgrade()
        {
            store.registry().is_swept = false;
        }
    }
}
