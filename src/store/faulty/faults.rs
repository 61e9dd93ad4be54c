use std::{
    collections::VecDeque,
    future::{Future, pending, poll_fn},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use super::FaultyFuture;
use crate::store::{StoreError, StoreErrorKind};

/// What is wrong with a [`FaultyStore`](super::FaultyStore). A clone controls the same faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    pause: u32,
    is_down: bool,
    failures: VecDeque<(Operation, Fault)>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Fail(Moment),
    Hang(Moment),
}

/// What a store is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`EventStore::open`](crate::store::EventStore::open)
    Open,
    /// [`EventStore::read`](crate::store::EventStore::read)
    Read,
    /// [`EventStore::watch`](crate::store::EventStore::watch)
    Watch,
    /// [`EventStore::purge`](crate::store::EventStore::purge)
    Purge,
    /// [`EventWriter::append`](crate::store::EventWriter::append)
    Append,
    /// [`EventWriter::close`](crate::store::EventWriter::close)
    Close,
    /// `SessionStore::open`
    OpenSession,
    /// `SessionStore::establish`
    EstablishSession,
    /// `SessionStore::abandon`
    AbandonSession,
    /// `SessionStore::load`
    LoadSession,
    /// `SessionStore::learn`
    LearnSession,
    /// `SessionStore::end`
    EndSession,
    /// `SessionStore::expire`
    ExpireSessions,
    /// `SessionStore::list`
    ListSessions,
}

/// When an operation fails, or hangs: the caller cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Moment {
    /// It has no effect.
    Before,
    /// It has all of its effect.
    After,
}

impl Faults {
    /// Lets each operation that starts from now on wait for so many polls before it has its effect,
    /// and for as many after. Dropped before its effect, it has none.
    pub fn slow_down(&self, polls: u32) {
        self.lock().pause = polls;
    }

    /// Fails the next such operation with `Unavailable`; called again, also the one after that.
    pub fn fail_next(&self, operation: Operation, moment: Moment) {
        let fault = Fault::Fail(moment);
        self.lock().failures.push_back((operation, fault));
    }

    /// Never answers the next such operation. Like a failure, it comes in its turn.
    pub fn hang_next(&self, operation: Operation, moment: Moment) {
        let fault = Fault::Hang(moment);
        self.lock().failures.push_back((operation, fault));
    }

    /// Fails all operations that start until the store is up again, before they have any effect.
    pub fn set_down(&self, is_down: bool) {
        self.lock().is_down = is_down;
    }

    /// Has `start` start the operation in its time.
    pub(super) fn apply<F, T: Send>(
        &self,
        operation: Operation,
        start: impl FnOnce() -> F + Send + 'static,
    ) -> FaultyFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let (polls, fault) = self.lock().next(operation);
        Box::pin(async move {
            pause(polls).await;
            match fault {
                Some(Fault::Fail(Moment::Before)) => return Err(failure()),
                Some(Fault::Hang(Moment::Before)) => pending().await,
                _ => {}
            }
            let result = start().await;
            pause(polls).await;
            match fault {
                Some(Fault::Fail(Moment::After)) => Err(failure()),
                Some(Fault::Hang(Moment::After)) => pending().await,
                _ => result,
            }
        })
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        // Nothing in here can panic half way.
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Script {
    fn next(&mut self, operation: Operation) -> (u32, Option<Fault>) {
        let fault = if self.is_down {
            Some(Fault::Fail(Moment::Before))
        } else {
            let mut failures = self.failures.iter();
            let at = failures.position(|(of, _)| *of == operation);
            at.and_then(|at| self.failures.remove(at))
                .map(|(_, fault)| fault)
        };
        (self.pause, fault)
    }
}

fn failure() -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, "a fault that was asked for")
}

async fn pause(polls: u32) {
    let mut left = polls;
    poll_fn(|cx| match left.checked_sub(1) {
        Some(less) => {
            left = less;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => Poll::Ready(()),
    })
    .await;
}
