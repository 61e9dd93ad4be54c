//! What is served: the layers in front of the upstream, and the routes next to them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use shadowcat::{
    body::{RequestBody, ResponseBody},
    message::{MessageLayer, ReadMessage},
    proxy::{ReverseProxy, UpstreamUrlError},
};
use tower::{Service, ServiceBuilder};

/// The stack of `/mcp`, outermost layer first.
pub(crate) type Mcp = ReadMessage<ReverseProxy<RequestBody<Incoming>>>;

pub(crate) fn mcp(upstream: &Uri, keep_alive: Duration) -> Result<Mcp, UpstreamUrlError> {
    let proxy = ReverseProxy::builder(upstream)?
        .with_tcp_keep_alive(keep_alive)
        .build();
    Ok(ServiceBuilder::new()
        // Reads each body once, with a limit and a deadline, for all layers inside.
        .layer(MessageLayer::new())
        .service(proxy))
}

/// `/mcp` and `/healthz`; nothing else reaches the upstream (PRX-13).
#[derive(Clone, Debug)]
pub(crate) struct Routes<S> {
    mcp: S,
}

impl<S> Routes<S> {
    pub(crate) const fn new(mcp: S) -> Self {
        Self { mcp }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for Routes<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResponseBody<ResBody>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RouteFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.mcp.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let status = match (request.uri().path(), request.method()) {
            ("/mcp", _) => {
                return RouteFuture::Mcp {
                    call: self.mcp.call(request),
                };
            }
            ("/healthz", &Method::GET | &Method::HEAD) => StatusCode::OK,
            ("/healthz", _) => StatusCode::METHOD_NOT_ALLOWED,
            _ => StatusCode::NOT_FOUND,
        };
        let text = status.canonical_reason().unwrap_or_default();
        let mut response = Response::new(ResponseBody::fixed(Bytes::from_static(text.as_bytes())));
        *response.status_mut() = status;
        RouteFuture::Fixed {
            response: Some(response),
        }
    }
}

pin_project! {
    #[project = RouteFutureProj]
    pub(crate) enum RouteFuture<F, B> {
        Mcp { #[pin] call: F },
        Fixed { response: Option<Response<ResponseBody<B>>> },
    }
}

impl<F, B, E> Future for RouteFuture<F, B>
where
    F: Future<Output = Result<Response<ResponseBody<B>>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            RouteFutureProj::Mcp { call } => call.poll(cx),
            RouteFutureProj::Fixed { response } => {
                Poll::Ready(Ok(response.take().expect("polled after completion")))
            }
        }
    }
}
