//! The service that the limit is compared over, and the layer that it is compared with.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use shadowcat::auth::Principal;
use tower::{Layer, Service};
use tower_governor::{
    GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor,
};

pub(crate) type Requests = Rc<RefCell<Vec<Request<Full<Bytes>>>>>;

/// Keeps the requests for the next round.
#[derive(Clone)]
pub(crate) struct Inner(pub(crate) Requests);

impl Service<Request<Full<Bytes>>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        self.0.borrow_mut().push(request);
        Answer
    }
}

/// Makes its response when it is asked for it, so that nobody has to carry one about.
pub(crate) struct Answer;

impl Future for Answer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(Response::new(Body::default())))
    }
}

/// A client by its token, as tower_governor's own documents do it: one of 256 bits.
#[derive(Clone)]
pub(crate) struct ByToken;

/// What we go by.
#[derive(Clone)]
pub(crate) struct ByDigest;

impl KeyExtractor for ByToken {
    type Key = String;

    fn extract<T>(&self, request: &Request<T>) -> Result<String, GovernorError> {
        let value = request.headers().get(AUTHORIZATION);
        let value = value.and_then(|value| value.to_str().ok());
        let token = value.and_then(|value| value.strip_prefix("Bearer "));
        let token = token.map(|token| token.trim().to_owned());
        token.ok_or(GovernorError::UnableToExtractKey)
    }
}

impl KeyExtractor for ByDigest {
    type Key = [u8; 32];

    fn extract<T>(&self, request: &Request<T>) -> Result<[u8; 32], GovernorError> {
        let principal = request.extensions().get::<Principal>();
        let principal = principal.ok_or(GovernorError::UnableToExtractKey)?;
        Ok(*principal.owner().as_bytes())
    }
}

pub(crate) fn governor<K>(
    key: K,
) -> impl Layer<Inner, Service: Service<Request<Full<Bytes>>, Error = Infallible> + 'static>
where
    K: KeyExtractor + 'static,
{
    let config = GovernorConfigBuilder::default()
        .period(Duration::from_nanos(10))
        .burst_size(u32::MAX)
        .key_extractor(key)
        .finish();
    GovernorLayer::<_, _, Body>::new(config.expect("valid"))
}
