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

use super::{arrival::Arrival, note};
use crate::{
    body::{RequestBody, ResponseBody},
    refusal::{Recipient, Refusal},
};

pin_project! {
    /// The response of a [`ReadMessage`](super::ReadMessage): reads the body, calls the inner
    /// service, waits for its answer.
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
            refusal: Option<Refusal>,
        },
    }
}

/// What waits for the body.
pub(super) struct Reading<S> {
    pub(super) parts: request::Parts,
    pub(super) service: S,
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

    pub(super) const fn refused(refusal: Refusal) -> Self {
        Self {
            state: State::Refused {
                refusal: Some(refusal),
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
                    state.set(match read {
                        Ok(body) => State::Calling {
                            call: next.call(body),
                        },
                        Err(refusal) => State::Refused {
                            refusal: Some(refusal),
                        },
                    });
                }
                StateProj::Calling { call } => {
                    return call.poll(cx).map_ok(|r| r.map(ResponseBody::inner));
                }
                StateProj::Refused { refusal } => {
                    let refusal = refusal.take().expect("polled after completion");
                    return Poll::Ready(Ok(refusal.into_response(&Recipient::default())));
                }
            }
        }
    }
}

impl<S> Reading<S> {
    /// Adds the facts and calls the inner service with the bytes that came.
    fn call<B>(self, body: Bytes) -> S::Future
    where
        S: Service<Request<RequestBody<B>>>,
    {
        let Self {
            mut parts,
            mut service,
        } = self;
        note(&mut parts, body.clone());
        service.call(Request::from_parts(parts, RequestBody::from(body)))
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
