//! The server behind the layer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use tower::Service;

use super::slow::stir;

/// The server's end of one response body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tap(Arc<Mutex<Pipe>>);

#[derive(Debug, Default)]
struct Pipe {
    said: VecDeque<Option<Bytes>>,
    is_ended: bool,
    is_dropped: bool,
    waker: Option<Waker>,
}

impl Tap {
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().expect("not poisoned")
    }

    pub(crate) fn say(&self, bytes: Bytes) {
        self.push(Some(bytes), false);
    }

    pub(crate) fn end(&self, broken: bool) {
        if broken {
            self.push(None, true);
        } else {
            let mut pipe = self.pipe();
            pipe.is_ended = true;
            pipe.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn push(&self, said: Option<Bytes>, is_ended: bool) {
        let mut pipe = self.pipe();
        pipe.said.push_back(said);
        pipe.is_ended |= is_ended;
        pipe.waker.take().into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.pipe().is_ended
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_dropped(&self) -> bool {
        self.pipe().is_dropped
    }
}

/// The layer's end.
#[derive(Debug)]
pub(crate) struct Script {
    tap: Tap,
    is_over: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        assert!(!self.is_over, "polled after its end");
        let mut pipe = self.tap.pipe();
        let next = match pipe.said.pop_front() {
            Some(Some(data)) => Some(Ok(Frame::data(data))),
            Some(None) => Some(Err(std::io::Error::other("reset"))),
            None if pipe.is_ended => None,
            None => {
                pipe.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        drop(pipe);
        stir();
        self.is_over = !matches!(next, Some(Ok(_)));
        Poll::Ready(next)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let mut pipe = self.tap.pipe();
        pipe.is_dropped = true;
        pipe.waker = None;
    }
}

/// How the server answers the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    Stream,
    Refuse,
}

/// A call that the server was sent.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) last_event_id: Option<HeaderValue>,
    pub(crate) tap: Tap,
}

#[derive(Clone, Debug)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    plan: Plan,
    /// What the response of the next call says about its session.
    session: Option<HeaderValue>,
    calls: Vec<Call>,
}

impl Server {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            plan: Plan::Stream,
            session: None,
            calls: Vec::new(),
        })))
    }

    pub(crate) fn plan(&self, plan: Plan, session: Option<HeaderValue>) {
        let mut state = self.0.lock().expect("not poisoned");
        state.plan = plan;
        state.session = session;
    }

    /// The call that came since the last look.
    pub(crate) fn call(&self) -> Option<Call> {
        let mut calls = std::mem::take(&mut self.0.lock().expect("not poisoned").calls);
        assert!(calls.len() <= 1, "one request is at most one call");
        calls.pop()
    }
}

impl Service<Request<Full<Bytes>>> for Server {
    type Response = Response<Script>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Script>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let mut state = self.0.lock().expect("not poisoned");
        let tap = Tap::default();
        let call = Call {
            method: request.method().clone(),
            last_event_id: request.headers().get("last-event-id").cloned(),
            tap: tap.clone(),
        };
        let mut response = Response::new(Script {
            tap,
            is_over: false,
        });
        if call.method == Method::DELETE {
            *response.status_mut() = http::StatusCode::NO_CONTENT;
        } else if state.plan == Plan::Refuse {
            *response.status_mut() = http::StatusCode::BAD_REQUEST;
        } else {
            let kind = HeaderValue::from_static("text/event-stream");
            response.headers_mut().insert("content-type", kind);
        }
        if let Some(session) = state.session.take() {
            response.headers_mut().insert("mcp-session-id", session);
        }
        state.calls.push(call);
        Box::pin(std::future::ready(Ok(response)))
    }
}
