use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use super::{StreamState, hub::Hub};
use crate::store::Owner;

/// Looks at the streams of a [`ReplayLayer`](super::ReplayLayer), and ends them.
#[derive(Clone, Debug)]
pub struct ReplayHandle {
    hub: Arc<Hub>,
}

/// What a layer has done so far, and is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayStats {
    /// Streams with a client, those that are only read from the store too.
    pub attached: usize,
    /// Streams that go on without one.
    pub detached: usize,
    /// Streams that wait for their client to ask for the rest.
    pub suspended: usize,
    /// Streams ever tracked, resumptions of them from the store too.
    pub tracked_total: u64,
    /// Cursors accepted.
    pub resumed_total: u64,
    /// Cursors refused: forged, foreign, forgotten.
    pub refused_total: u64,
    /// Gaps that were told to a client in a stream.
    pub gaps_total: u64,
    /// Clients that were detached because they did not read.
    pub stalled_total: u64,
    /// Streams that were given up: nobody came back for them, or they could not be recorded.
    pub lost_total: u64,
}

/// One stream, as [`ReplayHandle::streams`] lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamInfo {
    /// Names the stream to [`ReplayHandle::end`], and to nobody else.
    pub serial: u64,
    /// Whose it is.
    pub owner: Owner,
    /// Who drives it.
    pub state: StreamState,
    /// Whether a GET opened it.
    pub is_get: bool,
}

impl ReplayHandle {
    pub(super) const fn new(hub: Arc<Hub>) -> Self {
        Self { hub }
    }

    /// Counts what there is and was.
    #[must_use]
    pub fn stats(&self) -> ReplayStats {
        let counters = &self.hub.counters;
        let mut stats = ReplayStats {
            tracked_total: counters.tracked.load(Relaxed),
            resumed_total: counters.resumed.load(Relaxed),
            refused_total: counters.refused.load(Relaxed),
            gaps_total: counters.gaps.load(Relaxed),
            stalled_total: counters.stalled.load(Relaxed),
            lost_total: counters.lost.load(Relaxed),
            ..ReplayStats::default()
        };
        for stream in self.hub.streams() {
            match stream.state() {
                StreamState::Attached => stats.attached += 1,
                StreamState::Detached => stats.detached += 1,
                StreamState::Suspended => stats.suspended += 1,
                StreamState::Closing | StreamState::Over => {}
            }
        }
        stats
    }

    /// The streams that there are, oldest first.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamInfo> {
        let streams = self.hub.streams();
        let mut list: Vec<_> = streams
            .iter()
            .map(|stream| StreamInfo {
                serial: stream.serial,
                owner: stream.owner,
                state: stream.state(),
                is_get: stream.about.is_get,
            })
            .collect();
        list.sort_unstable_by_key(|info| info.serial);
        list
    }

    /// Sends the client of one stream away, at the end of an event, to come back after `retry` or up
    /// to twice that. The stream goes on. False if there is no such stream,
    /// or it has no client.
    #[must_use = "tells whether there was such a stream"]
    pub fn end(&self, serial: u64, retry: Duration) -> bool {
        let stream = self
            .hub
            .streams()
            .into_iter()
            .find(|stream| stream.serial == serial);
        stream.is_some_and(|stream| stream.dismiss(retry))
    }

    /// Sends all clients away for good, those that are still to come too, and ends their streams:
    /// for a server that stops.
    ///
    /// Each client is asked, at the end of an event, to come back after `retry` or up to twice that,
    /// so that not all of them come at once (C59).
    pub fn end_all(&self, retry: Duration) {
        let retry = self.hub.close(retry);
        for stream in self.hub.streams() {
            if !stream.dismiss(retry) {
                stream.terminate();
            }
        }
    }
}
