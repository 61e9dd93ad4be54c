//! hyper's timer for one connection.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt;
use tokio::time::{self, Instant};

/// What ends a connection whose client takes too long for its next request head.
///
/// hyper makes a timer each time that it begins to wait for a head, and drops it when the head is
/// there. To set one in the runtime and to take it out again costs more than to read the head; here it
/// is left where it is, and moved only when it fires too early.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadTimer {
    set: Arc<Mutex<Option<Pin<Box<time::Sleep>>>>>,
}

/// One wait.
#[derive(Debug)]
struct Wait {
    until: Instant,
    timer: HeadTimer,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut set = self
            .timer
            .set
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let sleep = set.get_or_insert_with(|| Box::pin(time::sleep_until(self.until)));
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= self.until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.until);
        }
    }
}

impl rt::Sleep for Wait {}

#[expect(
    clippy::disallowed_types,
    reason = "hyper names the standard clock; all come from tokio's"
)]
impl rt::Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Wait {
            until: Instant::from_std(deadline),
            timer: self.clone(),
        })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}
