use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{Context, Denial, Message, Pause};

/// The messages that are held, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    held: BTreeMap<u64, Held>,
}

/// A message that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) cx: Context,
    pub(super) message: Message,
    pub(super) since: Instant,
    pub(super) deadline: Duration,
    /// `None` as long as nobody has decided.
    decided: Option<Decided>,
    waker: Option<Waker>,
}

/// What somebody has decided.
#[derive(Clone, Debug)]
pub(super) enum Decided {
    Release,
    Replace(Message),
    Refuse(Denial),
}

/// A message's place among those that are held; gives it back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    pauses: Arc<Pauses>,
    number: u64,
}

impl Decided {
    /// What it is called in logs.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Replace(_) => "replace",
            Self::Refuse(_) => "refuse",
        }
    }
}

impl Pauses {
    /// Holds a message, unless there are `max` already.
    pub(super) fn hold(
        self: &Arc<Self>,
        cx: &Context,
        message: &Message,
        pause: Pause,
        max: usize,
    ) -> Option<Ticket> {
        let mut table = self.lock();
        if table.held.len() >= max {
            return None;
        }
        let number = table.next;
        table.next += 1;
        let held = Held {
            cx: cx.clone(),
            message: message.clone(),
            since: Instant::now(),
            deadline: pause.deadline(),
            decided: None,
            waker: None,
        };
        table.held.insert(number, held);
        Some(Ticket {
            pauses: Arc::clone(self),
            number,
        })
    }

    /// How many are held about which nobody has decided.
    pub(super) fn count(&self) -> usize {
        let table = self.lock();
        let open = table.held.values().filter(|held| held.decided.is_none());
        open.count()
    }

    /// Looks at those about which nobody has decided.
    pub(super) fn look<T>(&self, look: impl Fn(u64, &Held) -> T) -> Vec<T> {
        let table = self.lock();
        let open = table.held.iter().filter(|(_, held)| held.decided.is_none());
        open.map(|(number, held)| look(*number, held)).collect()
    }

    /// The message of that number, if nobody has decided about it.
    pub(super) fn message(&self, number: u64) -> Option<Message> {
        let table = self.lock();
        let held = table.held.get(&number)?;
        held.decided.is_none().then(|| held.message.clone())
    }

    /// Decides about a message. False if it is not held, or somebody has been faster.
    pub(super) fn decide(&self, number: u64, decided: Decided) -> bool {
        let mut table = self.lock();
        let held = table.held.get_mut(&number);
        let Some(held) = held.filter(|held| held.decided.is_none()) else {
            return false;
        };
        held.decided = Some(decided);
        let waker = held.waker.take();
        drop(table);
        // Not with the table locked: whoever is woken may come back at once.
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    // Nothing of others runs with it locked, so nobody has left it half done.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits for a decision.
    pub(super) fn poll(&self, cx: &mut TaskContext<'_>) -> Poll<Decided> {
        let mut table = self.pauses.lock();
        let Some(held) = table.held.get_mut(&self.number) else {
            // It is there as long as its ticket.
            return Poll::Ready(Decided::Release);
        };
        if let Some(decided) = held.decided.take() {
            // Taken by the one who drops the ticket next, so nobody decides again.
            held.decided = Some(Decided::Release);
            return Poll::Ready(decided);
        }
        match &mut held.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            None => held.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits no longer. What was decided in the meantime counts, and nothing after that.
    pub(super) fn close(&self) -> Option<Decided> {
        let mut table = self.pauses.lock();
        let held = table.held.get_mut(&self.number)?;
        held.decided.replace(Decided::Release)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let held = self.pauses.lock().held.remove(&self.number);
        // What it holds may run code of others: not with the table locked.
        drop(held);
    }
}
