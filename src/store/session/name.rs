use std::{fmt, sync::Arc};

use http::{HeaderValue, Uri};

use super::SessionKey;

/// What a session is called: by its client, and by its server.
#[derive(Clone)]
#[repr(C)]
pub struct SessionName {
    key: SessionKey,
    secret: [u8; 16],
    upstream: HeaderValue,
    path: Option<Arc<Uri>>,
}

impl SessionName {
    /// A session that is found by `key`; `secret` is the part of its id that is compared, `upstream`
    /// is what its server calls it.
    #[must_use]
    pub const fn new(key: SessionKey, secret: [u8; 16], upstream: HeaderValue) -> Self {
        Self {
            key,
            secret,
            upstream,
            path: None,
        }
    }

    /// Says where its server is asked about it: the path that the session was opened at.
    #[must_use]
    pub fn with_path(self, path: Option<Arc<Uri>>) -> Self {
        Self { path, ..self }
    }

    /// Where it is found.
    #[must_use]
    #[inline]
    pub const fn key(&self) -> &SessionKey {
        &self.key
    }

    /// What its server calls it.
    #[must_use]
    pub const fn upstream(&self) -> &HeaderValue {
        &self.upstream
    }

    /// Where its server is asked about it, if that is known.
    #[must_use]
    pub const fn path(&self) -> Option<&Arc<Uri>> {
        self.path.as_ref()
    }

    /// Whether the two are one, wherever the server is asked.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.secret == other.secret && self.upstream == other.upstream
    }

    pub(super) const fn secret(&self) -> &[u8; 16] {
        &self.secret
    }
}

// All of it is secret but the path, which may name somebody.
impl fmt::Debug for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionName").finish_non_exhaustive()
    }
}
