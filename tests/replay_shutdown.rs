//! C63, D29: a site that stops sends all its clients away, at the end of an event.

mod replay_support;
mod replay_wire;

use std::{collections::HashSet, net::SocketAddr, time::Duration};

use replay_support::Upstream;
use replay_wire::{Client, Heard, Site, assert_sequence, call, event, get, guarded, script};
use shadowcat::replay::ReplayLayer;
use tokio::io::{AsyncRead, AsyncWrite};

const STREAMS: usize = 1_000;
const EVENTS: usize = 5;

const RETRY: Duration = Duration::from_secs(3);

/// A client with some events, and half of one more under way.
async fn open<I>(site: &Site, name: usize, mut client: Client<I>) -> (Client<I>, Upstream)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let upstream = site.expect(name);
    // One in four is no answer to a call.
    let request = match name % 4 {
        0 => get(name, None),
        _ => call(name),
    };
    client.send(&request).await;
    client.until(|heard| heard.status() == 200).await;
    for number in 1..=EVENTS {
        upstream.say(event(name, number));
    }
    client.until(|heard| heard.events.len() == EVENTS).await;
    let next = event(name, EVENTS + 1);
    upstream.say(next[..20].to_owned());
    (client, upstream)
}

/// Asserts that a client was sent away, and nothing else; returns when it is to come back.
fn assert_sent_away(heard: &Heard) -> Duration {
    assert_eq!(heard.status(), 200);
    assert!(heard.is_whole() && heard.is_between_events());
    let [retry] = heard.retries[..] else {
        panic!("{:?}", heard.text());
    };
    let retry = Duration::from_millis(retry);
    assert!((RETRY..=RETRY * 2).contains(&retry), "{retry:?}");
    retry
}

async fn stop<I>(connect: impl AsyncFn(&Site) -> Client<I>, site: Site)
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut clients = Vec::new();
    for name in 0..STREAMS {
        let client = connect(&site).await;
        clients.push(open(&site, name, client).await);
    }
    // Some have lost their connection just before.
    let gone = clients.split_off(STREAMS - STREAMS / 10);
    let left = clients.len();
    let mut alone = Vec::new();
    for (client, upstream) in gone {
        drop(client);
        alone.push(upstream);
    }
    site.left_open(left).await;
    let stats = site.replay.stats();
    assert_eq!((stats.attached, stats.detached), (left, STREAMS - left));

    site.replay.end_all(RETRY);

    let mut retries = HashSet::new();
    let mut cursor = None;
    for (name, (mut client, upstream)) in clients.into_iter().enumerate() {
        let heard = client.rest().await;
        assert_sequence(&heard.events, &script(name, EVENTS + 2)[..EVENTS], 0);
        retries.insert(assert_sent_away(heard));
        cursor = heard.cursor.clone().map(|cursor| (name, cursor));
        upstream.dropped().await;
    }
    assert!(retries.len() > left / 2, "C59: not all of them together");
    for upstream in alone {
        upstream.dropped().await;
    }
    site.assert_idle();

    // D29: whoever comes now is sent away as well.
    let upstream = site.expect(0);
    upstream.say(event(0, 1));
    let mut late = connect(&site).await;
    late.send(&call(0)).await;
    assert_sent_away(late.rest().await);
    assert_eq!(late.heard.events, []);
    upstream.dropped().await;
    let (name, cursor) = cursor.expect("a cursor");
    late.send(&get(name, Some(&cursor))).await;
    assert_sent_away(late.rest().await);
    drop(late);
    site.deserted(STREAMS + 1).await;
    site.assert_idle();
}

#[tokio::test(start_paused = true)]
async fn c63_all_clients_are_sent_away_in_memory() {
    let site = Site::new(ReplayLayer::default());
    guarded(stop(async |site| site.connect(1024), site)).await;
}

#[tokio::test]
async fn c63_all_clients_are_sent_away_over_tcp() {
    let site = Site::new(ReplayLayer::default());
    let address: SocketAddr = site.listen();
    guarded(stop(async |_| Client::connect(address).await, site)).await;
}

#[tokio::test(start_paused = true)]
async fn d29_a_call_that_is_answered_after_the_end_is_sent_away() {
    guarded(async {
        let site = Site::new(ReplayLayer::default());
        let (mut client, upstream) = open(&site, 1, site.connect(1024)).await;
        // On its way to the server when the end is said.
        let late = site.expect(2);
        let mut second = site.connect(1024);
        second.send(&call(2)).await;
        site.replay.end_all(RETRY);
        site.replay.end_all(RETRY * 10);
        let retry = assert_sent_away(client.rest().await);
        assert!(retry <= RETRY * 2, "a second call changes nothing");
        assert_sent_away(second.rest().await);
        upstream.dropped().await;
        late.dropped().await;
        site.assert_idle();
    })
    .await;
}
