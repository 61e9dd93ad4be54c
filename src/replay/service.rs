use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    ReplayLayer, ResponseFuture,
    asked::{Asked, Cursor},
    layer::Shared,
    resume::{self, Claim},
};
use crate::{
    BoxError,
    header::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    message::{Arrival, Limits, is_unread},
    sse::{EventId, accepts_event_stream},
    store::EventStore,
};

/// Tracks the event streams of the inner service, and resumes them.
///
/// See the [module docs](crate::replay).
pub struct Replay<S, T> {
    inner: S,
    shared: Arc<Shared<T>>,
}

impl<S, T> Replay<S, T> {
    pub(super) const fn new(inner: S, shared: Arc<Shared<T>>) -> Self {
        Self { inner, shared }
    }

    /// The layer that makes this service, with `store` and the default limits.
    pub fn layer(store: T) -> ReplayLayer<T>
    where
        T: EventStore,
    {
        ReplayLayer::new(store)
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, T, ReqBody, ResBody> Service<Request<ReqBody>> for Replay<S, T>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    S::Future: Send + 'static,
    S::Error: 'static,
    ReqBody: Body<Data = Bytes> + From<Bytes>,
    ResBody: Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
    T: EventStore,
{
    type Response = Response<super::ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, S::Future, ReqBody, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        if is_unread(&request) && may_be_mcp(request.headers()) {
            let (parts, body) = request.into_parts();
            if let Some(refusal) = Arrival::refusal(&body, Limits::DEFAULT, parts.version) {
                return ResponseFuture::refused(refusal, shared);
            }
            let arrival = Arrival::new(body, Limits::DEFAULT, parts.version);
            return ResponseFuture::reading(arrival, parts, self.take_ready(), shared);
        }
        let headers = request.headers();
        let asked = Asked::new(request.method(), headers, request.extensions(), &shared.hub);
        if asked.misplaces_cursor() {
            return ResponseFuture::refused(resume::misplaced(), shared);
        }
        let cursor = if asked.is_get() && asked.era.has_event_ids() {
            Cursor::of(headers)
        } else {
            Cursor::Absent
        };
        match cursor {
            Cursor::Absent => {}
            Cursor::Invalid => {
                shared.hub.count_refused();
                return ResponseFuture::refused(resume::unknown(), shared);
            }
            Cursor::At(id) => {
                let claim = Claim::new(id, &asked);
                return ResponseFuture::resuming(claim, asked, self.take_ready(), request, shared);
            }
        }
        if asked.is_get()
            && asked.era.has_event_ids()
            && let Some(unheard) = shared.hub.replace_standalone(&asked)
        {
            let claim = Claim::new(EventId::new(unheard, 0), &asked);
            return ResponseFuture::resuming(claim, asked, self.take_ready(), request, shared);
        }
        let call = self.inner.call(request);
        ResponseFuture::calling(call, asked, shared)
    }
}

impl<S: Clone, T> Replay<S, T> {
    /// The service that was polled ready; its clone stays behind.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

/// Whether a POST may be of an MCP client: it takes a stream for an answer, or has named its session
/// or revision. Others may send JSON to whatever this layer is in front of.
fn may_be_mcp(headers: &HeaderMap) -> bool {
    accepts_event_stream(headers)
        || headers.contains_key(MCP_SESSION_ID)
        || headers.contains_key(MCP_PROTOCOL_VERSION)
}

impl<S: Clone, T> Clone for Replay<S, T> {
    fn clone(&self) -> Self {
        let Self { inner, shared } = self;
        Self {
            inner: inner.clone(),
            shared: Arc::clone(shared),
        }
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for Replay<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        f.debug_struct("Replay")
            .field("inner", inner)
            .field("store", &shared.store)
            .finish_non_exhaustive()
    }
}
