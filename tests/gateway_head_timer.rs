//! The timer that the gateway example gives hyper for the heads of requests.

#[path = "../examples/gateway/head_timer.rs"]
mod head_timer;

use std::time::Duration;

use head_timer::HeadTimer;
use hyper::rt::Timer;
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, task::spawn};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(start_paused = true)]
async fn each_head_has_its_whole_time() {
    let timer = HeadTimer::default();
    let mut first = spawn(timer.sleep(LIMIT));
    assert_pending!(first.poll());
    drop(first);
    advance(Duration::from_secs(6)).await;

    let mut second = spawn(timer.sleep(LIMIT));
    assert_pending!(second.poll());
    advance(Duration::from_millis(4_001)).await;
    // The time of the first.
    assert!(second.is_woken());
    assert_pending!(second.poll());
    advance(Duration::from_millis(5_998)).await;
    assert_pending!(second.poll());
    advance(Duration::from_millis(2)).await;
    assert!(second.is_woken());
    assert_ready!(second.poll());
}

#[tokio::test(start_paused = true)]
async fn timer_that_has_fired_while_no_head_was_waited_for_is_set_again() {
    let timer = HeadTimer::default();
    let mut first = spawn(timer.sleep(LIMIT));
    assert_pending!(first.poll());
    drop(first);
    advance(2 * LIMIT).await;

    let mut second = spawn(timer.sleep(LIMIT));
    assert_pending!(second.poll());
    advance(LIMIT + Duration::from_millis(1)).await;
    assert!(second.is_woken());
    assert_ready!(second.poll());
}
