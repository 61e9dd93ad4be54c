use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use super::alarm::Alarm;

/// As long as timers can be set for, on every platform.
const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// What an exchange waits with for the head of its response.
///
/// It stays with the connection from one exchange to the next, and its timer is moved only when it
/// fires: to make one for each request, and to take it away again, costs several times as much as a
/// look at it. Between two exchanges it wakes nobody.
pub(super) struct Wait {
    pub(super) alarm: Alarm,
    timer: Option<Pin<Box<Sleep>>>,
    since: Option<Instant>,
}

impl Wait {
    pub(super) fn new(reader: &Waker) -> Self {
        Self {
            alarm: Alarm::new(reader),
            timer: None,
            since: None,
        }
    }

    /// Ready once `limit` has passed since the first poll of this exchange. If not, the alarm rings when
    /// it has.
    pub(super) fn poll(&mut self, limit: Duration) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let until = since.checked_add(limit).unwrap_or(since + FOREVER);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        let mut cx = Context::from_waker(self.alarm.waker());
        while timer.as_mut().poll(&mut cx).is_ready() {
            if timer.deadline() >= until {
                return Poll::Ready(());
            }
            // It was set for an exchange before this one.
            timer.as_mut().reset(until);
        }
        Poll::Pending
    }

    /// Another connection goes on, and the wait too. The timer may be one of a runtime that is gone.
    pub(super) fn reconnect(&mut self) {
        self.timer = None;
    }

    /// The head is there.
    pub(super) fn finish(&mut self) {
        self.alarm.rest();
        self.since = None;
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};
    use tokio_test::{assert_pending, assert_ready, task};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    fn listen(wait: &mut Wait, cx: &Context<'_>) -> Poll<()> {
        assert!(!wait.alarm.is_silent(cx));
        wait.poll(LIMIT)
    }

    #[tokio::test(start_paused = true)]
    async fn timer_that_was_set_for_another_exchange_ends_none_before_its_time() {
        let mut first = task::spawn(());
        let mut wait = first.enter(|cx, _| Wait::new(cx.waker()));
        assert_pending!(first.enter(|cx, _| listen(&mut wait, cx)));
        wait.finish();
        sleep(Duration::from_secs(3)).await;

        let mut reader = task::spawn(());
        assert_pending!(reader.enter(|cx, _| listen(&mut wait, cx)));
        // That of the first would be over now.
        advance(Duration::from_millis(2_001)).await;
        assert!(reader.is_woken() && !first.is_woken());
        assert_pending!(reader.enter(|cx, _| listen(&mut wait, cx)));
        advance(Duration::from_millis(2_998)).await;
        assert_pending!(reader.enter(|cx, _| listen(&mut wait, cx)));
        advance(Duration::from_millis(2)).await;
        assert!(reader.is_woken());
        assert_ready!(reader.enter(|cx, _| listen(&mut wait, cx)));
    }

    #[tokio::test(start_paused = true)]
    async fn timer_that_has_fired_while_nobody_waited_wakes_nobody_and_is_set_again() {
        let mut first = task::spawn(());
        let mut wait = first.enter(|cx, _| Wait::new(cx.waker()));
        assert_pending!(first.enter(|cx, _| listen(&mut wait, cx)));
        wait.finish();
        sleep(2 * LIMIT).await;
        assert!(!first.is_woken());

        let mut reader = task::spawn(());
        assert_pending!(reader.enter(|cx, _| listen(&mut wait, cx)));
        advance(LIMIT + Duration::from_millis(1)).await;
        assert!(reader.is_woken());
        assert_ready!(reader.enter(|cx, _| listen(&mut wait, cx)));
    }

    #[tokio::test(start_paused = true)]
    async fn new_connection_does_not_begin_the_wait_anew() {
        let mut reader = task::spawn(());
        let mut wait = reader.enter(|cx, _| Wait::new(cx.waker()));
        assert_pending!(reader.enter(|cx, _| listen(&mut wait, cx)));
        advance(Duration::from_secs(4)).await;
        wait.reconnect();
        assert_pending!(reader.enter(|cx, _| listen(&mut wait, cx)));
        advance(Duration::from_millis(1_001)).await;
        assert!(reader.is_woken());
        assert_ready!(reader.enter(|cx, _| listen(&mut wait, cx)));
    }
}
