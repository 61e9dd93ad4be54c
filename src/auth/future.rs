use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    Request, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, WWW_AUTHENTICATE},
};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Principal, Rejection, ResponseBody,
    admit::{Asked, Refused, admit},
    layer::Config,
};
use crate::{
    jsonrpc::{ErrorObject, code},
    refusal::{self, Recipient, Refusal},
    sse,
};

pin_project! {
    /// The response of an [`Auth`](super::Auth): waits for the decision, if it takes its time, calls
    /// the inner service, waits for its answer.
    ///
    /// Dropped while it waits for the decision, it has not called the inner service.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<D, S, B, F> {
        #[pin]
        state: State<D, S, B, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<D, S, B, F> {
        Authorizing {
            #[pin]
            decision: D,
            // Taken when it is there. Boxed, because most decisions are there at once.
            next: Option<Box<Waiting<S, B>>>,
        },
        Calling {
            #[pin]
            call: F,
            asked: Asked,
        },
        Refused {
            refused: Option<Refused>,
        },
    }
}

/// What waits for a decision.
pub(super) struct Waiting<S, B> {
    pub(super) request: Request<B>,
    pub(super) service: S,
    pub(super) config: Arc<Config>,
}

impl<D, S, B, F> ResponseFuture<D, S, B, F> {
    pub(super) fn authorizing(decision: D, waiting: Waiting<S, B>) -> Self {
        Self {
            state: State::Authorizing {
                decision,
                next: Some(Box::new(waiting)),
            },
        }
    }

    #[inline]
    pub(super) const fn calling(call: F, asked: Asked) -> Self {
        Self {
            state: State::Calling { call, asked },
        }
    }

    pub(super) const fn refused(refused: Refused) -> Self {
        Self {
            state: State::Refused {
                refused: Some(refused),
            },
        }
    }
}

impl<D, S, B, ResBody> Future for ResponseFuture<D, S, B, S::Future>
where
    D: Future<Output = Result<Principal, Rejection>>,
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Authorizing { decision, next } => {
                    let decided = ready!(decision.poll(cx));
                    let waiting = next.take().expect("polled after completion");
                    state.set(waiting.call(decided));
                }
                // Apart, because a response is much to move about.
                StateProj::Calling { call, asked } if asked.is_nothing() => {
                    let polled = call.poll(cx);
                    return polled.map_ok(|response| response.map(ResponseBody::passing));
                }
                StateProj::Calling { call, asked } => {
                    return call.poll(cx).map_ok(|response| answer(response, *asked));
                }
                StateProj::Refused { refused } => return Poll::Ready(Ok(respond(refused))),
            }
        }
    }
}

impl<S, B> Waiting<S, B> {
    /// Calls the inner service, unless the decision is against it.
    #[inline(never)]
    fn call<D>(self, decided: Result<Principal, Rejection>) -> State<D, S, B, S::Future>
    where
        S: Service<Request<B>>,
    {
        let Self {
            mut request,
            mut service,
            config,
        } = self;
        match admit(&mut request, decided, &config) {
            Ok(asked) => State::Calling {
                call: service.call(request),
                asked,
            },
            Err(refused) => State::Refused {
                refused: Some(refused),
            },
        }
    }
}

#[cold]
fn respond<B>(refused: &mut Option<Refused>) -> Response<ResponseBody<B>> {
    let (refusal, recipient) = *refused.take().expect("polled after completion");
    let response = refusal.into_response(&recipient);
    response.map(ResponseBody::plain)
}

/// Passes the response on, but for a challenge that is none of ours, and has an event stream end with
/// its token.
fn answer<B>(mut response: Response<B>, asked: Asked) -> Response<ResponseBody<B>>
where
    B: Body<Data = Bytes>,
{
    let Asked {
        expiry,
        hides_unauthorized,
    } = asked;
    if hides_unauthorized && is_foreign(&response) {
        // Whatever it is about, a client takes it for ours, and goes where it says for another token.
        response.headers_mut().remove(WWW_AUTHENTICATE);
        if response.status() == StatusCode::UNAUTHORIZED {
            tracing::warn!("the inner service wants other credentials than it was sent");
            let error = ErrorObject::new(
                code::BAD_GATEWAY,
                "the server does not accept what it is called with",
            );
            // Whoever has relayed it has read the request, or not.
            let recipient = response.extensions_mut().remove::<Recipient>();
            let refusal = Refusal::new(StatusCode::BAD_GATEWAY, error);
            let response = refusal.into_response(&recipient.unwrap_or_default());
            return response.map(ResponseBody::plain);
        }
    }
    match expiry.filter(|_| sse::is_event_stream(response.headers())) {
        None => response.map(ResponseBody::passing),
        Some(expiry) => {
            // It may end before its time, whatever was said of its length (SSE-13).
            response.headers_mut().remove(CONTENT_LENGTH);
            let is_readable = is_readable(&response);
            response.map(|body| ResponseBody::expiring(body, expiry, is_readable))
        }
    }
}

/// Whether it is of somebody who does not know this layer (B50).
fn is_foreign<B>(response: &Response<B>) -> bool {
    response.extensions().get::<refusal::Refused>().is_none()
}

/// Whether the ends of events can be seen.
fn is_readable<B>(response: &Response<B>) -> bool {
    let coding = response.headers().get(CONTENT_ENCODING);
    coding.is_none_or(|coding| coding == "identity")
}

impl<D, S, B, F> fmt::Debug for ResponseFuture<D, S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Authorizing { .. } => "Authorizing",
            State::Calling { .. } => "Calling",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
