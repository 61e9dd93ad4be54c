use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Message,
    admit::{Refused, admit},
    arrival::Arrival,
    policy::Policy,
};
use crate::{
    body::{RequestBody, ResponseBody},
    refusal::Recipient,
};

pin_project! {
    /// The response of a [`ReadMessage`](super::ReadMessage): reads the body, judges it, calls the
    /// inner service, waits for its answer.
    ///
    /// Dropped while it reads, it has not called the inner service.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, F> {
        #[pin]
        state: State<S, B, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F> {
        Reading {
            // Taken when the body is there.
            next: Option<Reading<S>>,
            #[pin]
            arrival: Arrival<B>,
        },
        Calling {
            #[pin]
            call: F,
        },
        Refused {
            refused: Option<Refused>,
        },
    }
}

/// What waits for the body.
pub(super) struct Reading<S> {
    pub(super) parts: request::Parts,
    pub(super) service: S,
    pub(super) policy: Policy,
}

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) const fn reading(next: Reading<S>, arrival: Arrival<B>) -> Self {
        Self {
            state: State::Reading {
                next: Some(next),
                arrival,
            },
        }
    }

    pub(super) const fn calling(call: F) -> Self {
        Self {
            state: State::Calling { call },
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

impl<S, B, ResBody> Future for ResponseFuture<S, B, S::Future>
where
    S: Service<Request<RequestBody<B>>, Response = Response<ResBody>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Reading { next, arrival } => {
                    let read = ready!(arrival.poll(cx));
                    let next = next.take().expect("polled after completion");
                    // No message was read of a body that did not arrive.
                    let read = read.map_err(|refusal| Box::new((refusal, Recipient::default())));
                    state.set(match read.and_then(|body| next.call(body)) {
                        Ok(call) => State::Calling { call },
                        Err(refused) => State::Refused {
                            refused: Some(refused),
                        },
                    });
                }
                StateProj::Calling { call } => {
                    return call.poll(cx).map_ok(|r| r.map(ResponseBody::inner));
                }
                StateProj::Refused { refused } => {
                    let (refusal, recipient) = *refused.take().expect("polled after completion");
                    return Poll::Ready(Ok(refusal.into_response(&recipient)));
                }
            }
        }
    }
}

impl<S> Reading<S> {
    /// Adds the facts and calls the inner service with the bytes that came, unless they are
    /// refused.
    fn call<B>(self, body: Bytes) -> Result<S::Future, Refused>
    where
        S: Service<Request<RequestBody<B>>>,
    {
        let Self {
            mut parts,
            mut service,
            policy,
        } = self;
        let message = Message::new(body.clone());
        let era = admit(&mut parts, Some(&message), policy)?;
        parts.extensions.insert(message.in_era(era));
        Ok(service.call(Request::from_parts(parts, RequestBody::from(body))))
    }
}

impl<S, B, F> fmt::Debug for ResponseFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::Calling { .. } => "Calling",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
