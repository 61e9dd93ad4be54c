use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_service::Service;

use super::{
    AuthLayer, Authorize, Credentials, Decision, ResponseBody, ResponseFuture,
    admit::{admit, admit_anonymous, refuse},
    bearer::{self, NoToken},
    future::Waiting,
    layer::Shared,
    query,
};

/// Has the token of each request judged, then calls the inner service.
///
/// See the [module docs](crate::auth).
pub struct Auth<S, A> {
    inner: S,
    shared: Arc<Shared<A>>,
}

impl<S, A> Auth<S, A> {
    pub(super) const fn with_shared(inner: S, shared: Arc<Shared<A>>) -> Self {
        Self { inner, shared }
    }

    /// The layer that makes this service, with `authorizer` and nothing else set.
    pub fn layer(authorizer: A) -> AuthLayer<A> {
        AuthLayer::new(authorizer)
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

impl<S, A, ReqBody, ResBody> Service<Request<ReqBody>> for Auth<S, A>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    A: Authorize,
    ResBody: http_body::Body<Data = bytes::Bytes>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<A::Future, S, ReqBody, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let Shared { authorizer, config } = &*self.shared;
        query::strip(request.uri_mut());
        let credentials = bearer::take(request.headers_mut());
        let token = credentials.as_ref().map_err(|reason| *reason);
        let token = match token.and_then(bearer::token) {
            Ok(token) => token,
            Err(NoToken::Absent) if config.is_optional => {
                let asked = admit_anonymous(&mut request, config);
                return ResponseFuture::calling(self.inner.call(request), asked);
            }
            Err(reason) => {
                tracing::debug!(?reason, "refusing a request without a token");
                let refusal = config.challenge.no_token(reason);
                return ResponseFuture::refused(refuse(&request, refusal));
            }
        };
        let decided = match authorizer.authorize(Credentials::of(token, &request)) {
            Decision::Now(decided) => decided,
            Decision::Later(decision) => {
                // The service that was polled ready goes with the request; its clone stays behind.
                let clone = self.inner.clone();
                let service = mem::replace(&mut self.inner, clone);
                let waiting = Waiting {
                    request,
                    service,
                    config: Arc::clone(config),
                };
                return ResponseFuture::authorizing(decision, waiting);
            }
        };
        match admit(&mut request, decided, config) {
            Ok(asked) => ResponseFuture::calling(self.inner.call(request), asked),
            Err(refused) => ResponseFuture::refused(refused),
        }
    }
}

impl<S: Clone, A> Clone for Auth<S, A> {
    fn clone(&self) -> Self {
        let Self { inner, shared } = self;
        Self {
            inner: inner.clone(),
            shared: Arc::clone(shared),
        }
    }
}

impl<S: fmt::Debug, A> fmt::Debug for Auth<S, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inner, shared } = self;
        f.debug_struct("Auth")
            .field("inner", inner)
            .field("config", &shared.config)
            .finish_non_exhaustive()
    }
}
