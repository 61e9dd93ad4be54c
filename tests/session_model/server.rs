//! The server, which answers when it is told to, and clients' requests to it.

use std::{
    convert::Infallible,
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body as _;
use http_body_util::Full;
use shadowcat::{
    replay::{self, ReplayLayer},
    session::{self, Farewell, SessionLayer},
    store::{MemorySessionStore, MemoryStore, faulty::FaultyStore},
};
use tokio::sync::oneshot;
use tower::{Layer, ServiceExt, service_fn};

use super::session_support::{SESSION, ScriptBody, text};

pub(crate) type Body = session::ResponseBody<replay::ResponseBody<ScriptBody>>;
pub(crate) type Sessions = SessionLayer<FaultyStore<MemorySessionStore>>;
pub(crate) type Call = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>>>>;

/// A request that has reached the server.
pub(crate) struct Arrival {
    pub(crate) parts: Parts,
    /// Dropped, it is never answered.
    pub(crate) reply: oneshot::Sender<Response<ScriptBody>>,
}

impl Arrival {
    pub(crate) fn session(&self) -> Option<&str> {
        let value = self.parts.headers.get(SESSION)?;
        Some(value.to_str().expect("ASCII"))
    }
}

/// What has come to the server.
#[derive(Clone, Default)]
pub(crate) struct Server {
    inbox: Arc<Mutex<Inbox>>,
}

#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) arrived: Vec<Arrival>,
    /// What it was told to be over.
    pub(crate) told: Vec<String>,
}

impl Server {
    pub(crate) fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().expect("not poisoned")
    }

    pub(crate) fn call(
        &self,
        sessions: &Sessions,
        replay: &ReplayLayer<MemoryStore>,
        request: Request<Full<Bytes>>,
    ) -> Call {
        let server = self.clone();
        let inner = service_fn(move |request: Request<Full<Bytes>>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Box::pin(sessions.layer(replay.layer(inner)).oneshot(request))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Response<ScriptBody> {
        let (parts, _) = request.into_parts();
        let (reply, replied) = oneshot::channel();
        let arrival = Arrival { parts, reply };
        if arrival.parts.extensions.get::<Farewell>().is_some() {
            let session = arrival.session().expect("a session").to_owned();
            self.inbox().told.push(session);
            return Response::new(text(""));
        }
        self.inbox().arrived.push(arrival);
        match replied.await {
            Ok(response) => response,
            Err(_) => pending().await,
        }
    }
}

/// More polls than a slow store takes.
const MANY: usize = 60;

/// Polls a future until it is ready, or `is_enough`.
pub(crate) fn drive<F: Future + ?Sized>(
    call: &mut Pin<Box<F>>,
    mut is_enough: impl FnMut() -> bool,
) -> Option<F::Output> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..MANY {
        if let Poll::Ready(output) = call.as_mut().poll(&mut cx) {
            return Some(output);
        }
        if is_enough() {
            return None;
        }
    }
    panic!("it goes nowhere")
}

/// An event as a client sees it: its id, and the number in it.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) number: Option<u32>,
}

/// Reads what is there. True if it was the last.
pub(crate) fn read(body: &mut Pin<Box<Body>>) -> (String, bool) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut all = String::new();
    loop {
        match body.as_mut().poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().expect("data");
                all.push_str(std::str::from_utf8(&data).expect("UTF-8"));
            }
            Poll::Ready(Some(Err(error))) => panic!("{error}"),
            Poll::Ready(None) => return (all, true),
            Poll::Pending => return (all, false),
        }
    }
}

/// Whether nothing more comes, and that is no clean end: somebody else has the stream now.
pub(crate) fn is_broken_off(mut body: Pin<Box<Body>>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    // What was sent is given time to leave.
    if body.as_mut().poll_frame(&mut cx).is_ready() {
        return false;
    }
    let last = body.as_mut().poll_frame(&mut cx);
    matches!(last, Poll::Ready(Some(Err(_)))) && body.is_end_stream()
}

/// The events of a text, which is whole.
pub(crate) fn events(text: &str) -> Vec<Seen> {
    let whole = text.split_terminator("\n\n");
    whole
        .filter_map(|event| {
            let id = event.lines().find_map(|line| line.strip_prefix("id: "))?;
            let number = event.split("\"n\":").nth(1);
            let number = number.and_then(|rest| rest.split('}').next()?.parse().ok());
            Some(Seen {
                id: id.to_owned(),
                number,
            })
        })
        .collect()
}
