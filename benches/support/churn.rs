//! Streams that come and go: what they leave behind.

use std::future::poll_fn;
use std::time::Duration;

use http_body::Body;
use shadowcat::message::MessageLayer;
use shadowcat::replay::ReplayLayer;
use shadowcat::store::MemoryStore;
use tokio::time::{advance, pause, sleep};
use tower::ServiceBuilder;

use super::alloc::live_bytes;
use super::report::{check, info};
use super::script::{self, Frames, Script, ask};

const STREAMS: usize = 5_000;
const ROUNDS: usize = 4;
/// A log is forgotten after it.
const RETAIN_FOR: Duration = Duration::from_secs(1);
/// So many bytes more may a round leave than the one before it.
const LIMIT: f64 = 0.0;

/// Opens and closes many streams, in rounds.
pub(crate) async fn measure() {
    pause();
    let body = Frames::new(script::events(1), 20).then(script::answer());
    let store = MemoryStore::new().with_retain_for(RETAIN_FOR);
    let layer = ReplayLayer::new(store.clone());
    let handle = layer.handle();
    let mut service = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(layer)
        .service(Script::stream(body));
    let mut left = Vec::with_capacity(ROUNDS);
    for round in 1..=ROUNDS {
        let mut open = Vec::with_capacity(STREAMS);
        for number in 0..STREAMS {
            let request = script::call(&script::session(round * STREAMS + number));
            open.push(Box::pin(ask(&mut service, request).into_body()));
        }
        let while_open = live_bytes();
        for (number, mut body) in open.into_iter().enumerate() {
            let mut frames = 0;
            // Every other client leaves in the middle; its stream goes on alone, to the end.
            while number % 2 == 0 || frames < 10 {
                match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    Some(frame) => drop(frame.expect("no error")),
                    None => break,
                }
                frames += 1;
            }
            assert_eq!(frames, if number % 2 == 0 { 21 } else { 10 });
        }
        // The drains first, then the clock: what has ended expires.
        sleep(Duration::from_millis(1)).await;
        let while_retained = live_bytes();
        assert_eq!(handle.streams().len(), 0);
        assert_eq!(store.stats().streams, STREAMS);
        advance(2 * RETAIN_FOR).await;
        // The tasks that look after them find nothing more to do, and end.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(store.stats().streams, 0);
        let now = live_bytes();
        if round == 1 {
            let bytes = |at: f64| (at - now) / STREAMS as f64;
            info("churn/open_bytes_per_stream", bytes(while_open));
            info("churn/retained_bytes_per_stream", bytes(while_retained));
        }
        left.push(now);
    }
    let rounds = left.windows(2).map(|pair| pair[1] - pair[0]);
    for (round, grown) in rounds.enumerate() {
        check(&format!("churn/round_{}_grows", round + 2), grown, LIMIT);
    }
}
