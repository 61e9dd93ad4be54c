use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION, request};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Classified, Message, classify,
    collect::{Collect, CollectError},
};
use crate::{
    body::{RequestBody, ResponseBody},
    deadline::Deadline,
    jsonrpc::{ErrorObject, code},
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
            collect: Collect<B>,
            // A body that came with its head is there on the second look, and needs no timer.
            has_waited: bool,
            #[pin]
            deadline: Deadline,
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
    pub(super) max_body_bytes: usize,
    pub(super) read_timeout: Option<Duration>,
}

impl<S, B, F> ResponseFuture<S, B, F> {
    pub(super) const fn reading(next: Reading<S>, collect: Collect<B>) -> Self {
        Self {
            state: State::Reading {
                next: Some(next),
                collect,
                has_waited: false,
                deadline: Deadline::new(),
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
                StateProj::Reading {
                    next,
                    collect,
                    has_waited,
                    mut deadline,
                } => {
                    let Poll::Ready(read) = collect.poll(cx) else {
                        let waiting = next.as_ref().expect("polled after completion");
                        let version = waiting.parts.version;
                        let Some(timeout) = waiting.read_timeout else {
                            return Poll::Pending;
                        };
                        if !*has_waited {
                            *has_waited = true;
                            cx.waker().wake_by_ref();
                            return Poll::Pending;
                        }
                        ready!(deadline.as_mut().poll(timeout, cx));
                        state.set(State::Refused {
                            refusal: Some(too_slow(timeout, version)),
                        });
                        continue;
                    };
                    let next = next.take().expect("polled after completion");
                    match read {
                        Ok(body) => {
                            let call = next.call(body);
                            state.set(State::Calling { call });
                        }
                        Err(error) => {
                            let refusal = match error {
                                CollectError::TooLarge => {
                                    too_large(next.max_body_bytes, next.parts.version)
                                }
                                CollectError::Body(_) => unreadable(),
                            };
                            state.set(State::Refused {
                                refusal: Some(refusal),
                            });
                        }
                    }
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
            max_body_bytes: _,
            read_timeout: _,
        } = self;
        let message = Message::new(body.clone());
        let peek = message.peek();
        let classified = classify(
            &parts.method,
            &parts.headers,
            Some(peek.as_ref().map_err(|e| *e)),
        );
        note(&classified);
        drop(peek);
        parts.extensions.insert(classified.era);
        parts.extensions.insert(message);
        service.call(Request::from_parts(parts, RequestBody::from(body)))
    }
}

/// Faults are refused by the validation that is still to come; until then the upstream judges.
pub(super) fn note(classified: &Classified) {
    if let Some(fault) = &classified.fault {
        tracing::debug!(?fault, "forwarding a malformed message");
    }
}

pub(super) fn too_large(limit: usize, version: Version) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        ErrorObject::new(code::PAYLOAD_TOO_LARGE, "the request body is too large")
            .add_number("maxBytes", limit as u64),
    );
    closing(refusal, version)
}

/// Says that the connection ends with this response, because what is left of the body is not read
/// (RFC 9112 §9.6). Later versions of HTTP have no such field.
fn closing(refusal: Refusal, version: Version) -> Refusal {
    if version > Version::HTTP_11 {
        return refusal;
    }
    refusal.with_header(CONNECTION, HeaderValue::from_static("close"))
}

fn too_slow(timeout: Duration, version: Version) -> Refusal {
    let refusal = Refusal::new(
        StatusCode::REQUEST_TIMEOUT,
        ErrorObject::new(
            code::REQUEST_TIMEOUT,
            "the request body did not arrive in time",
        )
        .add_number(
            "timeoutMs",
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
        ),
    );
    closing(refusal, version)
}

fn unreadable() -> Refusal {
    Refusal::new(
        StatusCode::BAD_REQUEST,
        ErrorObject::new(code::INVALID_REQUEST, "the request body broke off"),
    )
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
