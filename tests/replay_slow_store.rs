//! A store that takes its time holds no event up for longer than it takes.

mod replay_support;

use std::{
    future::{Future, Ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use replay_support::{FINAL, Heard, Reader, Server, call, get, progress};
use shadowcat::replay::{BodyError, ReplayLayer};
use shadowcat::sse::StreamKey;
use shadowcat::store::{
    End, EventStore, EventWriter, MemoryStore, MemoryWatch, MemoryWriter, Owner, Page, StoreError,
};
use tokio::{sync::oneshot, task::yield_now, time::timeout};

/// A store in memory that is never ready at once.
#[derive(Clone, Debug, Default)]
struct Slow(MemoryStore);

#[derive(Debug)]
struct SlowWriter(MemoryWriter);

/// Answered by another task, which wakes whoever waits then.
#[derive(Debug)]
struct Later<T>(oneshot::Receiver<T>);

impl<T: Send + 'static> Later<T> {
    fn new(ready: Ready<T>) -> Self {
        let (answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            for _ in 0..3 {
                yield_now().await;
            }
            // Nobody may wait any more.
            let _ = answer.send(ready.into_inner());
        });
        Self(answered)
    }
}

impl<T> Future for Later<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0)
            .poll(cx)
            .map(|answer| answer.expect("the task answers"))
    }
}

impl EventStore for Slow {
    type Writer = SlowWriter;
    type Open = Later<Result<SlowWriter, StoreError>>;
    type Read = Later<Result<Page, StoreError>>;
    type Watch = MemoryWatch;
    type Purge = Later<Result<(), StoreError>>;

    fn open(&self, stream: StreamKey, owner: Owner, about: Bytes) -> Self::Open {
        let opened = self.0.open(stream, owner, about).into_inner();
        Later::new(std::future::ready(opened.map(SlowWriter)))
    }

    fn read(&self, stream: StreamKey, owner: Owner, after: u64, limit: usize) -> Self::Read {
        Later::new(self.0.read(stream, owner, after, limit))
    }

    fn watch(&self, stream: StreamKey, owner: Owner, after: u64) -> Self::Watch {
        self.0.watch(stream, owner, after)
    }

    fn purge(&self, owner: Owner) -> Self::Purge {
        Later::new(self.0.purge(owner))
    }
}

impl EventWriter for SlowWriter {
    type Append = Later<Result<(), StoreError>>;
    type Close = Later<Result<(), StoreError>>;

    fn append(&mut self, sequence: u64, event: &[u8]) -> Self::Append {
        Later::new(self.0.append(sequence, event))
    }

    fn close(&mut self, end: End) -> Self::Close {
        Later::new(self.0.close(end))
    }
}

/// The next event, without any time passing.
async fn at_once<B>(reader: &mut Reader<B>) -> Heard
where
    B: http_body::Body<Data = Bytes, Error = BodyError>,
{
    let next = timeout(Duration::from_millis(1), reader.next()).await;
    next.expect("not held up").expect("an event")
}

#[tokio::test(start_paused = true)]
async fn an_event_does_not_wait_for_the_next_one() {
    let server = Server::new(ReplayLayer::new(Slow::default()));
    let response = server.send(call("s", "2025-11-25")).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    at_once(&mut reader).await;
    for step in 1..4 {
        upstream.say(progress(step));
        let heard = at_once(&mut reader).await;
        let step = format!("\"progress\":{step}");
        assert!(heard.data.is_some_and(|data| data.contains(&step)));
    }
    // Of several in one chunk, too.
    upstream.say(progress(4) + &progress(5));
    at_once(&mut reader).await;
    at_once(&mut reader).await;
    upstream.say(FINAL);
    at_once(&mut reader).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_with_the_response_is_not_told_that_it_was_lost() {
    let server = Server::new(ReplayLayer::new(Slow::default()));
    let response = server.send(call("s", "2025-11-25")).await;
    let (_, upstream) = server.upstream();
    let mut reader = Reader::new(response.into_body());
    let primed = reader.next().await.expect("a cursor");
    upstream.say(FINAL);
    reader.next().await.expect("the response");
    drop(reader);
    // Its connection broke before it came.
    let cursor = primed.id.expect("a cursor");
    let response = server.send(get("s", Some(&cursor))).await;
    let data = Reader::new(response.into_body()).data().await;
    assert_eq!(data, [FINAL.trim().trim_start_matches("data: ")]);
    drop(upstream);
}
