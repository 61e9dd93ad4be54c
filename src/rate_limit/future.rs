use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    Charge, ResponseBody, Verdict,
    admit::{Admitted, admit},
    layer::Config,
    refuse::Refused,
};

pin_project! {
    /// The response of a [`RateLimit`](super::RateLimit): waits for the verdict, if it takes its time,
    /// calls the inner service, waits for its answer.
    ///
    /// Dropped while it waits for the verdict, it has not called the inner service. Whenever it is
    /// dropped, what it keeps open is given back.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<D, S, B, F, G> {
        #[pin]
        state: State<D, S, B, F, G>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<D, S, B, F, G> {
        Waiting {
            #[pin]
            verdict: D,
            // Taken when it is there. Boxed, because most verdicts are there at once.
            next: Option<Box<Waiting<S, B>>>,
        },
        Calling {
            #[pin]
            call: F,
            // Taken out when it has answered.
            admitted: Admitted<G>,
        },
        Refused {
            refused: Option<Refused>,
        },
    }
}

/// What waits for a verdict.
pub(super) struct Waiting<S, B> {
    pub(super) request: Request<B>,
    pub(super) charge: Charge,
    pub(super) service: S,
    pub(super) config: Arc<Config>,
}

impl<D, S, B, F, G> ResponseFuture<D, S, B, F, G> {
    pub(super) const fn waiting(verdict: D, waiting: Box<Waiting<S, B>>) -> Self {
        Self {
            state: State::Waiting {
                verdict,
                next: Some(waiting),
            },
        }
    }

    #[inline]
    pub(super) const fn calling(call: F, admitted: Admitted<G>) -> Self {
        Self {
            state: State::Calling { call, admitted },
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

impl<D, S, B, G, ResBody> Future for ResponseFuture<D, S, B, S::Future, G>
where
    D: Future<Output = Verdict<G>>,
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Body<Data = Bytes>,
{
    type Output = Result<Response<ResponseBody<ResBody, G>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                // A response is much to move about: what is passed on is not touched.
                StateProj::Calling { call, admitted } if admitted.is_plain() => {
                    return call.poll(cx).map_ok(|r| r.map(ResponseBody::passing));
                }
                StateProj::Calling { call, admitted } => {
                    return call.poll(cx).map_ok(|response| answer(response, admitted));
                }
                StateProj::Refused { refused } => return Poll::Ready(Ok(refuse(refused))),
                StateProj::Waiting { verdict, next } => {
                    let verdict = ready!(verdict.poll(cx));
                    let waiting = next.take().expect("polled after completion");
                    waiting.call(verdict)
                }
            };
            state.set(next);
        }
    }
}

impl<S, B> Waiting<S, B> {
    /// Calls the inner service, unless the verdict is against it.
    #[cold]
    fn call<D, G>(self, verdict: Verdict<G>) -> State<D, S, B, S::Future, G>
    where
        S: Service<Request<B>>,
    {
        let Self {
            request,
            charge,
            mut service,
            config,
        } = self;
        match admit(verdict, charge, &config, &request) {
            Ok(admitted) => State::Calling {
                call: service.call(request),
                admitted,
            },
            Err(refused) => State::Refused {
                refused: Some(refused),
            },
        }
    }
}

/// Passes a response on, with what its body keeps and its client is told.
fn answer<B, G>(
    mut response: Response<B>,
    admitted: &mut Admitted<G>,
) -> Response<ResponseBody<B, G>>
where
    B: Body<Data = Bytes>,
{
    if let Some(fields) = admitted.fields.take() {
        fields.append_to(response.headers_mut());
    }
    response.map(|body| ResponseBody::held(body, admitted.slot.take()))
}

#[cold]
fn refuse<B, G>(refused: &mut Option<Refused>) -> Response<ResponseBody<B, G>> {
    let response = *refused.take().expect("polled after completion");
    response.map(ResponseBody::fixed)
}

impl<D, S, B, F, G> fmt::Debug for ResponseFuture<D, S, B, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "Waiting",
            State::Calling { .. } => "Calling",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
