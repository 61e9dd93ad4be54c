use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Request;
use tokio::time::advance;

use crate::proxy::{
    connection::{Detached, Drive, Sending, Upstream},
    pool::Pool,
    wait::Wait,
};

const IDLE: Duration = Duration::from_secs(90);

/// A connection that only counts how many of it are open, and may have been closed by its upstream.
struct Fake(Arc<AtomicUsize>, bool, Option<Box<Wait>>);

impl Fake {
    fn open(count: &Arc<AtomicUsize>) -> Box<Self> {
        count.fetch_add(1, SeqCst);
        Box::new(Self(Arc::clone(count), false, None))
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Drive for Fake {
    fn drive(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        if self.1 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn detach(self: Box<Self>) -> Option<Detached> {
        None
    }

    fn finish(self: Box<Self>, _lingers: bool) {}
}

impl Upstream<()> for Fake {
    fn send(&mut self, _request: Request<()>) -> Sending<()> {
        Box::pin(std::future::pending())
    }

    fn wait(&mut self) -> &mut Option<Box<Wait>> {
        &mut self.2
    }
}

/// Lets the reaper run.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_limited_in_number() {
    let open = Arc::default();
    let pool = Pool::new(2, IDLE);
    for _ in 0..5 {
        pool.put(Fake::open(&open));
    }
    assert_eq!(open.load(SeqCst), 2);
    assert!(pool.take().is_some() && pool.take().is_some());
    assert!(pool.take().is_none());
}

#[tokio::test(start_paused = true)]
async fn connection_that_waited_too_long_is_not_taken() {
    let open = Arc::default();
    let pool = Pool::new(2, IDLE);
    pool.put(Fake::open(&open));
    advance(IDLE - Duration::from_millis(1)).await;
    let taken = pool.take();
    assert!(taken.is_some(), "it is still young enough");
    drop(taken);
    pool.put(Fake::open(&open));
    // Not a turn for the reaper: what is taken is judged when it is taken.
    advance(IDLE).await;
    assert!(pool.take().is_none());
    assert_eq!(open.load(SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn connections_that_nobody_wants_are_closed_and_the_reaper_ends_with_them() {
    let open = Arc::default();
    let pool = Pool::new(8, IDLE);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    for _ in 0..2 {
        pool.put(Fake::open(&open));
        pool.put(Fake::open(&open));
        assert_eq!(tasks(), before + 1, "one task, however many connections");
        settle().await;
        advance(IDLE).await;
        settle().await;
        assert_eq!(open.load(SeqCst), 0);
        assert_eq!(tasks(), before, "an empty pool needs no task");
    }
}

#[tokio::test(start_paused = true)]
async fn young_connections_outlive_the_old_ones() {
    let open = Arc::default();
    let pool = Pool::new(8, IDLE);
    pool.put(Fake::open(&open));
    settle().await;
    advance(IDLE / 2).await;
    pool.put(Fake::open(&open));
    advance(IDLE / 2).await;
    settle().await;
    assert_eq!(open.load(SeqCst), 1);
    assert!(pool.take().is_some());
}

#[tokio::test(start_paused = true)]
async fn pool_that_is_gone_leaves_nothing_behind() {
    let open = Arc::default();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let pool = Pool::new(8, IDLE);
    pool.put(Fake::open(&open));
    settle().await;
    drop(pool);
    assert_eq!(open.load(SeqCst), 0);
    advance(IDLE).await;
    settle().await;
    assert_eq!(tasks(), before);
}

#[test]
fn without_a_runtime_nothing_is_kept_and_nothing_panics() {
    let open = Arc::default();
    let pool = Pool::new(8, IDLE);
    pool.put(Fake::open(&open));
    assert_eq!(open.load(SeqCst), 0);
    assert!(pool.take().is_none());
}

#[tokio::test(start_paused = true)]
async fn connection_that_its_upstream_closed_is_closed_within_a_second() {
    let open = Arc::default();
    let pool = Pool::new(8, IDLE);
    let mut closed = Fake::open(&open);
    closed.1 = true;
    pool.put(closed);
    pool.put(Fake::open(&open));
    settle().await;
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(open.load(SeqCst), 1);
}

#[test]
fn pool_is_looked_after_again_when_its_runtime_is_gone() {
    let open = Arc::default();
    let pool = Pool::new(8, IDLE);
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let _entered = runtime.enter();
        pool.put(Fake::open(&open));
        // The first look of a runtime is what starts the task; each has one of its own.
        assert_eq!(runtime.metrics().num_alive_tasks(), 1);
    }
}
