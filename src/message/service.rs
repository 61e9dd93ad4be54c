use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Message, MessageLayer, ResponseFuture,
    arrival::{Arrival, Limits},
    classify,
    future::Reading,
    tell,
};
use crate::body::{RequestBody, ResponseBody};

/// Reads the body of each POST, then calls the inner service.
///
/// See the [module docs](crate::message).
#[derive(Clone, Copy, Debug)]
pub struct ReadMessage<S> {
    inner: S,
    limits: Limits,
}

impl<S> ReadMessage<S> {
    /// Wraps `inner` with the default limits.
    pub const fn new(inner: S) -> Self {
        Self::with_limits(inner, MessageLayer::new().limits)
    }

    pub(super) const fn with_limits(inner: S, limits: Limits) -> Self {
        Self { inner, limits }
    }

    /// The layer that makes this service, with the default limits.
    pub const fn layer() -> MessageLayer {
        MessageLayer::new()
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ReadMessage<S>
where
    S: Service<Request<RequestBody<ReqBody>>, Response = Response<ResBody>> + Clone,
    ReqBody: Body<Data = Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        // What an outer layer has read need not be read again.
        let is_read = request.extensions().get::<Message>().is_some();
        if request.method() != Method::POST || is_read {
            if !is_read {
                let classified = classify(request.method(), request.headers(), None);
                tell(&classified);
                request.extensions_mut().insert(classified.era);
            }
            let call = self.inner.call(request.map(RequestBody::streaming));
            return ResponseFuture::calling(call);
        }

        let version = request.version();
        if let Some(refusal) = Arrival::refusal(request.body(), self.limits, version) {
            return ResponseFuture::refused(refusal);
        }
        let (parts, body) = request.into_parts();
        let arrival = Arrival::new(body, self.limits, version);
        // The service that was polled ready goes with the request; its clone stays behind.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        ResponseFuture::reading(Reading { parts, service }, arrival)
    }
}
