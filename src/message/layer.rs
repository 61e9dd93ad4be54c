use std::time::Duration;

use tower_layer::Layer;

use super::{
    ReadMessage,
    arrival::Limits,
    policy::{Policy, Versions},
};
use crate::protocol::ProtocolVersion;

/// Reads and judges the body of each POST once, for every layer inside of it.
///
/// See the [module docs](crate::message). A copy costs no more than its size: there is nothing
/// behind it to share.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct MessageLayer {
    pub(super) config: Config,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) limits: Limits,
    pub(super) policy: Policy,
}

impl MessageLayer {
    /// The longest body read by default: 4 MiB, as in the Go and Rust SDKs.
    pub const DEFAULT_MAX_BODY_BYTES: usize = Limits::MAX_BODY_BYTES;

    /// The time that a client has by default to send its body: 30 s.
    pub const DEFAULT_READ_TIMEOUT: Duration = Limits::READ_TIMEOUT;

    /// Reads bodies of up to [4 MiB](Self::DEFAULT_MAX_BODY_BYTES) that arrive within
    /// [30 s](Self::DEFAULT_READ_TIMEOUT), in every protocol revision.
    pub const fn new() -> Self {
        Self {
            config: Config {
                limits: Limits::DEFAULT,
                policy: Policy::ANY,
            },
        }
    }

    /// Refuses bodies of more than `bytes` with 413.
    pub const fn with_max_body_bytes(mut self, bytes: usize) -> Self {
        self.config.limits.max_body_bytes = bytes;
        self
    }

    /// Refuses bodies that have not arrived whole after `timeout` with 408. `None` waits for ever,
    /// for a server that has a deadline of its own.
    pub const fn with_read_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.config.limits.read_timeout = timeout;
        self
    }

    /// Refuses what follows another protocol revision than one of these; without a list the server
    /// judges (VER-2, VER-5).
    ///
    /// A stateless request gets 400 and −32022, with the list as `data.supported`: list nothing
    /// that the server's `server/discover` does not report. A request of a session gets 400
    /// and −32600; one that names no revision counts as 2025-03-26 (ERA-5). An `initialize` passes
    /// whatever it asks for, because the server may offer another revision. A list without any
    /// revision that has sessions does what [`with_modern_only`](Self::with_modern_only) does.
    pub const fn with_versions(mut self, versions: &[ProtocolVersion]) -> Self {
        self.config.policy.versions = Some(Versions::of(versions));
        self
    }

    /// Refuses everything that belongs to a revision with sessions, up to 2025-11-25 (ERA-5).
    ///
    /// `initialize`, and whatever else names such a revision, gets 400 and −32022 with
    /// `data.supported`, which is what old clients can show to their users (AMB-38). A request that
    /// names none gets 400 and −32020, GET and DELETE get 405.
    pub const fn with_modern_only(mut self, modern_only: bool) -> Self {
        self.config.policy.sessions = !modern_only;
        self
    }
}

impl Default for MessageLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for MessageLayer {
    type Service = ReadMessage<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReadMessage::with_config(inner, self.config)
    }
}
