use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    InterceptLayer, Links, ResponseBody, ResponseFuture,
    begin::{Wants, may_have_message},
    deliberate::Ruled,
    future::{Judging, Reading},
    layer::Shared,
};
use crate::{
    BoxError,
    message::{Arrival, Limits, Message},
    refusal::Recipient,
};

/// Has interceptors look at each request, calls the inner service, and has them look at what comes back.
///
/// See the [module docs](crate::intercept).
pub struct Intercept<S, L> {
    inner: S,
    shared: Arc<Shared<L>>,
}

impl<S, L> Intercept<S, L> {
    pub(super) const fn with_shared(inner: S, shared: Arc<Shared<L>>) -> Self {
        Self { inner, shared }
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

impl<S, L: Links> Intercept<S, L> {
    /// Asks `links` about what goes to `inner` and what comes back, with nothing else set.
    pub fn new(inner: S, links: L) -> Self {
        Self::layer(links).layer(inner)
    }

    /// The layer that makes this service, with nothing else set.
    pub fn layer(links: L) -> InterceptLayer<L> {
        InterceptLayer::new(links)
    }
}

impl<S, L, ReqBody, ResBody> Service<Request<ReqBody>> for Intercept<S, L>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: Body<Data = Bytes> + From<Bytes>,
    ResBody: Body<Data = Bytes>,
    ResBody::Error: Into<BoxError>,
    L: Links,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S, ReqBody, S::Future, L>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let message = request.extensions().get::<Message>();
        if message.is_none() && may_have_message(request.method()) && self.shared.is_interested() {
            return self.read(request);
        }
        let wants = self.shared.wants(message);
        if wants.is_nothing() {
            return ResponseFuture::calling(self.inner.call(request), None);
        }
        self.judge(request, wants)
    }
}

impl<S: Clone, L: Links> Intercept<S, L> {
    #[cold]
    fn read<B>(&mut self, request: Request<B>) -> ResponseFuture<S, B, S::Future, L>
    where
        S: Service<Request<B>>,
        B: Body<Data = Bytes>,
    {
        let version = request.version();
        if let Some(refusal) = Arrival::refusal(request.body(), Limits::DEFAULT, version) {
            return ResponseFuture::refused(refusal, &Recipient::default());
        }
        let (parts, body) = request.into_parts();
        let arrival = Arrival::new(body, Limits::DEFAULT, version);
        let reading = Reading {
            parts,
            service: self.take_ready(),
            shared: Arc::clone(&self.shared),
        };
        ResponseFuture::reading(arrival, reading)
    }

    /// Apart from where nobody is interested, because a request is much to move about.
    #[inline(never)]
    fn judge<B>(&mut self, request: Request<B>, wants: Wants) -> ResponseFuture<S, B, S::Future, L>
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        let (mut parts, body) = request.into_parts();
        let begun = match self.shared.begin(&mut parts, wants) {
            Ok(begun) => begun,
            Err(refused) => return ResponseFuture::refused(refused.0, &refused.1),
        };
        let request = Request::from_parts(parts, body);
        match begun.ruled {
            Ruled::Now(ruling) => match ruling.apply(request) {
                Ok(request) => ResponseFuture::calling(self.inner.call(request), begun.watch),
                Err(response) => ResponseFuture::answered(response),
            },
            Ruled::Later(ruling) => {
                let judging = Judging {
                    request,
                    service: self.take_ready(),
                    watch: begun.watch,
                };
                ResponseFuture::judging(ruling, judging)
            }
        }
    }

    /// The service that was polled ready; its clone stays behind.
    fn take_ready(&mut self) -> S {
        let clone = self.inner.clone();
        mem::replace(&mut self.inner, clone)
    }
}

impl<S: Clone, L> Clone for Intercept<S, L> {
    fn clone(&self) -> Self {
        let Self { inner, shared } = self;
        Self {
            inner: inner.clone(),
            shared: Arc::clone(shared),
        }
    }
}

impl<S: fmt::Debug, L> fmt::Debug for Intercept<S, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        shared.debug(f.debug_struct("Intercept").field("inner", inner))
    }
}
