use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Caller, Charge, Decision, KeyError, Limiter, LocalLimiter, Quota, RateKey, RateLimitLayer,
    ResponseBody, ResponseFuture,
    admit::{Admitted, admit},
    cost::Charged,
    future::Waiting,
    layer::Shared,
    refuse::{self, Refused},
};
use crate::message::Message;

/// Charges each request to its key, then calls the inner service.
///
/// See the [module docs](crate::rate_limit). The inner service has to be `Clone` whatever the limiter is,
/// because one that takes its time has the request wait together with the service that was polled ready,
/// and leaves a clone behind; a [`LocalLimiter`] never clones it.
pub struct RateLimit<S, K, L = LocalLimiter> {
    inner: S,
    shared: Arc<Shared<K, L>>,
}

impl<S, K, L> RateLimit<S, K, L> {
    pub(super) const fn with_shared(inner: S, shared: Arc<Shared<K, L>>) -> Self {
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

impl<S, K: RateKey> RateLimit<S, K> {
    /// The layer that makes this service, with nothing else set.
    pub fn layer(key: K, quota: Quota) -> RateLimitLayer<K> {
        RateLimitLayer::new(key, quota)
    }
}

/// Whether a request was let in, or when that will be known.
enum Asked<G, F> {
    Now(Result<Admitted<G>, Refused>),
    Later(F, Charge),
}

impl<K: RateKey, L: Limiter> Shared<K, L> {
    #[inline]
    fn ask<B>(&self, request: &Request<B>) -> Asked<L::Slot, L::Future> {
        let charge = match self.config.costs.charge(request) {
            Ok(Charged::With(charge)) => charge,
            Ok(Charged::Exempt) => {
                self.tally.count_exempt();
                return Asked::Now(Ok(Admitted::default()));
            }
            Err(error) => return Asked::Now(Err(self.keyless(&error, request))),
        };
        let key = match self.key.key(Caller::new(request)) {
            Ok(key) => key,
            Err(error) => return Asked::Now(Err(self.keyless(&error, request))),
        };
        match self.limiter.check(&key, charge) {
            Decision::Now(verdict) => Asked::Now(admit(verdict, charge, &self.config, request)),
            Decision::Later(verdict) => Asked::Later(verdict, charge),
        }
    }

    #[cold]
    fn keyless<B>(&self, error: &KeyError, request: &Request<B>) -> Refused {
        self.tally.count_keyless(error);
        refuse::keyless(request.extensions().get::<Message>())
    }
}

impl<S, K, L, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<S, K, L>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    K: RateKey,
    L: Limiter,
    ResBody: Body<Data = bytes::Bytes>,
{
    type Response = Response<ResponseBody<ResBody, L::Slot>>;
    type Error = S::Error;
    type Future = ResponseFuture<L::Future, S, ReqBody, S::Future, L::Slot>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        match self.shared.ask(&request) {
            Asked::Now(Ok(admitted)) => ResponseFuture::calling(self.inner.call(request), admitted),
            Asked::Now(Err(refused)) => ResponseFuture::refused(refused),
            Asked::Later(verdict, charge) => {
                ResponseFuture::waiting(verdict, self.waiting(request, charge))
            }
        }
    }
}

impl<S: Clone, K, L> RateLimit<S, K, L> {
    /// What waits for a verdict. Apart from where it need not, because a request is much to move about.
    #[cold]
    fn waiting<B>(&mut self, request: Request<B>, charge: Charge) -> Box<Waiting<S, B>> {
        // The service that was polled ready goes with the request; its clone stays behind.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        Box::new(Waiting {
            request,
            charge,
            service,
            config: Arc::clone(&self.shared.config),
        })
    }
}

impl<S: Clone, K, L> Clone for RateLimit<S, K, L> {
    fn clone(&self) -> Self {
        let Self { inner, shared } = self;
        Self {
            inner: inner.clone(),
            shared: Arc::clone(shared),
        }
    }
}

impl<S: fmt::Debug, K, L: fmt::Debug> fmt::Debug for RateLimit<S, K, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        shared.debug(f.debug_struct("RateLimit").field("inner", inner))
    }
}
