use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    ResponseFuture, SessionLayer,
    begin::{Begun, begin},
    layer::Shared,
};
use crate::{
    message::{Arrival, Limits, is_unread},
    refusal::Recipient,
    store::SessionStore,
};

/// Checks whose session a request is of, then calls the inner service.
///
/// See the [module docs](crate::session).
pub struct BindSession<S, T> {
    inner: S,
    shared: Arc<Shared<T>>,
}

impl<S, T> BindSession<S, T> {
    pub(super) const fn new(inner: S, shared: Arc<Shared<T>>) -> Self {
        Self { inner, shared }
    }

    /// The layer that makes this service, with `store` and nothing else set.
    pub fn layer(store: T) -> SessionLayer<T>
    where
        T: SessionStore,
    {
        SessionLayer::new(store)
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

impl<S, T, ReqBody, ResBody> Service<Request<ReqBody>> for BindSession<S, T>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Body<Data = Bytes> + From<Bytes> + 'static,
    ResBody: Body<Data = Bytes> + 'static,
    T: SessionStore,
{
    type Response = Response<super::ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, S::Future, ReqBody, ResBody, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        if is_unread(&request) {
            let version = request.version();
            if let Some(refusal) = Arrival::refusal(request.body(), Limits::DEFAULT, version) {
                return ResponseFuture::refused(refusal, Recipient::default(), shared);
            }
            let (parts, body) = request.into_parts();
            let arrival = Arrival::new(body, Limits::DEFAULT, version);
            return ResponseFuture::reading(arrival, parts, self.take_ready(), shared);
        }
        match begin(&mut request, &self.inner, &shared) {
            Begun::Ready(role) => {
                let call = self.inner.call(request);
                ResponseFuture::calling(call, role, shared)
            }
            Begun::Refused(reason, recipient) => {
                ResponseFuture::refused(reason.refusal(), recipient, shared)
            }
            Begun::Waiting(wait, lookup) => {
                ResponseFuture::waiting(wait, lookup, request, self.take_ready(), shared)
            }
        }
    }
}

impl<S: Clone, T> BindSession<S, T> {
    /// The service that was polled ready; its clone stays behind.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S: Clone, T> Clone for BindSession<S, T> {
    fn clone(&self) -> Self {
        let Self { inner, shared } = self;
        Self {
            inner: inner.clone(),
            shared: Arc::clone(shared),
        }
    }
}

impl<S: fmt::Debug, T: fmt::Debug> fmt::Debug for BindSession<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        f.debug_struct("BindSession")
            .field("inner", inner)
            .field("store", &shared.store)
            .finish_non_exhaustive()
    }
}
