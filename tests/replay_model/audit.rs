//! What has to be true of a world.

use shadowcat::replay::StreamState;
use shadowcat::store::End;

use super::client::Mode;
use super::op::Kind;
use super::oracle::Course;
use super::truth::{self, Truth};
use super::world::{BEAT, DETACHED, World};

impl World {
    pub(crate) fn check_quiet(&self, at: usize) {
        let client = &self.clients[at];
        let stream = &self.streams[client.stream];
        assert!(!client.is_fenced, "RPL-9: fenced, and does not end");
        let all = stream.events.len() as u64 + 1;
        match client.mode {
            Mode::Modern => {}
            _ if client.is_dismissed => panic!("RPL-9: dismissed, and does not end"),
            Mode::Live => {
                assert_eq!(client.next, all, "RPL-9: quiet before all was sent");
                let may_wait = matches!(stream.course, Course::Open | Course::Answered);
                assert!(may_wait, "RPL-9: {:?}, and does not end", stream.course);
            }
            Mode::Log => panic!("RPL-9: a log that is over does not end"),
        }
    }

    pub(crate) fn check_end(&self, at: usize, stalled: bool) {
        let client = &self.clients[at];
        let stream = &self.streams[client.stream];
        if client.mode == Mode::Modern {
            assert!(stream.tap.is_ended(), "RPL-15");
            return;
        }
        if client.is_fenced || client.is_dismissed || stalled || stream.is_deleted || client.is_told
        {
            return;
        }
        let all = stream.events.len() as u64 + 1;
        assert_eq!(
            client.next, all,
            "RPL-10: ends before all was sent; {:?} {:?} {:?}",
            client.mode, stream.course, stream.excuse
        );
        assert_ne!(
            stream.course,
            Course::Open,
            "RPL-10: client {} of {} ends without an end; {:?} {:?}",
            client.nth,
            client.stream,
            client.mode,
            stream.excuse
        );
        assert!(
            client.mode == Mode::Live || stream.course != Course::Suspended,
            "RPL-10: ends without an end"
        );
    }

    /// What has to be true at any time.
    pub(crate) fn audit(&mut self) {
        let stats = self.handle.stats();
        let connected = self.clients.iter().filter(|one| one.is_connected()).count();
        let connected = connected + usize::from(self.pulse.is_some());
        assert!(stats.attached <= connected, "RPL-8: attached to nobody");
        assert!(stats.detached <= self.setup.max_detached, "RPL-8");
        if let Some(max_held) = self.max_held {
            let held = self.book.store.memory.stats().bytes;
            assert!(held <= max_held, "RPL-8: {held} bytes");
        }
        let listed = self.handle.streams();
        for (at, stream) in self.streams.iter_mut().enumerate() {
            let is_listed = listed.iter().any(|info| info.serial == stream.serial);
            let is_going_on = matches!(stream.course, Course::Open | Course::Suspended);
            let truth = stream
                .key
                .filter(|_| !is_listed && is_going_on && stream.may_be_given_up())
                .and_then(|key| truth::read(&self.book.store, key, stream.owner, 0));
            if let Some(truth) = truth.filter(|truth| truth.end == Some(End::Failed)) {
                let said = stream.given_up_after(truth.tail);
                stream.give_up(said.expect("RPL-10: an error for each request that waits"));
            }
            if stream.kind == Kind::Modern || stream.is_gone || stream.excuse.is_some() {
                continue;
            }
            let info = listed.iter().find(|info| info.serial == stream.serial);
            let Some(info) = info else {
                stream.is_gone = true;
                let is_going_on = matches!(stream.course, Course::Open | Course::Suspended);
                let truth = stream
                    .key
                    .and_then(|key| truth::read(&self.book.store, key, stream.owner, 0));
                let is_whole = |truth: Truth| truth.tail == stream.events.len() as u64;
                if !is_going_on && truth.is_none_or(is_whole) {
                    continue;
                }
                let mut drivers = self.clients.iter_mut().filter(|client| {
                    client.stream == at && client.is_connected() && client.mode == Mode::Live
                });
                let has_driver = drivers.any(|client| !client.is_fenced && !client.is_stalled());
                assert!(
                    !has_driver,
                    "RPL-1: stream {at} ended under its client, {:?} {:?} after it was left",
                    stream.kind,
                    stream.left.elapsed()
                );
                let limit = DETACHED - 2 * BEAT;
                let is_late = stream.left.elapsed() >= limit || stream.fresh.elapsed() >= limit;
                assert!(
                    self.book.is_crowded || is_late,
                    "RPL-1: given up without a reason"
                );
                stream.excuse("nobody came back, or there was no room");
                continue;
            };
            assert_eq!(info.owner, stream.owner, "RPL-3");
            let is_read = info.state == StreamState::Suspended || !stream.tap.is_dropped();
            assert!(
                is_read || stream.course != Course::Open,
                "SSE-9: the server is not read"
            );
        }
    }
}
