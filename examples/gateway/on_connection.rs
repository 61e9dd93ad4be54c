//! The service of one connection.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use http::{Request, Response};
use hyper::service::Service as HyperService;
use pin_project_lite::pin_project;
use shadowcat::peer::PeerAddr;
use tower::{Service, ServiceExt, util::Oneshot};

/// Has hyper call a Tower service, and tells every layer who sent the request.
///
/// Over HTTP/1 one request follows the other, so the service need not be cloned for each, as
/// `TowerToHyperService` does: that takes two counters per layer that others change too.
pub(crate) struct OnConnection<S> {
    // Never waited for.
    service: Mutex<S>,
    peer: SocketAddr,
}

impl<S> OnConnection<S> {
    pub(crate) const fn new(service: S, peer: SocketAddr) -> Self {
        Self {
            service: Mutex::new(service),
            peer,
        }
    }
}

impl<S, ReqBody, ResBody> HyperService<Request<ReqBody>> for OnConnection<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = CallFuture<S::Future, Oneshot<S, Request<ReqBody>>>;

    fn call(&self, mut request: Request<ReqBody>) -> Self::Future {
        request.extensions_mut().insert(PeerAddr::new(self.peer));
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => CallFuture::Ready {
                call: service.call(request),
            },
            // A clone waits until it is ready, or says why it never is.
            Poll::Pending | Poll::Ready(Err(_)) => CallFuture::Waiting {
                call: service.clone().oneshot(request),
            },
        }
    }
}

pin_project! {
    #[project = CallFutureProj]
    pub(crate) enum CallFuture<R, W> {
        Ready { #[pin] call: R },
        Waiting { #[pin] call: W },
    }
}

impl<R, W> Future for CallFuture<R, W>
where
    R: Future,
    W: Future<Output = R::Output>,
{
    type Output = R::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R::Output> {
        match self.project() {
            CallFutureProj::Ready { call } => call.poll(cx),
            CallFutureProj::Waiting { call } => call.poll(cx),
        }
    }
}
