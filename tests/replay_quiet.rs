//! What is on the wire while a stream has nothing to say, and when its server panics.

mod replay_support;
mod replay_wire;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use replay_support::{ScriptBody, Upstream};
use replay_wire::{
    Client, Site, assert_sequence, call, event, get, guarded, last, script, stateless_call,
};
use shadowcat::replay::ReplayLayer;
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep},
};

const KEEP_ALIVE: Duration = ReplayLayer::DEFAULT_KEEP_ALIVE;

async fn asked(site: &Site, name: usize, call: &str) -> (Client<DuplexStream>, Upstream) {
    let upstream = site.expect(name);
    let mut client = site.connect(4096);
    client.send(call).await;
    client.until(|heard| heard.status() == 200).await;
    (client, upstream)
}

/// Waits for the comment that comes after silence.
async fn assert_kept_alive(client: &mut Client<DuplexStream>) {
    let began = Instant::now();
    let comments = client.heard.comments;
    client.until(|heard| heard.comments > comments).await;
    assert_eq!(client.heard.comments, comments + 1);
    assert!(client.heard.is_between_events());
    let waited = began.elapsed();
    // The clock of the layer is exact to a quarter of that.
    let (least, most) = (KEEP_ALIVE * 3 / 4, KEEP_ALIVE * 5 / 4);
    assert!((least..=most).contains(&waited), "{waited:?}");
}

/// Two minutes of events, none of them long after the one before: no comment comes.
async fn assert_no_comment_between(client: &mut Client<DuplexStream>, upstream: &Upstream) {
    let comments = client.heard.comments;
    for number in 1..=12 {
        sleep(Duration::from_secs(10)).await;
        upstream.say(event(1, number));
        client.until(|heard| heard.events.len() == number).await;
    }
    assert_eq!(client.heard.comments, comments);
}

#[tokio::test(start_paused = true)]
async fn s29_a_tracked_stream_is_kept_alive_between_events() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (mut client, upstream) = asked(&site, 1, &call(1)).await;
        client.until(|heard| heard.primes == 1).await;
        for _ in 0..3 {
            assert_kept_alive(&mut client).await;
        }
        assert_no_comment_between(&mut client, &upstream).await;

        // Half an event is nothing that a client sees.
        let half = event(1, 13);
        let (half, rest) = half.split_at(20);
        upstream.say(half.to_owned());
        for _ in 0..3 {
            assert_kept_alive(&mut client).await;
        }
        upstream.say(rest.to_owned());
        upstream.say(last(1));
        drop(upstream);
        assert_sequence(&client.rest().await.events, &script(1, 14), 0);
        drop(client);
        site.deserted(1).await;
        site.assert_idle();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn s29_a_stateless_stream_is_kept_alive_between_events() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (mut client, upstream) = asked(&site, 1, &stateless_call(1)).await;
        for _ in 0..3 {
            assert_kept_alive(&mut client).await;
        }
        assert_no_comment_between(&mut client, &upstream).await;

        let half = event(1, 13);
        let (half, rest) = half.split_at(20);
        upstream.say(half.to_owned());
        let len = client.heard.body.len() + half.len();
        client.until(|heard| heard.body.len() == len).await;
        let quiet = tokio::time::timeout(KEEP_ALIVE * 4, client.fill()).await;
        assert!(quiet.is_err(), "nothing within an event");
        upstream.say(rest.to_owned());
        client.until(|heard| heard.events.len() == 13).await;
        assert_kept_alive(&mut client).await;
        upstream.say(last(1));
        drop(upstream);
        let heard = client.rest().await;
        let bare: Vec<_> = heard.events.iter().map(|event| &event.bare).collect();
        assert_eq!(bare, script(1, 14).iter().collect::<Vec<_>>());
        assert!(heard.events.iter().all(|event| event.id.is_none()));
        assert_eq!((heard.primes, heard.cursor.as_deref()), (0, None));
        assert_eq!(site.assert_idle().tracked_total, 0, "SSE-15");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn can3_a_stateless_client_that_goes_away_in_silence_cancels_its_call() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (client, upstream) = asked(&site, 1, &stateless_call(1)).await;
        sleep(Duration::from_secs(5)).await;
        assert!(upstream.is_read());
        let gone = Instant::now();
        drop(client);
        upstream.dropped().await;
        assert_eq!(gone.elapsed(), Duration::ZERO);
        site.deserted(1).await;
    })
    .await;
}

/// Panics where its server says so.
struct Panicky(ScriptBody);

const PANIC: &str = ": panic\n\n";

impl Body for Panicky {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let data = frame.data_ref();
            assert!(data.is_none_or(|data| data != PANIC), "as the test wants");
        }
        polled
    }
}

/// A client that has one event of a server that is about to panic.
async fn doomed(site: &Site) -> (Client<DuplexStream>, Upstream) {
    let (upstream, body) = replay_support::body();
    site.expect_body(1, Panicky(body));
    let mut client = site.connect(4096);
    client.send(&call(1)).await;
    client.until(|heard| heard.primes == 1).await;
    upstream.say(event(1, 1));
    client.until(|heard| heard.events.len() == 1).await;
    (client, upstream)
}

/// Asserts that `cursor` brings the events `numbers`, and then that the response is lost.
async fn assert_told(site: &Site, cursor: &str, numbers: &[usize]) {
    let mut client = site.connect(4096);
    client.send(&get(1, Some(cursor))).await;
    let began = Instant::now();
    let heard = client.rest().await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody has to wait for it");
    assert_eq!(heard.status(), 200, "{}", heard.text());
    let (error, events) = heard.events.split_last().expect("an error at least");
    let bare: Vec<_> = events.iter().map(|event| event.bare.clone()).collect();
    let said: Vec<_> = numbers.iter().map(|number| event(1, *number)).collect();
    assert_eq!(bare, said);
    let error = &error.bare;
    assert!(
        error.contains(r#""id":7,"error":{"code":-31502,"#),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn c54_a_panic_ends_the_connection_and_a_resume_is_told() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (mut client, upstream) = doomed(&site).await;
        let cursor = client.heard.cursor.clone().expect("a cursor");
        upstream.say(event(1, 2));
        upstream.say(PANIC);
        let heard = client.closed().await;
        assert!(!heard.is_whole());
        site.deserted(1).await;
        site.assert_idle();
        assert!(!upstream.is_read());
        assert_told(&site, &cursor, &[2]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c54_a_panic_while_nobody_listens_is_told_to_who_comes_back() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (client, upstream) = doomed(&site).await;
        let cursor = client.heard.cursor.clone().expect("a cursor");
        drop(client);
        site.deserted(1).await;
        assert_eq!(site.replay.stats().detached, 1);
        let began = Instant::now();
        upstream.say(event(1, 2));
        upstream.say(PANIC);
        upstream.dropped().await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        site.assert_idle();
        assert_told(&site, &cursor, &[2]).await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c54_a_panic_is_told_to_who_has_come_back_already() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (old, upstream) = doomed(&site).await;
        let cursor = old.heard.cursor.clone().expect("a cursor");
        let mut client = site.connect(4096);
        client.send(&get(1, Some(&cursor))).await;
        client.until(|heard| heard.primes == 1).await;
        upstream.say(PANIC);
        assert!(!client.closed().await.is_whole());
        drop(old);
        site.deserted(2).await;
        site.assert_idle();
        assert_told(&site, &cursor, &[]).await;
    })
    .await;
}
