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

use super::{
    Links, ResponseBody, answer,
    begin::{Watch, set_body},
    deliberate::{Deliberating, Ruled},
    layer::Shared,
    ruling::Ruling,
};
use crate::{
    BoxError,
    message::{self, Arrival},
    refusal::{Recipient, Refusal},
};

pin_project! {
    /// The response of an [`Intercept`](super::Intercept): reads the body, if nobody has, waits for the
    /// decisions about it, calls the inner service, waits for its answer.
    ///
    /// Dropped before it is ready, it has called the inner service or it has not: a request never gets
    /// there half decided about.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, F, L> {
        #[pin]
        state: State<S, B, F, L>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B, F, L> {
        // Boxed, because mostly somebody has read it.
        Reading {
            arrival: Pin<Box<Arrival<B>>>,
            // Taken when the body is there.
            next: Option<Box<Reading<S, L>>>,
        },
        Judging {
            ruling: Deliberating,
            // Taken when it is there. Boxed, because most rulings are there at once.
            next: Option<Box<Judging<S, B, L>>>,
        },
        Calling {
            #[pin]
            call: F,
            watch: Option<Box<Watch<L>>>,
        },
        Answered {
            response: Option<Box<Response<Bytes>>>,
        },
    }
}

/// What waits for the body.
pub(super) struct Reading<S, L> {
    pub(super) parts: Parts,
    pub(super) service: S,
    pub(super) shared: Arc<Shared<L>>,
}

/// What waits for a ruling.
pub(super) struct Judging<S, B, L> {
    pub(super) request: Request<B>,
    pub(super) service: S,
    pub(super) watch: Option<Box<Watch<L>>>,
}

impl<S, B, F, L> ResponseFuture<S, B, F, L> {
    pub(super) fn reading(arrival: Arrival<B>, reading: Reading<S, L>) -> Self {
        Self {
            state: State::Reading {
                arrival: Box::pin(arrival),
                next: Some(Box::new(reading)),
            },
        }
    }

    pub(super) fn judging(ruling: Deliberating, judging: Judging<S, B, L>) -> Self {
        Self {
            state: State::Judging {
                ruling,
                next: Some(Box::new(judging)),
            },
        }
    }

    #[inline]
    pub(super) const fn calling(call: F, watch: Option<Box<Watch<L>>>) -> Self {
        Self {
            state: State::Calling { call, watch },
        }
    }

    pub(super) const fn answered(response: Box<Response<Bytes>>) -> Self {
        Self {
            state: State::Answered {
                response: Some(response),
            },
        }
    }

    pub(super) fn refused(refusal: Refusal, recipient: &Recipient) -> Self {
        Self::answered(Box::new(refusal.into_bytes(recipient)))
    }
}

impl<S, B, L, ResBody> Future for ResponseFuture<S, B, S::Future, L>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: Body<Data = Bytes> + From<Bytes>,
    ResBody: Body<Data = Bytes>,
    ResBody::Error: Into<BoxError>,
    L: Links,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        match state.as_mut().project() {
            // A response is much to move about: what is passed on is not touched.
            StateProj::Calling { call, watch: None } => {
                call.poll(cx).map_ok(|r| r.map(ResponseBody::passing))
            }
            _ => state.poll_judged(cx),
        }
    }
}

impl<S, B, L, ResBody> State<S, B, S::Future, L>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    B: Body<Data = Bytes> + From<Bytes>,
    ResBody: Body<Data = Bytes>,
    ResBody::Error: Into<BoxError>,
    L: Links,
{
    /// For those whom somebody is interested in.
    // The type is that of the future's own poll.
    #[allow(clippy::type_complexity)]
    #[inline(never)]
    fn poll_judged(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<ResBody>>, S::Error>> {
        loop {
            let next = match self.as_mut().project() {
                StateProj::Calling { call, watch } => {
                    let response = ready!(call.poll(cx))?;
                    return Poll::Ready(Ok(answer::respond(response, watch.take())));
                }
                StateProj::Reading { arrival, next } => {
                    let read = ready!(arrival.as_mut().poll(cx));
                    let next = next.take().expect("polled after completion");
                    match read {
                        Ok(body) => next.read(body),
                        // No message was read of a body that did not arrive.
                        Err(refusal) => {
                            ResponseFuture::refused(refusal, &Recipient::default()).state
                        }
                    }
                }
                StateProj::Judging { ruling, next } => {
                    let ruling = ready!(ruling.as_mut().poll(cx));
                    let next = next.take().expect("polled after completion");
                    next.ruled(ruling).state
                }
                StateProj::Answered { response } => {
                    let response = *response.take().expect("polled after completion");
                    return Poll::Ready(Ok(response.map(ResponseBody::fixed)));
                }
            };
            self.set(next);
        }
    }
}

impl<S, L: Links> Reading<S, L> {
    /// Goes on with a body that was read.
    fn read<B>(self, body: Bytes) -> State<S, B, S::Future, L>
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        let Self {
            mut parts,
            service,
            shared,
        } = self;
        message::note(&mut parts, body.clone());
        let wants = shared.wants(parts.extensions.get());
        let begun = if wants.is_nothing() {
            None
        } else {
            match shared.begin(&mut parts, wants) {
                Ok(begun) => Some(begun),
                Err(refused) => return ResponseFuture::refused(refused.0, &refused.1).state,
            }
        };
        let (watch, ruled) = match begun {
            Some(begun) => (begun.watch, begun.ruled),
            None => (None, Ruled::Now(Ruling::Forward(None))),
        };
        let judging = Judging {
            request: Request::from_parts(parts, B::from(body)),
            service,
            watch,
        };
        match ruled {
            Ruled::Now(ruling) => judging.ruled(ruling),
            Ruled::Later(ruling) => ResponseFuture::judging(ruling, judging),
        }
        .state
    }
}

impl<S, B, L> Judging<S, B, L> {
    /// Calls the inner service, unless the request is answered here.
    fn ruled(self, ruling: Ruling) -> ResponseFuture<S, B, S::Future, L>
    where
        S: Service<Request<B>>,
        B: From<Bytes>,
    {
        let Self {
            request,
            mut service,
            watch,
        } = self;
        match ruling.apply(request) {
            Ok(request) => ResponseFuture::calling(service.call(request), watch),
            Err(response) => ResponseFuture::answered(response),
        }
    }
}

impl Ruling {
    /// The request as it goes on.
    ///
    /// # Errors
    ///
    /// Gives the response if it does not.
    pub(super) fn apply<B: From<Bytes>>(
        self,
        request: Request<B>,
    ) -> Result<Request<B>, Box<Response<Bytes>>> {
        match self {
            Self::Forward(None) => Ok(request),
            Self::Forward(Some(body)) => {
                let (mut parts, _) = request.into_parts();
                set_body(&mut parts, &body);
                Ok(Request::from_parts(parts, B::from(body)))
            }
            Self::Answer(response) => Err(response),
        }
    }
}

impl<S, B, F, L> fmt::Debug for ResponseFuture<S, B, F, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::Judging { .. } => "Judging",
            State::Calling { .. } => "Calling",
            State::Answered { .. } => "Answered",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
