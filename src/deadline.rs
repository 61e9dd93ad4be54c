//! A timer that costs nothing until somebody has to wait.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;
#[cfg(any(feature = "auth", feature = "intercept"))]
use tokio::time::{Instant, sleep_until};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep},
};

pin_project! {
    /// Started by the first poll, not when it is made.
    #[derive(Debug)]
    pub(crate) struct Deadline {
        #[pin]
        sleep: Option<Sleep>,
    }
}

impl Deadline {
    pub(crate) const fn new() -> Self {
        Self { sleep: None }
    }

    /// Ready once `after` has passed since the first poll. Outside of a runtime, where there are no
    /// timers, it never is.
    pub(crate) fn poll(self: Pin<&mut Self>, after: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.sleep.is_none() && Handle::try_current().is_ok() {
            this.sleep.set(Some(sleep(after)));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(any(feature = "auth", feature = "intercept"))]
impl Deadline {
    /// Ready once it is `at`, or what the first poll was given.
    pub(crate) fn poll_until(self: Pin<&mut Self>, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.sleep.is_none() && Handle::try_current().is_ok() {
            this.sleep.set(Some(sleep_until(at)));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(any(feature = "proxy", feature = "replay"))]
impl Deadline {
    /// Ready once `after` has passed since the first poll and since `last`, which is forgotten
    /// when it has been taken into account.
    ///
    /// The timer is moved only when it fires, so that a sign of life costs a look at the clock,
    /// not a change of a timer.
    pub(crate) fn poll_since(
        mut self: Pin<&mut Self>,
        last: &mut Option<tokio::time::Instant>,
        after: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while self.as_mut().poll(after, cx).is_ready() {
            let (Some(last), Some(sleep)) =
                (last.take(), self.as_mut().project().sleep.as_pin_mut())
            else {
                return Poll::Ready(());
            };
            sleep.reset(last + after);
        }
        Poll::Pending
    }
}

#[cfg(feature = "proxy")]
impl Deadline {
    /// When it fires, if it was started.
    pub(crate) fn fires(&self) -> Option<tokio::time::Instant> {
        self.sleep.as_ref().map(Sleep::deadline)
    }
}

#[cfg(any(feature = "auth", feature = "intercept", feature = "replay"))]
impl Deadline {
    /// Stops it.
    pub(crate) fn clear(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn without_a_runtime_there_is_no_deadline_until_there_is_one() {
        let mut deadline = Box::pin(Deadline::new());
        let mut polling = task::spawn(std::future::poll_fn(move |cx| {
            deadline.as_mut().poll(Duration::from_secs(1), cx)
        }));
        let elsewhere = std::thread::spawn(move || {
            assert_pending!(polling.poll());
            polling
        });
        let mut polling = elsewhere.join().expect("no panic");
        assert_pending!(polling.poll());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_ready!(polling.poll());
    }
}
