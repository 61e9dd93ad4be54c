use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, request::Parts};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    ResponseBody,
    asked::{self, Asked},
    layer::Shared,
    resume::{self, Claim, Verdict},
    source::{Connect, Reopen, Reply},
};
use crate::{
    BoxError,
    header::LAST_EVENT_ID,
    message::{self, Arrival},
    refusal::Refusal,
    store::EventStore,
};

pin_project! {
    /// The response of a [`Replay`](super::Replay): calls the inner service, or looks up what a
    /// cursor stands for.
    ///
    /// Dropped before it is ready, it has resumed nothing: a stream that it was about to resume goes
    /// on as it did. Only a GET without a cursor has, when it is called, made way for itself: a GET
    /// stream of its session that waits for a client is over.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, F, B, T> {
        #[pin]
        state: State<S, F, B>,
        shared: Arc<Shared<T>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B> {
        Reading {
            #[pin]
            arrival: Arrival<B>,
            // Taken when the body is there.
            next: Option<(Parts, S)>,
        },
        Calling {
            #[pin]
            call: F,
            asked: Option<Asked>,
        },
        // Boxed, because few requests resume a stream, and all have to keep the place.
        Resuming {
            resuming: Box<Resuming<S, B>>,
        },
        Refused {
            refusal: Option<Refusal>,
        },
    }
}

struct Resuming<S, B> {
    verdict: Pin<Box<dyn Future<Output = Verdict> + Send>>,
    claim: Claim,
    /// Taken when there is a verdict.
    next: Option<(S, Request<B>, Asked)>,
}

impl<S, F, B, T> ResponseFuture<S, F, B, T> {
    pub(super) const fn calling(call: F, asked: Asked, shared: Arc<Shared<T>>) -> Self {
        Self {
            state: State::Calling {
                call,
                asked: Some(asked),
            },
            shared,
        }
    }

    pub(super) const fn reading(
        arrival: Arrival<B>,
        parts: Parts,
        service: S,
        shared: Arc<Shared<T>>,
    ) -> Self {
        Self {
            state: State::Reading {
                arrival,
                next: Some((parts, service)),
            },
            shared,
        }
    }

    pub(super) fn resuming(
        claim: Claim,
        asked: Asked,
        service: S,
        request: Request<B>,
        shared: Arc<Shared<T>>,
    ) -> Self
    where
        T: EventStore,
    {
        let resuming = Resuming {
            verdict: Box::pin(resume::resume(Arc::clone(&shared), claim)),
            claim,
            next: Some((service, request, asked)),
        };
        Self {
            state: State::Resuming {
                resuming: Box::new(resuming),
            },
            shared,
        }
    }

    pub(super) const fn refused(refusal: Refusal, shared: Arc<Shared<T>>) -> Self {
        Self {
            state: State::Refused {
                refusal: Some(refusal),
            },
            shared,
        }
    }
}

impl<S, B, T, ResBody> Future for ResponseFuture<S, S::Future, B, T>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: Body<Data = Bytes> + From<Bytes>,
    ResBody: Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
    T: EventStore,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let shared = &**this.shared;
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Reading { arrival, next } => {
                    let read = ready!(arrival.poll(cx));
                    let (mut parts, mut service) = next.take().expect("polled after completion");
                    match read {
                        Ok(body) => {
                            message::note(&mut parts, body.clone());
                            let asked = Asked::new(
                                &parts.method,
                                &parts.headers,
                                &parts.extensions,
                                &shared.hub,
                            );
                            if asked.misplaces_cursor() {
                                State::Refused {
                                    refusal: Some(resume::misplaced()),
                                }
                            } else {
                                let request = Request::from_parts(parts, B::from(body));
                                State::Calling {
                                    call: service.call(request),
                                    asked: Some(asked),
                                }
                            }
                        }
                        Err(refusal) => State::Refused {
                            refusal: Some(refusal),
                        },
                    }
                }
                StateProj::Calling { call, asked } => {
                    let response = ready!(call.poll(cx))?;
                    let asked = asked.take().expect("polled after completion");
                    asked.purge_ended(response.status(), shared);
                    return Poll::Ready(Ok(asked.respond(response, shared)));
                }
                StateProj::Resuming { resuming } => {
                    let Resuming {
                        verdict,
                        claim,
                        next,
                    } = &mut **resuming;
                    let verdict = ready!(verdict.as_mut().poll(cx));
                    let next = next.take().expect("polled after completion");
                    match judged(verdict, *claim, next, shared) {
                        Ok(response) => return Poll::Ready(Ok(response)),
                        Err(state) => state,
                    }
                }
                StateProj::Refused { refusal } => {
                    let refusal = refusal.take().expect("polled after completion");
                    return Poll::Ready(Ok(resume::refuse(refusal)));
                }
            };
            this.state.set(next);
        }
    }
}

/// What a verdict comes to.
///
/// # Errors
///
/// Gives the next state if the inner service has to answer.
// The state is where the future keeps it, and nobody else sees it.
#[allow(clippy::type_complexity, clippy::result_large_err)]
fn judged<S, B, T, ResBody>(
    verdict: Verdict,
    claim: Claim,
    (mut service, mut request, mut asked): (S, Request<B>, Asked),
    shared: &Shared<T>,
) -> Result<Response<ResponseBody<ResBody>>, State<S, S::Future, B>>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    ResBody: Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
    T: EventStore,
{
    match verdict {
        Verdict::Anew(first) => {
            request.headers_mut().remove(LAST_EVENT_ID);
            asked.resumed = Some(Box::new(first));
            Err(State::Calling {
                call: service.call(request),
                asked: Some(asked),
            })
        }
        Verdict::Reopen {
            page,
            stream,
            theirs,
        } => {
            let connect: Connect = match HeaderValue::from_bytes(&theirs) {
                Ok(theirs) => {
                    request.headers_mut().insert(LAST_EVENT_ID, theirs);
                    Box::pin(reopen(service.call(request)))
                }
                // An id that no header can carry names nothing.
                Err(_) => Box::pin(std::future::ready(Reply::Gone)),
            };
            let verdict = resume::attach(shared, claim, page, stream, Some(connect));
            Ok(resume::answer(shared, verdict))
        }
        verdict => Ok(resume::answer(shared, verdict)),
    }
}

/// What the server says when it is asked for the rest of a stream.
async fn reopen<F, ResBody, E>(call: F) -> Reply
where
    F: Future<Output = Result<Response<ResBody>, E>>,
    ResBody: Body<Data = Bytes> + Send + 'static,
    ResBody::Error: Into<BoxError>,
{
    match call.await {
        Ok(response) if asked::is_readable_stream(&response) => Reply::Body(Box::pin(Reopen {
            body: response.into_body(),
        })),
        // It may be there again when the client comes back.
        Ok(response) if response.status().is_server_error() => Reply::Later,
        Err(_) => Reply::Later,
        Ok(_) => Reply::Gone,
    }
}

impl<S, F, B, T> fmt::Debug for ResponseFuture<S, F, B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::Calling { .. } => "Calling",
            State::Resuming { .. } => "Resuming",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
