//! Clients that stop reading, and clients that come back before the old connection is gone.

mod replay_support;
mod replay_wire;

use std::time::Duration;

use replay_support::Upstream;
use replay_wire::{Client, Event, Site, assert_sequence, call, get, guarded, script};
use shadowcat::replay::ReplayLayer;
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep},
};

const NAME: usize = 7;

/// Enough that the connection cannot hold all of it.
const EVENTS: usize = 400;

/// What the client reads before it stops.
const READ: usize = 3;

/// What a connection can hold of the rest, in either direction.
const PIPE: usize = 1024;

/// A client that has read a few events, and no more since.
struct BlackHole {
    site: Site,
    client: Client<DuplexStream>,
    cursor: String,
    upstream: Upstream,
    script: Vec<String>,
}

impl BlackHole {
    async fn new() -> Self {
        let site = Site::new(ReplayLayer::default());
        let upstream = site.expect(NAME);
        let script = script(NAME, EVENTS);
        let mut client = site.connect(PIPE);
        client.send(&call(NAME)).await;
        client.until(|heard| heard.primes == 1).await;
        for said in &script[..READ] {
            upstream.say(said.clone());
        }
        client.until(|heard| heard.events.len() == READ).await;
        let cursor = client.heard.cursor.clone().expect("a cursor");
        Self {
            site,
            client,
            cursor,
            upstream,
            script,
        }
    }

    fn say(&self, from: usize, to: usize) {
        for said in &self.script[from..to] {
            self.upstream.say(said.clone());
        }
    }

    /// Comes back on another connection.
    async fn come_back(&self) -> Client<DuplexStream> {
        let mut client = self.site.connect(PIPE);
        client.send(&get(NAME, Some(&self.cursor))).await;
        client
    }

    fn assert_whole(&self, rest: &[Event]) {
        let read = &self.client.heard.events[..READ];
        assert_sequence(&[read, rest].concat(), &self.script, 0);
    }

    /// Asserts that the first connection is broken off behind what was under way when it was fenced:
    /// what it has been sent must not look like the whole.
    async fn assert_fenced(&mut self) {
        let heard = self.client.closed().await;
        assert!(!heard.is_whole());
        let len = heard.events.len();
        assert!((READ..EVENTS / 2).contains(&len), "{len} events");
        assert_sequence(&heard.events, &self.script[..len], 0);
    }
}

/// After that time at the latest, a client that does not read is detached: the limit of 30 s; half of
/// it, because hyper may have room for some more when it is first asked whether the client is there;
/// and a quarter, which is how exact the clock of the layer is.
const STALLED: u64 = 53;

/// Lets time pass; all that is due meanwhile happens.
async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn c01_c05_a_client_that_stops_reading_holds_nobody_up() {
    guarded(async {
        let mut hole = BlackHole::new().await;
        let stopped = Instant::now();
        hole.say(READ, EVENTS);
        pass(29).await;
        let stats = hole.site.replay.stats();
        assert_eq!((stats.attached, stats.stalled_total), (1, 0));
        assert!(hole.upstream.is_read(), "a slow client slows the server");
        hole.upstream.dropped().await;
        assert!(stopped.elapsed() <= Duration::from_secs(STALLED));
        assert_eq!(hole.site.replay.stats().stalled_total, 1);
        hole.site.assert_idle();

        let mut client = hole.come_back().await;
        hole.assert_whole(&client.rest().await.events);
        hole.assert_fenced().await;
        let BlackHole {
            site, client: old, ..
        } = hole;
        drop((old, client));
        site.deserted(2).await;
        site.assert_idle();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c01_a_stalled_stream_that_goes_on_is_resumed_live() {
    guarded(async {
        let mut hole = BlackHole::new().await;
        hole.say(READ, EVENTS / 2);
        pass(STALLED).await;
        let stats = hole.site.replay.stats();
        assert_eq!((stats.attached, stats.detached), (0, 1));
        hole.say(EVENTS / 2, EVENTS - 10);
        let mut client = hole.come_back().await;
        let most = EVENTS - 10 - READ;
        client.until(|heard| heard.events.len() == most).await;
        hole.say(EVENTS - 10, EVENTS);
        hole.assert_whole(&client.rest().await.events);
        hole.assert_fenced().await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn c04_a_client_that_reads_slowly_is_not_stalled() {
    guarded(async {
        let mut hole = BlackHole::new().await;
        hole.say(READ, READ + 90);
        for number in READ + 1..=READ + 90 {
            pass(1).await;
            hole.client
                .until(|heard| heard.events.len() >= number)
                .await;
        }
        let stats = hole.site.replay.stats();
        assert_eq!((stats.attached, stats.stalled_total), (1, 0));
        hole.say(READ + 90, EVENTS);
        assert_sequence(&hole.client.rest().await.events, &hole.script, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn d01_a_client_that_comes_back_takes_a_half_open_connection_over() {
    guarded(async {
        let mut hole = BlackHole::new().await;
        hole.say(READ, EVENTS / 2);
        pass(5).await;
        let back = Instant::now();
        let mut client = hole.come_back().await;
        let most = EVENTS / 2 - READ;
        client.until(|heard| heard.events.len() == most).await;
        hole.say(EVENTS / 2, EVENTS);
        let most = EVENTS - READ;
        client.until(|heard| heard.events.len() == most).await;
        hole.assert_fenced().await;
        assert_eq!(back.elapsed(), Duration::ZERO, "all of it at once");
        hole.assert_whole(&client.rest().await.events);
        assert_eq!(hole.site.replay.stats().stalled_total, 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn d02_of_two_clients_with_one_cursor_the_newest_wins() {
    guarded(async {
        let hole = BlackHole::new().await;
        hole.say(READ, EVENTS / 2);
        let mut one = hole.come_back().await;
        let mut two = hole.come_back().await;
        // Neither request was looked at before both were there.
        assert_eq!(hole.site.replay.stats().resumed_total, 0);
        let say = async {
            while hole.site.replay.stats().resumed_total < 2 {
                tokio::task::yield_now().await;
            }
            hole.say(EVENTS / 2, EVENTS);
        };
        let (one, two, ()) = tokio::join!(one.end(), two.end(), say);
        assert_eq!((one.status(), two.status()), (200, 200));
        let (winner, other) = if one.events.len() > two.events.len() {
            (one, two)
        } else {
            (two, one)
        };
        hole.assert_whole(&winner.events);
        assert!(winner.is_whole() && !other.is_whole());
        let len = READ + other.events.len();
        assert!(len < EVENTS / 2, "{len} events");
        assert_sequence(&other.events, &hole.script[..len], READ);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn d04_the_end_of_the_old_connection_does_not_concern_the_new_one() {
    guarded(async {
        let mut hole = BlackHole::new().await;
        hole.say(READ, EVENTS / 2);
        pass(5).await;
        let mut client = hole.come_back().await;
        let most = EVENTS / 2 - READ;
        client.until(|heard| heard.events.len() == most).await;
        let gone = std::mem::replace(&mut hole.client, client);
        drop(gone.io);
        hole.site.left_open(1).await;
        let stats = hole.site.replay.stats();
        assert_eq!((stats.attached, stats.detached), (1, 0));
        hole.say(EVENTS / 2, EVENTS);
        let rest = hole.client.rest().await.events.clone();
        hole.client.heard.events = gone.heard.events;
        hole.assert_whole(&rest);
    })
    .await;
}
