//! C02, C10: a response that is reset at any of its bytes, and resumed, is a response all the same.

mod replay_support;
mod replay_wire;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use replay_support::Upstream;
use replay_wire::{Client, Heard, Site, assert_sequence, call, get, guarded, script};
use shadowcat::replay::ReplayLayer;
use tokio::{net::TcpStream, sync::Semaphore, task::JoinSet};

const EVENTS: usize = 50;

/// How many are cut at the same time.
const AT_ONCE: usize = 64;

/// When the server says what is left after the cut. Before it, it says one event at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// It has said everything before the client even asked.
    Before,
    /// While nobody is there.
    Between,
    /// Each event once the client that came back has the one before.
    After,
}

/// The server's end of one stream, and what it is still to say.
struct Speaker {
    upstream: Option<Upstream>,
    left: VecDeque<String>,
}

impl Speaker {
    /// Says the next event, or else ends the body; false if that has been done.
    fn say_next(&mut self) -> bool {
        match (self.left.pop_front(), &self.upstream) {
            (Some(event), Some(upstream)) => upstream.say(event),
            _ => return self.upstream.take().is_some(),
        }
        true
    }

    fn say_all(&mut self) {
        while self.say_next() {}
    }
}

struct Cuts {
    site: Site,
    address: SocketAddr,
    connected: AtomicUsize,
    pace: Pace,
}

impl Cuts {
    fn new(pace: Pace) -> Self {
        let site = Site::new(ReplayLayer::default());
        Self {
            address: site.listen(),
            site,
            connected: AtomicUsize::new(0),
            pace,
        }
    }

    async fn connect(&self) -> Client<TcpStream> {
        self.connected.fetch_add(1, Relaxed);
        Client::connect(self.address).await
    }

    /// Reads `len` bytes of the response to a call, or all of it.
    async fn read(&self, name: usize, len: usize) -> (Client<TcpStream>, Speaker) {
        let mut speaker = Speaker {
            upstream: Some(self.site.expect(name)),
            left: script(name, EVENTS).into(),
        };
        if self.pace == Pace::Before {
            speaker.say_all();
        }
        let mut client = self.connect().await;
        client.send(&call(name)).await;
        while client.heard.len < len && !client.heard.is_whole() {
            // Once the client has its cursor, and everything that was said.
            if client.heard.primes > 0 && client.heard.is_between_chunks() {
                speaker.say_next();
            }
            let most = len - client.heard.len;
            assert!(client.fill_at_most(most).await, "over too early");
        }
        (client, speaker)
    }

    /// Cuts a response after `len` bytes; asserts that the client can do without what came after.
    async fn cut(&self, name: usize, len: usize) {
        let (client, mut speaker) = self.read(name, len).await;
        assert_eq!(client.heard.len, len);
        let before = client.reset();
        if self.pace != Pace::After {
            speaker.say_all();
        }
        let Some(cursor) = &before.cursor else {
            // Nobody can ask for the rest.
            speaker.say_all();
            return;
        };
        let mut client = self.connect().await;
        client.send(&get(name, Some(cursor))).await;
        client.until(|heard| heard.status() == 200).await;
        while speaker.say_next() {
            let is_over = |heard: &Heard| {
                let len = before.events.len() + heard.events.len() + speaker.left.len();
                len == EVENTS && (speaker.upstream.is_some() || heard.is_whole())
            };
            client.until(is_over).await;
        }
        let after = client.rest().await;
        let whole = [&before.events[..], &after.events].concat();
        assert_sequence(&whole, &script(name, EVENTS), 0);
        assert!(after.retries.is_empty(), "it is not slowed down");
    }
}

async fn cut_everywhere(pace: Pace) {
    let cuts = Arc::new(Cuts::new(pace));
    let (mut client, _) = cuts.read(0, usize::MAX).await;
    let uncut = client.rest().await;
    assert_sequence(&uncut.events, &script(0, EVENTS), 0);
    let len = uncut.len;
    drop(client);

    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for at in 0..=len {
        let (cuts, turns) = (Arc::clone(&cuts), Arc::clone(&turns));
        tasks.spawn(async move {
            let _turn = turns.acquire().await.expect("never closed");
            cuts.cut(at + 1, at).await;
        });
    }
    while let Some(cut) = tasks.join_next().await {
        cut.expect("exact");
    }
    // A request whose client was gone at once may never have been read.
    cuts.site.forget();
    cuts.site.deserted(cuts.connected.load(Relaxed)).await;
    cuts.site.drained().await;
    let stats = cuts.site.assert_idle();
    assert_eq!(stats.refused_total, 0);
    assert_eq!((stats.gaps_total, stats.lost_total), (0, 0));
    assert!(stats.resumed_total > EVENTS as u64 * 80, "{stats:?}");
}

#[tokio::test]
async fn c02_said_before_the_cut() {
    guarded(cut_everywhere(Pace::Before)).await;
}

// With another thread, the drain races with the client that comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c02_said_while_nobody_is_there() {
    guarded(cut_everywhere(Pace::Between)).await;
}

#[tokio::test]
async fn c02_said_one_by_one_after_the_client_is_back() {
    guarded(cut_everywhere(Pace::After)).await;
}
