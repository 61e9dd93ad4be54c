use std::{
    mem,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Message, MessageLayer, ResponseFuture, admit::admit, arrival::Arrival, future::Reading,
    layer::Config, media,
};
use crate::{
    body::{RequestBody, ResponseBody},
    refusal::Recipient,
};

/// Reads the body of each POST and judges it, then calls the inner service.
///
/// See the [module docs](crate::message).
#[derive(Clone, Copy, Debug)]
pub struct ReadMessage<S> {
    inner: S,
    config: Config,
}

impl<S> ReadMessage<S> {
    /// Wraps `inner` with the defaults.
    pub const fn new(inner: S) -> Self {
        Self::with_config(inner, MessageLayer::new().config)
    }

    pub(super) const fn with_config(inner: S, config: Config) -> Self {
        Self { inner, config }
    }

    /// The layer that makes this service, with the defaults.
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

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let Config { limits, policy } = self.config;
        let (mut parts, body) = request.into_parts();
        // What an outer layer has read need not be read again. That it was judged is another matter.
        let message = parts.extensions.get::<Message>().cloned();
        if parts.method != Method::POST || message.is_some() {
            return match admit(&mut parts, message.as_ref(), policy) {
                Ok(era) => {
                    match message {
                        Some(message) => parts.extensions.insert(message.in_era(era)).map(drop),
                        None => parts.extensions.insert(era).map(drop),
                    };
                    let body = RequestBody::streaming(body);
                    ResponseFuture::calling(self.inner.call(Request::from_parts(parts, body)))
                }
                Err(refused) => ResponseFuture::refused(refused),
            };
        }

        let unread = media::refusal(&parts.headers)
            .or_else(|| Arrival::refusal(&body, limits, parts.version));
        if let Some(refusal) = unread {
            return ResponseFuture::refused(Box::new((refusal, Recipient::default())));
        }
        let arrival = Arrival::new(body, limits, parts.version);
        // The service that was polled ready goes with the request; its clone stays behind.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        let next = Reading {
            parts,
            service,
            policy,
        };
        ResponseFuture::reading(next, arrival)
    }
}
