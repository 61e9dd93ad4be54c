use std::fmt;

use crate::{
    protocol::ProtocolVersion,
    store::{HookKey, Owner, SessionRecord},
};

/// The session that a request belongs to, or that it is about to open.
///
/// Found in the request's extensions inside of a [`SessionLayer`](super::SessionLayer): with an
/// `initialize` before it is known whether the server gives a session, see
/// [`is_established`](Self::is_established), with every later request of the session after its owner
/// was checked. A clone costs a reference count, and does not keep the session from expiring.
///
/// It knows no id: neither the client's, nor the server's.
#[derive(Clone)]
pub struct Session {
    record: SessionRecord,
}

impl Session {
    pub(super) const fn new(record: SessionRecord) -> Self {
        Self { record }
    }

    /// Whose everything is that is stored for the session: its principal's and its own (SES-7). It is
    /// the same from the `initialize` to the end, on every node.
    #[must_use]
    pub fn owner(&self) -> Owner {
        self.record.streams()
    }

    /// [`owner`](Self::owner), for who need not keep it.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) fn as_owner(&self) -> &Owner {
        self.record.as_streams()
    }

    /// Who may use the session; [`Owner::ANONYMOUS`] is whoever has its id.
    #[must_use]
    pub fn principal(&self) -> Owner {
        self.record.owner()
    }

    /// The revision that client and server have agreed on, once the server has said so (VER-9).
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.record.version()
    }

    /// Whether there is such a session: not before its `initialize` was answered with one. It may
    /// have ended since.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.record.is_established()
    }

    /// Whether it has ended: deleted, expired, terminated, given up by its server, or never given.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.record.is_ended()
    }

    /// Calls `hook` when the session ends on this node, or now if it has ended.
    ///
    /// Of the hooks of one key the first one stays, so that a layer may say this with every request;
    /// it has one [`HookKey`] for all sessions. The hook is called once, by whoever ends the session:
    /// it must not block, and must not panic.
    pub fn on_end(&self, key: HookKey, hook: impl FnOnce() + Send + 'static) {
        self.record.on_end(key, hook);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("owner", &self.owner())
            .field("version", &self.version())
            .field("is_established", &self.is_established())
            .field("is_ended", &self.is_ended())
            .finish_non_exhaustive()
    }
}
