use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::ORIGIN};
use tower_service::Service;

use super::{OriginLayer, ResponseFuture, allowed::Allowed};
use crate::body::ResponseBody;

/// Calls the inner service for requests that mean this server, and come from where they may.
///
/// See the [module docs](crate::origin).
#[derive(Clone, Debug)]
pub struct CheckOrigin<S> {
    inner: S,
    allowed: Arc<Allowed>,
}

impl<S> CheckOrigin<S> {
    pub(super) const fn with_allowed(inner: S, allowed: Arc<Allowed>) -> Self {
        Self { inner, allowed }
    }

    /// The layer that makes this service, with nothing allowed yet.
    pub fn layer() -> OriginLayer {
        OriginLayer::new()
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

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for CheckOrigin<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        match self.allowed.judge(request.uri(), request.headers()) {
            Ok(has_origin) => {
                if has_origin {
                    // Judged here, under the name that the client used: whoever is behind has
                    // another name, and would judge it by that (ORG-5).
                    request.headers_mut().remove(ORIGIN);
                }
                ResponseFuture::calling(self.inner.call(request))
            }
            Err(reason) => {
                tracing::debug!(?reason, "refusing a request");
                ResponseFuture::refused(reason)
            }
        }
    }
}
