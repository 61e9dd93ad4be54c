//! D14: a client goes away at every point at which somebody may be waiting.

mod intercept_support;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http_body::Body as _;
use intercept_support::{CALL, LOG, Live, NOTE, RESULT, Server, data, events, post};
use shadowcat::intercept::{self, InterceptLayer, Interceptor, Interest, Links, Pause, Verdict};
use tokio_test::task::spawn;
use tower::{Layer, Service};

/// How many futures there were, and how many there are.
#[derive(Clone, Default)]
struct Futures {
    made: Arc<AtomicUsize>,
    live: Arc<AtomicUsize>,
}

struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Waits as often as that, and then gives that verdict.
fn waiting(times: usize, verdict: Verdict, futures: &Futures) -> impl Interceptor {
    let futures = futures.clone();
    intercept::async_fn(Interest::all(), move |_, _| {
        futures.made.fetch_add(1, Relaxed);
        futures.live.fetch_add(1, Relaxed);
        let alive = Alive(Arc::clone(&futures.live));
        let verdict = verdict.clone();
        async move {
            let _alive = alive;
            for _ in 0..times {
                tokio::task::yield_now().await;
            }
            Ok(verdict)
        }
    })
}

fn chain(futures: &Futures) -> impl Links {
    (
        waiting(1, Verdict::Continue, futures),
        waiting(2, Verdict::Delay(Duration::from_millis(1)), futures),
        waiting(
            0,
            Verdict::Pause(
                Pause::new()
                    .with_deadline(Duration::from_millis(1))
                    .or_release(),
            ),
            futures,
        ),
        waiting(1, Verdict::Continue, futures),
    )
}

#[tokio::test(start_paused = true)]
async fn d14_request_that_is_given_up_at_any_point_was_forwarded_whole_or_not_at_all() {
    for body in [CALL.to_owned(), format!("[{CALL},{NOTE}]")] {
        let mut points = 0;
        for stop in 0.. {
            let futures = Futures::default();
            let layer = InterceptLayer::new(chain(&futures));
            let server = Server::json(RESULT);
            let mut call = spawn(layer.layer(server.clone()).call(post(&body)));
            let mut is_over = false;
            for _ in 0..stop {
                if call.poll().is_ready() {
                    is_over = true;
                    break;
                }
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            drop(call);
            assert_eq!(futures.live.load(Relaxed), 0, "at {stop}");
            assert_eq!(layer.handle().stats().held, 0, "at {stop}");
            if server.was_asked() {
                assert_eq!(server.one().1, body);
            }
            if is_over {
                break;
            }
            points += 1;
        }
        assert!(points > 5, "{points}");
    }
}

#[tokio::test(start_paused = true)]
async fn d14_stream_that_is_given_up_at_any_point_lets_go_of_everything() {
    for keep_alive in [None, Some(Duration::from_millis(2))] {
        let mut points = 0;
        for stop in 0.. {
            let futures = Futures::default();
            let layer = InterceptLayer::new(chain(&futures)).with_keep_alive(keep_alive);
            let (live, say) = Live::new("text/event-stream");
            let inner = layer.layer(live);
            let mut service = inner;
            let mut call = Box::pin(service.call(post(CALL)));
            let response = loop {
                let polled = spawn(std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(call.as_mut().poll(cx))
                }))
                .poll();
                if let std::task::Poll::Ready(std::task::Poll::Ready(response)) = polled {
                    break response;
                }
                tokio::time::advance(Duration::from_millis(1)).await;
            };
            let Ok(response) = response;
            let mut body = spawn(response.into_body());
            say.send(events(&[LOG, LOG, RESULT]).into())
                .expect("it is read");
            let mut seen = Vec::new();
            for _ in 0..stop {
                let polled = body.enter(|cx, body| body.poll_frame(cx));
                if let std::task::Poll::Ready(Some(frame)) = polled {
                    seen.extend_from_slice(&frame.expect("no error").into_data().expect("data"));
                }
                tokio::time::advance(Duration::from_millis(1)).await;
            }
            drop(body);
            assert!(say.is_closed(), "at {stop}");
            assert_eq!(futures.live.load(Relaxed), 0, "at {stop}");
            assert_eq!(layer.handle().stats().held, 0, "at {stop}");
            // Whole events, in their order, and each that was let go.
            let seen = data(std::str::from_utf8(&seen).expect("UTF-8"));
            assert!(
                [LOG, LOG, RESULT]
                    .iter()
                    .zip(&seen)
                    .all(|(sent, seen)| sent == seen)
            );
            points += 1;
            if seen.len() == 3 {
                break;
            }
        }
        assert!(points > 15, "{points}");
    }
}
