//! Thousands of streams in one process, half of them cut and resumed: each is exact, and its own.

mod replay_support;
mod replay_wire;

use std::{fs, future::Future, net::SocketAddr, sync::Arc};

use replay_support::Upstream;
use replay_wire::{Client, Heard, Site, assert_sequence, call, get, guarded, script};
use shadowcat::replay::ReplayLayer;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
    sync::{Barrier, Semaphore},
    task::JoinSet,
};

const EVENTS: usize = 12;

/// How many events a client has before some are cut.
const BEFORE: usize = 4;

/// Within the backlog of the listener, so that no connection has to be asked for twice.
const CONNECTING_AT_ONCE: usize = 512;

/// How clients get to the site, and leave it without a word.
trait Reach: Send + Sync + 'static {
    type Io: AsyncRead + AsyncWrite + Send + Unpin;

    fn connect(&self, site: &Site) -> impl Future<Output = Client<Self::Io>> + Send;

    fn cut(client: Client<Self::Io>) -> Heard;
}

struct Tcp {
    address: SocketAddr,
    turns: Semaphore,
}

impl Reach for Tcp {
    type Io = TcpStream;

    async fn connect(&self, _: &Site) -> Client<TcpStream> {
        let _turn = self.turns.acquire().await.expect("never closed");
        Client::connect(self.address).await
    }

    fn cut(client: Client<TcpStream>) -> Heard {
        client.reset()
    }
}

struct Memory;

impl Reach for Memory {
    type Io = DuplexStream;

    async fn connect(&self, site: &Site) -> Client<DuplexStream> {
        site.connect(1024)
    }

    fn cut(client: Client<DuplexStream>) -> Heard {
        client.heard
    }
}

/// A stream, from its call to its end.
async fn stream<R: Reach>(reach: &R, site: &Site, name: usize, all_are_open: &Barrier) {
    let upstream = site.expect(name);
    let script = script(name, EVENTS);
    let mut client = reach.connect(site).await;
    client.send(&call(name)).await;
    client.until(|heard| heard.primes == 1).await;
    for said in &script[..BEFORE] {
        upstream.say(said.clone());
    }
    client.until(|heard| heard.events.len() == BEFORE).await;
    all_are_open.wait().await;
    // Meanwhile they are counted.
    all_are_open.wait().await;

    if name.is_multiple_of(2) {
        say(upstream, &script[BEFORE..]);
        assert_sequence(&client.rest().await.events, &script, 0);
        return;
    }
    // Within the event that follows: what of it has come does not count.
    upstream.say(script[BEFORE].clone());
    let len = client.heard.len + 1 + name % 80;
    while client.heard.len < len {
        let most = len - client.heard.len;
        assert!(client.fill_at_most(most).await, "over too early");
    }
    let before = R::cut(client);
    assert_eq!(before.events.len(), BEFORE);
    let cursor = before.cursor.as_deref().expect("a cursor");
    let mut client = reach.connect(site).await;
    client.send(&get(name, Some(cursor))).await;
    say(upstream, &script[BEFORE + 1..]);
    let after = client.rest().await;
    assert_eq!(after.status(), 200);
    let whole = [before.events, after.events.clone()].concat();
    assert_sequence(&whole, &script, 0);
}

/// Says the rest, and ends the body.
fn say(upstream: Upstream, script: &[String]) {
    for said in script {
        upstream.say(said.clone());
    }
    drop(upstream);
}

async fn many<R: Reach>(reach: R, site: Site, streams: usize) {
    let (reach, site) = (Arc::new(reach), Arc::new(site));
    let all_are_open = Arc::new(Barrier::new(streams + 1));
    let mut tasks = JoinSet::new();
    for name in 0..streams {
        let (reach, site) = (Arc::clone(&reach), Arc::clone(&site));
        let all_are_open = Arc::clone(&all_are_open);
        tasks.spawn(async move { stream(&*reach, &site, name, &all_are_open).await });
    }
    let ended = async {
        while let Some(ended) = tasks.join_next().await {
            ended.expect("exact");
        }
    };
    let count = async {
        all_are_open.wait().await;
        assert_eq!(site.replay.stats().attached, streams);
        assert_eq!(site.open(), streams);
        all_are_open.wait().await;
    };
    tokio::join!(ended, count);
    site.deserted(streams + streams / 2).await;
    site.drained().await;
    let stats = site.assert_idle();
    assert_eq!(stats.resumed_total, streams as u64 / 2);
    assert_eq!((stats.refused_total, stats.gaps_total), (0, 0));
    assert_eq!((stats.stalled_total, stats.lost_total), (0, 0));
}

/// Two ends for each stream, and for each that is cut as many again, because the server may be late
/// to notice; and some for the process.
const fn descriptors(streams: usize) -> usize {
    2 * streams + 2 * (streams / 2) + 64
}

/// Fails if the process may not have that many files open.
fn require_descriptors(needed: usize) {
    // Elsewhere there is no such file, and connecting will tell.
    let Ok(limits) = fs::read_to_string("/proc/self/limits") else {
        return;
    };
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    // Unlimited, it is no number.
    if let Some(Ok(soft)) = soft.map(str::parse::<usize>) {
        assert!(
            soft >= needed,
            "this test needs {needed} file descriptors, and the limit is {soft}: \
             raise it (ulimit -n {needed})"
        );
    }
}

#[tokio::test]
async fn four_thousand_streams_over_tcp() {
    const STREAMS: usize = 4_000;
    require_descriptors(descriptors(STREAMS));
    let site = Site::new(ReplayLayer::default());
    let tcp = Tcp {
        address: site.listen(),
        turns: Semaphore::new(CONNECTING_AT_ONCE),
    };
    guarded(many(tcp, site, STREAMS)).await;
}

#[tokio::test]
async fn ten_thousand_streams_in_memory() {
    let site = Site::new(ReplayLayer::default());
    guarded(many(Memory, site, 10_000)).await;
}
