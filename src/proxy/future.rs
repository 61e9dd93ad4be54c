use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Response, StatusCode, Version, response::Parts};
use http_body::Body;
use hyper::body::Incoming;
use pin_project_lite::pin_project;

use super::{
    body::{Options, UpstreamBody},
    client::Config,
    driven::Driven,
    exchange::Exchange,
    failure::Failure,
    gauges::Ended,
    hop,
};
use crate::{
    BoxError,
    body::ResponseBody,
    outcome::Guard,
    refusal::{Recipient, Refusal},
    sse,
};

pin_project! {
    /// The response of a [`ReverseProxy`](super::ReverseProxy): ready with the upstream's head.
    ///
    /// Dropped, it drops the exchange with the upstream, also while that is silent.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<B> {
        #[pin]
        state: State<B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<B> {
        Waiting {
            exchange: Exchange<B>,
            // Taken when the head is there.
            waiting: Option<Waiting>,
        },
        Refused {
            failure: Option<Failure>,
            recipient: Recipient,
        },
    }
}

struct Waiting {
    recipient: Recipient,
    guard: Guard<Ended>,
}

impl<B> ResponseFuture<B> {
    pub(super) const fn waiting(
        exchange: Exchange<B>,
        recipient: Recipient,
        guard: Guard<Ended>,
    ) -> Self {
        Self {
            state: State::Waiting {
                exchange,
                waiting: Some(Waiting { recipient, guard }),
            },
        }
    }

    pub(super) const fn refused(failure: Failure, recipient: Recipient) -> Self {
        Self {
            state: State::Refused {
                failure: Some(failure),
                recipient,
            },
        }
    }
}

impl<B> Future for ResponseFuture<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<ResponseBody<UpstreamBody>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Waiting { exchange, waiting } => {
                let answer = ready!(exchange.poll(cx));
                let Waiting {
                    recipient,
                    mut guard,
                } = waiting.take().expect("polled after completion");
                let relayed = answer.and_then(|(response, carrier)| {
                    let (parts, body, options) = relay(response, exchange.config())?;
                    let is_success = parts.status.is_success();
                    Ok((parts, Driven::new(body, carrier, is_success), options))
                });
                Poll::Ready(Ok(match relayed {
                    Ok((mut parts, body, options)) => {
                        // Who authenticates outside does not pass it on, and answers instead (B50).
                        if parts.status == StatusCode::UNAUTHORIZED {
                            parts.extensions.insert(recipient);
                        }
                        let body = UpstreamBody::new(body, options, guard);
                        Response::from_parts(parts, ResponseBody::inner(body))
                    }
                    Err(failure) => {
                        guard.fail();
                        refuse(&failure, &recipient)
                    }
                }))
            }
            StateProj::Refused { failure, recipient } => {
                let failure = failure.take().expect("polled after completion");
                Poll::Ready(Ok(refuse(&failure, recipient)))
            }
        }
    }
}

/// Makes the upstream's answer the client's, or sorts out what must not reach it.
fn relay(
    response: Response<Incoming>,
    config: &Config,
) -> Result<(Parts, Incoming, Options), Failure> {
    let (mut parts, body) = response.into_parts();
    // Not followed: it would carry credentials to wherever the upstream says (PRX-4, B56).
    if parts.status.is_redirection() && parts.status != StatusCode::NOT_MODIFIED {
        return Err(Failure::Redirect);
    }
    // Not asked for: `Upgrade` never crosses.
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::Switch);
    }
    let is_event_stream = sse::is_event_stream(&parts.headers);
    hop::to_client(&mut parts.headers, is_event_stream)?;
    // The version is a matter of each connection.
    parts.version = Version::default();
    let options = Options {
        is_event_stream,
        merge: config.merge,
        idle: if is_event_stream {
            config.stream_idle_timeout
        } else {
            config.idle_timeout
        },
    };
    Ok((parts, body, options))
}

fn refuse(failure: &Failure, recipient: &Recipient) -> Response<ResponseBody<UpstreamBody>> {
    let error: &(dyn Error + 'static) = failure;
    // A client must not be able to fill the log.
    if failure.is_of_client() {
        tracing::debug!(error, "refused");
    } else {
        tracing::warn!(error, "nothing to relay");
    }
    Refusal::from(failure).into_response(recipient)
}

impl<B> fmt::Debug for ResponseFuture<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "Waiting",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
