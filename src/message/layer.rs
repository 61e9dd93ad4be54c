use std::time::Duration;

use tower_layer::Layer;

use super::{ReadMessage, arrival::Limits};

/// Reads the body of each POST once, for every layer inside of it.
///
/// See the [module docs](crate::message).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct MessageLayer {
    pub(super) limits: Limits,
}

impl MessageLayer {
    /// The longest body read by default: 4 MiB, as in the Go and Rust SDKs.
    pub const DEFAULT_MAX_BODY_BYTES: usize = Limits::MAX_BODY_BYTES;

    /// The time that a client has by default to send its body: 30 s.
    pub const DEFAULT_READ_TIMEOUT: Duration = Limits::READ_TIMEOUT;

    /// Reads bodies of up to [4 MiB](Self::DEFAULT_MAX_BODY_BYTES) that arrive within
    /// [30 s](Self::DEFAULT_READ_TIMEOUT).
    pub const fn new() -> Self {
        Self {
            limits: Limits::DEFAULT,
        }
    }

    /// Refuses bodies of more than `bytes` with 413.
    pub const fn with_max_body_bytes(mut self, bytes: usize) -> Self {
        self.limits.max_body_bytes = bytes;
        self
    }

    /// Refuses bodies that have not arrived whole after `timeout` with 408. `None` waits for ever,
    /// for a server that has a deadline of its own.
    pub const fn with_read_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.limits.read_timeout = timeout;
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
        ReadMessage::with_limits(inner, self.limits)
    }
}
