//! Many streams at once, each with an interceptor that takes its time.

mod intercept_support;

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use intercept_support::{CALL, LOG, data, events, post};
use shadowcat::intercept::{self, Direction, InterceptLayer, Interest, Verdict};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};

/// What broke: interceptors of events were run by blocking the thread that polled the stream. With one
/// that waited, a hundred streams on a few threads stood still for ever.
///
/// Real time, because two threads have no clock that could be paused: a thousand streams take as long as
/// one, give or take what it costs to poll them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_with_a_slow_interceptor_do_not_deadlock() {
    const STREAMS: usize = 1_000;
    const EVENTS: usize = 10;
    const TAKES: Duration = Duration::from_millis(50);

    let slow = intercept::async_fn(Interest::in_direction(Direction::ToClient), |_, _| async {
        tokio::time::sleep(TAKES).await;
        Ok(Verdict::Continue)
    });
    let layer = InterceptLayer::new(slow);
    let inner = service_fn(async |_: Request<Full<Bytes>>| {
        let stream = events(&[LOG; EVENTS]);
        let response = Response::builder().header("content-type", "text/event-stream");
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from(stream)).expect("valid"))
    });
    let start = Instant::now();
    let streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let service = layer.layer(inner);
            tokio::spawn(async move {
                let Ok(response) = service.oneshot(post(CALL)).await;
                let body = response.into_body().collect().await.expect("a whole body");
                let body = body.to_bytes();
                data(std::str::from_utf8(&body).expect("UTF-8")).len()
            })
        })
        .collect();
    for stream in streams {
        assert_eq!(stream.await.expect("no panic"), EVENTS);
    }
    let took = start.elapsed();
    let one = TAKES * EVENTS as u32;
    // One after another on two threads would be more than four minutes.
    assert!(took >= one && took < one * 20, "{took:?}");
}
