use std::{
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri, request::Parts, uri::PathAndQuery,
};
use tower_service::Service;

use super::Session;
use crate::{
    header::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    protocol::Era,
    store::SessionRecord,
};

/// Says that a request is the layer's own: the DELETE by which a server is told that a session is
/// over (SES-11).
///
/// Found in the request's extensions, next to the [`Session`]. It comes from no client, so it carries
/// no [`Principal`](crate::auth::Principal), and nothing of what other layers outside have found; a
/// policy inside lets it pass and does not count it.
#[derive(Clone, Copy, Debug)]
pub struct Farewell(());

/// What a server is told when a session is over.
pub(super) struct Notice {
    pub(super) session: Session,
    /// What the server calls it.
    pub(super) upstream: HeaderValue,
    /// Where it was opened.
    pub(super) path: Arc<Uri>,
}

impl Notice {
    /// Of a session that was established; `None` if nobody knows where.
    pub(super) fn new(session: &SessionRecord) -> Option<Self> {
        Some(Self {
            session: Session::new(session.clone()),
            upstream: session.upstream()?.clone(),
            path: Arc::clone(session.path()?),
        })
    }

    /// Sends it, once.
    pub(super) async fn send<S, B, ResBody>(self, mut service: S)
    where
        S: Service<Request<B>, Response = Response<ResBody>>,
        B: From<Bytes>,
    {
        if poll_fn(|cx| service.poll_ready(cx)).await.is_err() {
            return;
        }
        let called = service.call(Request::from_parts(
            self.into_parts(),
            B::from(Bytes::new()),
        ));
        let called = called.await;
        let status: Option<StatusCode> = called.ok().map(|response| response.status());
        tracing::debug!(?status, "told a server that a session is over");
    }

    fn into_parts(self) -> Parts {
        let Self {
            session,
            upstream,
            path,
        } = self;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = Method::DELETE;
        parts.uri = Uri::clone(&path);
        parts.headers.insert(MCP_SESSION_ID, upstream);
        if let Some(version) = session.version() {
            parts.extensions.insert(Era::from(version));
            let version = HeaderValue::from_static(version.as_str());
            parts.headers.insert(MCP_PROTOCOL_VERSION, version);
        }
        parts.extensions.insert(session);
        parts.extensions.insert(Farewell(()));
        parts
    }
}

/// The paths that sessions are opened at. Nearly all are one, which they share.
#[derive(Debug, Default)]
pub(super) struct Paths {
    last: Mutex<Option<Arc<Uri>>>,
}

impl Paths {
    /// A longer one is not kept for as long as a session.
    const MAX_LEN: usize = 1_024;

    /// The path of `uri`, without the rest of it: what else a client has said there is not for
    /// another request (`None` if it is too long).
    pub(super) fn of(&self, uri: &Uri) -> Option<Arc<Uri>> {
        let path = uri.path();
        if path.len() > Self::MAX_LEN {
            tracing::debug!("a path is too long to tell a server of the end of a session");
            return None;
        }
        let mut last = self.last();
        if let Some(last) = last.as_ref().filter(|last| last.path() == path) {
            return Some(Arc::clone(last));
        }
        // A copy, because a part of a transport buffer would keep all of it.
        let copy = PathAndQuery::try_from(path).ok()?;
        let path = Arc::new(Uri::from(copy));
        *last = Some(Arc::clone(&path));
        Some(path)
    }

    fn last(&self) -> MutexGuard<'_, Option<Arc<Uri>>> {
        // Nothing in here can panic half way.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_kept_without_the_rest_and_shared() {
        let paths = Paths::default();
        let of = |uri: &str| paths.of(&uri.parse().expect("a URI"));
        let first = of("/mcp/a?token=x").expect("short");
        assert_eq!(*first, "/mcp/a");
        let second = of("http://host/mcp/a?token=y").expect("short");
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*of("/mcp/b").expect("short"), "/mcp/b");
        assert!(of(&format!("/{}", "x".repeat(Paths::MAX_LEN))).is_none());
    }
}
