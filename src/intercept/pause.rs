use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::{Future, poll_fn},
    mem,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::{Context, Denial, Message, Pause};
use crate::{deadline::Deadline, store::Owner};

/// The messages that are held, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    table: Mutex<Table>,
    /// Told of each change of what is held.
    changed: Notify,
}

/// How much may be held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Messages; `None` is a quarter of all.
    pub(super) per_owner: Option<usize>,
    /// The longest text in a message's place, in bytes.
    pub(super) replacement: usize,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// About which nobody has decided.
    held: BTreeMap<u64, Held>,
    /// When those are over that ever are.
    deadlines: BTreeSet<(Instant, u64)>,
    /// What was decided, until the message takes it.
    decided: HashMap<u64, Decided>,
    total: Share,
    owners: HashMap<Owner, Share>,
}

/// What some of the messages come to.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    messages: usize,
    bytes: usize,
}

/// A message that is held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) cx: Context,
    pub(super) message: Message,
    pub(super) since: Instant,
    pub(super) deadline: Duration,
    pub(super) max_bytes: usize,
    /// `None` if that is never.
    over: Option<Instant>,
    owner: Owner,
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
    over: Option<Instant>,
}

impl Bounds {
    fn per_owner(&self) -> usize {
        self.per_owner.unwrap_or(self.messages.div_ceil(4))
    }

    /// How many bytes an owner may have who has more than one message: as much of all bytes as of all
    /// messages.
    fn bytes_per_owner(&self) -> usize {
        let all = self.messages.max(1);
        let part = self.per_owner().min(all);
        let bytes = self.bytes as u128 * part as u128 / all as u128;
        usize::try_from(bytes).unwrap_or(self.bytes)
    }
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
    /// Holds a message, unless there is no room for it.
    pub(super) fn hold(
        self: &Arc<Self>,
        cx: &Context,
        message: &Message,
        pause: Pause,
        bounds: &Bounds,
    ) -> Option<Ticket> {
        let owner = cx.owner();
        let ticket = self.with(|table, now| {
            if !table.has_room(&owner, message.held_len(), bounds) {
                return None;
            }
            let over = now.checked_add(pause.deadline());
            let number = table.insert(Held {
                cx: cx.clone(),
                message: message.clone(),
                since: now,
                deadline: pause.deadline(),
                max_bytes: bounds.replacement,
                over,
                owner,
                waker: None,
            });
            Some(Ticket {
                pauses: Arc::clone(self),
                number,
                over,
            })
        })?;
        self.changed.notify_waiters();
        Some(ticket)
    }

    /// How many are held.
    pub(super) fn count(&self) -> usize {
        self.with(|table, _| table.held.len())
    }

    /// Looks at those that are held, oldest first.
    pub(super) fn look<T>(&self, look: impl Fn(u64, &Held, Instant) -> T) -> Vec<T> {
        self.with(|table, now| {
            let held = table.held.iter();
            held.map(|(number, held)| look(*number, held, now))
                .collect()
        })
    }

    /// The message of that number, if it is held, and how long one in its place may be.
    pub(super) fn message(&self, number: u64) -> Option<(Message, usize)> {
        self.with(|table, _| {
            let held = table.held.get(&number)?;
            Some((held.message.clone(), held.max_bytes))
        })
    }

    /// Decides about a message. False if it is not held, or not any more.
    pub(super) fn decide(&self, number: u64, decided: Decided) -> bool {
        let mut decided = Some(decided);
        let held = self.with(|table, _| {
            let held = table.remove(number)?;
            table
                .decided
                .extend(decided.take().map(|one| (number, one)));
            Some(held)
        });
        let is_held = held.is_some();
        self.let_go(held);
        is_held
    }

    /// Waits until what is held is not what it was when this was called.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        // Before the look at the deadlines, so that nothing comes between the two.
        let changed = self.changed.notified();
        let over = self.with(|table, _| Some(table.deadlines.first()?.0));
        async move {
            let (mut changed, mut deadline) = (pin!(changed), pin!(Deadline::new()));
            poll_fn(|cx| match (changed.as_mut().poll(cx), over) {
                (Poll::Pending, Some(over)) => deadline.as_mut().poll_until(over, cx),
                (changed, _) => changed,
            })
            .await;
        }
    }

    /// Works with the table, after those have left it whose deadline has passed: their bodies may not have
    /// been polled since.
    fn with<T>(&self, work: impl FnOnce(&mut Table, Instant) -> T) -> T {
        let now = Instant::now();
        let mut table = self.lock();
        let over = table.expire(now);
        let result = work(&mut table, now);
        drop(table);
        self.let_go(over);
        result
    }

    /// Tells those that they are not held any more. Not with the table locked: whoever is woken may come
    /// back at once, and what is dropped may run code of others.
    fn let_go(&self, gone: impl IntoIterator<Item = Held>) {
        let mut is_changed = false;
        for held in gone {
            is_changed = true;
            if let Some(waker) = held.waker {
                waker.wake();
            }
        }
        if is_changed {
            self.changed.notify_waiters();
        }
    }

    // Nothing of others runs with it locked, so nobody has left it half done.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn has_room(&self, owner: &Owner, len: usize, bounds: &Bounds) -> bool {
        let own = self.owners.get(owner).copied().unwrap_or_default();
        self.total.messages < bounds.messages
            && self.total.with(len) <= bounds.bytes
            && own.messages < bounds.per_owner()
            // The first one may take more than its share, or long messages could never be held.
            && (own.messages == 0 || own.with(len) <= bounds.bytes_per_owner())
    }

    fn insert(&mut self, held: Held) -> u64 {
        let number = self.next;
        self.next += 1;
        let len = held.message.held_len();
        self.total.add(len);
        self.owners.entry(held.owner).or_default().add(len);
        self.deadlines.extend(held.over.map(|over| (over, number)));
        self.held.insert(number, held);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        let len = held.message.held_len();
        self.total.take(len);
        if let Some(own) = self.owners.get_mut(&held.owner) {
            own.take(len);
            if own.messages == 0 {
                self.owners.remove(&held.owner);
            }
        }
        if let Some(over) = held.over {
            self.deadlines.remove(&(over, number));
        }
        Some(held)
    }

    /// Removes those whose deadline has passed.
    fn expire(&mut self, now: Instant) -> Vec<Held> {
        let mut gone = Vec::new();
        while let Some(&(over, number)) = self.deadlines.first()
            && over <= now
        {
            self.deadlines.pop_first();
            gone.extend(self.remove(number));
        }
        gone
    }
}

impl Share {
    const fn with(self, len: usize) -> usize {
        self.bytes.saturating_add(len)
    }

    const fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len;
    }

    const fn take(&mut self, len: usize) {
        self.messages -= 1;
        self.bytes -= len;
    }
}

impl Ticket {
    /// When its deadline has passed; `None` if that is never.
    pub(super) const fn over(&self) -> Option<Instant> {
        self.over
    }

    /// Waits for a decision; there is none if the deadline has passed.
    pub(super) fn poll(&self, cx: &mut TaskContext<'_>) -> Poll<Option<Decided>> {
        // A waker is somebody's too: it is cloned, and the old one dropped, with the table unlocked.
        let mut waker = Some(cx.waker().clone());
        self.pauses
            .with(|table, _| match table.held.get_mut(&self.number) {
                Some(held) => {
                    mem::swap(&mut held.waker, &mut waker);
                    Poll::Pending
                }
                None => Poll::Ready(table.decided.remove(&self.number)),
            })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let (held, _decided) = self.pauses.with(|table, _| {
            let held = table.remove(self.number);
            (held, table.decided.remove(&self.number))
        });
        // Its waker is that of whoever gives it up.
        if held.is_some() {
            self.pauses.changed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http::Extensions;

    use super::{super::Direction, *};

    fn held(pauses: &Arc<Pauses>, deadline: Duration) -> Ticket {
        const BOUNDS: Bounds = Bounds {
            messages: 4,
            bytes: 1_000,
            per_owner: Some(4),
            replacement: 1_000,
        };
        let cx = Context::new(Direction::ToServer, Extensions::new());
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#;
        let message = Message::read(message).expect("a message");
        let pause = Pause::new().with_deadline(deadline);
        let ticket = pauses.hold(&cx, &message, pause, &BOUNDS);
        ticket.expect("there is room")
    }

    #[tokio::test(start_paused = true)]
    async fn decision_counts_once_and_never_after_the_deadline() {
        let minute = Duration::from_secs(60);
        let pauses = Arc::default();
        let ticket = held(&pauses, minute);
        let mut cx = TaskContext::from_waker(Waker::noop());
        assert!(ticket.poll(&mut cx).is_pending());
        assert!(pauses.decide(0, Decided::Release));
        assert!(!pauses.decide(0, Decided::Release), "once");
        tokio::time::advance(minute).await;
        let decided = ticket.poll(&mut cx);
        assert!(matches!(decided, Poll::Ready(Some(Decided::Release))));
        assert!(!pauses.decide(0, Decided::Release), "it has gone on");
        let ticket = held(&pauses, minute);
        tokio::time::advance(minute).await;
        assert!(!pauses.decide(1, Decided::Release), "too late");
        assert!(matches!(ticket.poll(&mut cx), Poll::Ready(None)));
    }

    #[test]
    fn nothing_is_left_of_what_is_gone() {
        let pauses: Arc<Pauses> = Arc::default();
        drop(held(&pauses, Duration::MAX));
        drop(held(&pauses, Duration::ZERO));
        let decided = held(&pauses, Duration::from_secs(60));
        assert!(pauses.decide(2, Decided::Release));
        drop(decided);
        let expired = held(&pauses, Duration::ZERO);
        assert_eq!(pauses.count(), 0);
        drop(expired);
        let table = pauses.lock();
        assert!(table.held.is_empty() && table.deadlines.is_empty());
        assert!(table.decided.is_empty() && table.owners.is_empty());
        assert_eq!((table.total.messages, table.total.bytes), (0, 0));
    }
}
