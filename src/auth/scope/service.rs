use std::{
    mem,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{ScopeFuture, ScopeLayer, future::Reading, policy::Policy};
use crate::{
    body::ResponseBody,
    message::{Arrival, Limits, Message},
    refusal::Recipient,
};

/// Looks up which scopes a request needs, then calls the inner service.
///
/// See the [module docs](crate::auth).
#[derive(Clone, Debug)]
pub struct CheckScopes<S> {
    inner: S,
    policy: Arc<Policy>,
}

/// How much of a body is read if nobody has read it outside; as by
/// [`MessageLayer`](crate::message).
const LIMITS: Limits = Limits::DEFAULT;

impl<S> CheckScopes<S> {
    pub(super) const fn with_policy(inner: S, policy: Arc<Policy>) -> Self {
        Self { inner, policy }
    }

    /// The layer that makes this service, with no scope needed yet.
    pub fn layer() -> ScopeLayer {
        ScopeLayer::new()
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CheckScopes<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    ReqBody: Body<Data = Bytes> + From<Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ScopeFuture<S, ReqBody, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        if is_unread(&request) {
            let version = request.version();
            if let Some(refusal) = Arrival::refusal(request.body(), LIMITS, version) {
                return ScopeFuture::refused(Box::new((refusal, Recipient::default())));
            }
            let (parts, body) = request.into_parts();
            let arrival = Arrival::new(body, LIMITS, version);
            // The service that was polled ready goes with the request; its clone stays behind.
            let clone = self.inner.clone();
            let service = mem::replace(&mut self.inner, clone);
            let next = Reading {
                parts,
                service,
                policy: Arc::clone(&self.policy),
            };
            return ScopeFuture::reading(next, arrival);
        }
        match self.policy.judge(&request) {
            Ok(()) => ScopeFuture::calling(self.inner.call(request)),
            Err(refused) => ScopeFuture::refused(refused),
        }
    }
}

/// Whether there may be a message that nobody has read: whatever type it says it has, and in whatever
/// method a body is usual. A server need not look at either.
fn is_unread<B>(request: &Request<B>) -> bool {
    let has_none = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS
    );
    !has_none && request.extensions().get::<Message>().is_none()
}
