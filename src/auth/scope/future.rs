use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{super::admit::Refused, policy::Policy};
use crate::{
    body::ResponseBody,
    message::{self, Arrival},
    refusal::Recipient,
};

pin_project! {
    /// The response of a [`CheckScopes`](super::CheckScopes): reads the body, if nobody has, judges
    /// it, calls the inner service, waits for its answer.
    ///
    /// Dropped while it reads, it has not called the inner service.
    #[must_use = "futures do nothing unless polled"]
    pub struct ScopeFuture<S, B, F> {
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
    pub(super) parts: Parts,
    pub(super) service: S,
    pub(super) policy: Arc<Policy>,
}

impl<S, B, F> ScopeFuture<S, B, F> {
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

impl<S, B, ResBody> Future for ScopeFuture<S, B, S::Future>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: Body<Data = Bytes> + From<Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProj::Reading { next, arrival } => {
                    let read = ready!(arrival.poll(cx));
                    let next = next.take().expect("polled after completion");
                    // No message was read of a body that did not arrive.
                    let read = read.map_err(|refusal| Box::new((refusal, Recipient::default())));
                    match read.and_then(|body| next.call(body)) {
                        Ok(call) => State::Calling { call },
                        Err(refused) => State::Refused {
                            refused: Some(refused),
                        },
                    }
                }
                StateProj::Calling { call } => {
                    return call.poll(cx).map_ok(|r| r.map(ResponseBody::inner));
                }
                StateProj::Refused { refused } => {
                    let (refusal, recipient) = *refused.take().expect("polled after completion");
                    return Poll::Ready(Ok(refusal.into_response(&recipient)));
                }
            };
            state.set(next);
        }
    }
}

impl<S> Reading<S> {
    /// Calls the inner service with the bytes that came, unless they are refused.
    fn call<B>(self, body: Bytes) -> Result<S::Future, Refused>
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        let Self {
            mut parts,
            mut service,
            policy,
        } = self;
        message::note(&mut parts, body.clone());
        let request = Request::from_parts(parts, B::from(body));
        policy.judge(&request)?;
        Ok(service.call(request))
    }
}

impl<S, B, F> fmt::Debug for ScopeFuture<S, B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::Calling { .. } => "Calling",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ScopeFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
