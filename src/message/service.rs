use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Message, MessageLayer, ResponseFuture, classify,
    collect::Collect,
    future::{self, Reading},
    layer::Config,
};
use crate::body::{RequestBody, ResponseBody};

/// Reads the body of each POST, then calls the inner service.
///
/// See the [module docs](crate::message).
#[derive(Clone, Copy, Debug)]
pub struct ReadMessage<S> {
    inner: S,
    config: Config,
}

impl<S> ReadMessage<S> {
    /// Wraps `inner` with the default limits.
    pub const fn new(inner: S) -> Self {
        Self::with_config(inner, MessageLayer::new().config)
    }

    pub(super) const fn with_config(inner: S, config: Config) -> Self {
        Self { inner, config }
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
                future::note(&classified);
                request.extensions_mut().insert(classified.era);
            }
            let call = self.inner.call(request.map(RequestBody::streaming));
            return ResponseFuture::calling(call);
        }

        let Config {
            max_body_bytes,
            read_timeout,
        } = self.config;
        if Collect::is_refused(request.body(), max_body_bytes) {
            return ResponseFuture::refused(future::too_large(max_body_bytes, request.version()));
        }
        // The service that was polled ready goes with the request; its clone stays behind.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        let (parts, body) = request.into_parts();
        ResponseFuture::reading(
            Reading {
                parts,
                service,
                max_body_bytes,
                read_timeout,
            },
            Collect::new(body, max_body_bytes),
        )
    }
}
