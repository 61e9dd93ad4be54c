//! One history, from its beginning to the end.

use std::time::Duration;

use super::client::Mode;
use super::op::{Cursor, Kind, Op, Reopen, Setup, Who};
use super::oracle::Course;
use super::slow::settle;
use super::tally::Tally;
use super::world::{BEAT, DETACHED, RETAIN, World};

/// Runs a history, and checks it. Panics if anything is not as it has to be.
pub(crate) fn run(setup: Setup, history: &[Op]) -> Tally {
    in_paused_time(async {
        let mut world = World::new(setup, true);
        for op in history {
            world.step(op).await;
        }
        world.finish().await;
        world.tally
    })
}

/// What one principal was sent, if only the operations that `is_done` are done.
pub(crate) fn run_alone(
    setup: Setup,
    history: &[Op],
    who: Who,
    is_done: impl Fn(&Op) -> bool,
) -> Vec<String> {
    in_paused_time(async {
        let mut world = World::new(setup, false);
        world.start_pulse();
        for op in history.iter().filter(|op| is_done(op)) {
            world.step(op).await;
        }
        world.finish().await;
        std::mem::take(&mut world.book.sent[who])
    })
}

fn in_paused_time<O>(future: impl Future<Output = O>) -> O {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(future)
}

impl World {
    /// Nothing goes wrong any more: everybody gets what there is, and nothing is left.
    async fn finish(&mut self) {
        self.book.store.set(0);
        self.finish_requests();
        settle().await;
        self.read_all();
        if !self.is_closed {
            for at in 0..self.streams.len() {
                let stream = &self.streams[at];
                if stream.kind != Kind::Modern && !stream.is_deleted {
                    self.resume(at, Cursor::Own, Reopen::Accepts, 0);
                }
            }
            self.read_all();
        }
        for client in self.clients.iter().filter(|one| one.mode == Mode::Modern) {
            let stream = &self.streams[client.stream];
            assert!(stream.key.is_none(), "RPL-15");
        }
        self.close().await;
    }

    fn read_all(&mut self) {
        for at in 0..self.clients.len() {
            while self.clients[at].is_connected() {
                let before = self.clients[at].next;
                self.read(at, 1000);
                if self.clients[at].next == before {
                    break;
                }
            }
        }
    }

    /// All clients and servers go, and time.
    async fn close(&mut self) {
        self.pulse = None;
        for at in 0..self.clients.len() {
            if self.clients[at].is_connected() {
                self.let_go(at);
            }
        }
        for stream in &mut self.streams {
            if matches!(stream.course, Course::Open | Course::Answered) && !stream.tap.is_ended() {
                stream.end(false);
            }
        }
        settle().await;
        let beats = DETACHED.as_millis() / BEAT.as_millis() + 3;
        for _ in 0..beats {
            tokio::time::advance(BEAT).await;
            settle().await;
        }
        let left = self.handle.streams();
        assert!(left.is_empty(), "OB-1: {left:?}");
        assert_eq!(self.handle.stats().detached, 0, "OB-1");
        for stream in &self.streams {
            assert!(stream.tap.is_dropped(), "OB-1: a server is still read");
        }
        tokio::time::advance(RETAIN + Duration::from_secs(2)).await;
        settle().await;
        let stats = self.book.store.memory.stats();
        assert_eq!((stats.streams, stats.bytes), (0, 0), "OB-1");
    }
}
