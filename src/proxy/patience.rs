use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a connection.
pub(super) type Timer = Pin<Box<Sleep>>;

/// As long as timers can be set for, on every platform.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// How long the head of a response is waited for.
///
/// The timer stays with the connection when the head is there, and is moved only when it fires: to make
/// one for each request, and to take it away again, costs several times as much as a look at it.
#[derive(Debug, Default)]
pub(super) struct Patience {
    timer: Option<Timer>,
    since: Option<Instant>,
}

impl Patience {
    /// With the timer that an exchange before left, whenever that fires.
    pub(super) const fn new(timer: Option<Timer>) -> Self {
        Self { timer, since: None }
    }

    /// Ready once `limit` has passed since the first poll.
    pub(super) fn poll(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let until = since.checked_add(limit).unwrap_or(since + FOREVER);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// Another connection goes on, and the wait too. The timer may belong to a runtime that is gone.
    pub(super) fn reconnect(&mut self) {
        self.timer = None;
    }

    /// The head is there.
    pub(super) const fn finish(&mut self) -> Option<Timer> {
        self.timer.take()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn timer_that_was_set_for_another_exchange_ends_none_before_its_time() {
        let mut first = Patience::default();
        assert_pending!(task::spawn(()).enter(|cx, _| first.poll(LIMIT, cx)));
        sleep(Duration::from_secs(3)).await;

        let mut second = Patience::new(first.finish());
        let mut reader = task::spawn(());
        assert_pending!(reader.enter(|cx, _| second.poll(LIMIT, cx)));
        // That of the first would be over now.
        advance(Duration::from_millis(2_001)).await;
        assert!(reader.is_woken());
        assert_pending!(reader.enter(|cx, _| second.poll(LIMIT, cx)));
        advance(Duration::from_millis(2_998)).await;
        assert_pending!(reader.enter(|cx, _| second.poll(LIMIT, cx)));
        advance(Duration::from_millis(2)).await;
        assert!(reader.is_woken());
        assert_ready!(reader.enter(|cx, _| second.poll(LIMIT, cx)));
    }

    #[tokio::test(start_paused = true)]
    async fn timer_that_has_fired_while_nobody_waited_is_set_again() {
        let mut first = Patience::default();
        assert_pending!(task::spawn(()).enter(|cx, _| first.poll(LIMIT, cx)));
        let timer = first.finish();
        sleep(2 * LIMIT).await;

        let mut second = Patience::new(timer);
        let mut reader = task::spawn(());
        assert_pending!(reader.enter(|cx, _| second.poll(LIMIT, cx)));
        advance(LIMIT + Duration::from_millis(1)).await;
        assert!(reader.is_woken());
        assert_ready!(reader.enter(|cx, _| second.poll(LIMIT, cx)));
    }

    #[tokio::test(start_paused = true)]
    async fn new_connection_does_not_begin_the_wait_anew() {
        let mut patience = Patience::default();
        assert_pending!(task::spawn(()).enter(|cx, _| patience.poll(LIMIT, cx)));
        advance(Duration::from_secs(4)).await;
        patience.reconnect();
        let mut reader = task::spawn(());
        assert_pending!(reader.enter(|cx, _| patience.poll(LIMIT, cx)));
        advance(Duration::from_millis(1_001)).await;
        assert!(reader.is_woken());
        assert_ready!(reader.enter(|cx, _| patience.poll(LIMIT, cx)));
    }
}
