//! Named places where one task waits until another, or another request, lets it go on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The gates that somebody waits at, by name. Holds nothing for a name nobody waits at.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates {
    closed: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// A closed gate with one waiter; dropping it forgets the name.
#[derive(Debug)]
pub(super) struct Gate {
    gates: Gates,
    name: String,
    opened: Arc<Notify>,
}

impl Gates {
    /// Puts up a closed gate, or `None` if one of that name stands already.
    pub(super) fn close(&self, name: impl Into<String>) -> Option<Gate> {
        let name = name.into();
        let opened = match self.lock().entry(name.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(vacant) => vacant.insert(Arc::default()).clone(),
        };
        Some(Gate {
            gates: self.clone(),
            name,
            opened,
        })
    }

    /// Lets the waiter go on, now or as soon as it arrives; `false` without such a gate.
    pub(super) fn open(&self, name: &str) -> bool {
        let opened = self.lock().get(name).cloned();
        // `notify_one` keeps a permit for a waiter that put up the gate but is not yet waiting.
        opened.map(|opened| opened.notify_one()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Notify>>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    pub(super) async fn opened(&self) {
        self.opened.notified().await;
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.gates.lock().remove(&self.name);
    }
}
