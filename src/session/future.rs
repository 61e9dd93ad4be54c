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
    ResponseBody,
    answer::{Answer, Role, Started, Todo, hold, pass, respond, unavailable},
    begin::{Begun, begin, resume},
    keep::at_once,
    layer::Shared,
    lookup::Lookup,
    pending::{Done, Late, LookingUp, Storing},
};
use crate::{
    message::{self, Arrival},
    refusal::{Recipient, Refusal},
    store::SessionStore,
};

pin_project! {
    /// The response of a [`BindSession`](super::BindSession): finds the session, calls the inner
    /// service, and sees what its answer means for the session.
    ///
    /// What a drop leaves behind is said in the [module docs](crate::session#cancellation).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, F, B, R, T> {
        #[pin]
        state: State<S, F, B, R>,
        shared: Arc<Shared<T>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, F, B, R> {
        Reading {
            #[pin]
            arrival: Arrival<B>,
            // Taken when the body is there.
            next: Option<(Parts, S)>,
        },
        // A store that answers at once is not waited for, and there is no box.
        LookingUp {
            wait: LookingUp,
            next: Option<Box<(Lookup, Request<B>, S)>>,
        },
        Calling {
            #[pin]
            call: F,
            role: Option<Role>,
        },
        Storing {
            wait: Storing,
            response: Option<Response<R>>,
        },
        Refused {
            refusal: Option<(Refusal, Recipient)>,
        },
    }
}

impl<S, F, B, R, T> ResponseFuture<S, F, B, R, T> {
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

    pub(super) fn waiting(
        wait: LookingUp,
        lookup: Lookup,
        request: Request<B>,
        service: S,
        shared: Arc<Shared<T>>,
    ) -> Self {
        Self {
            state: State::looking_up(wait, lookup, request, service),
            shared,
        }
    }

    pub(super) const fn calling(call: F, role: Role, shared: Arc<Shared<T>>) -> Self {
        Self {
            state: State::calling(call, role),
            shared,
        }
    }

    pub(super) const fn refused(
        refusal: Refusal,
        recipient: Recipient,
        shared: Arc<Shared<T>>,
    ) -> Self {
        Self {
            state: State::refused(refusal, recipient),
            shared,
        }
    }
}

impl<S, F, B, R> State<S, F, B, R> {
    fn looking_up(wait: LookingUp, lookup: Lookup, request: Request<B>, service: S) -> Self {
        Self::LookingUp {
            wait,
            next: Some(Box::new((lookup, request, service))),
        }
    }

    const fn calling(call: F, role: Role) -> Self {
        Self::Calling {
            call,
            role: Some(role),
        }
    }

    const fn refused(refusal: Refusal, recipient: Recipient) -> Self {
        Self::Refused {
            refusal: Some((refusal, recipient)),
        }
    }
}

impl<S, B, ResBody, T> Future for ResponseFuture<S, S::Future, B, ResBody, T>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + From<Bytes> + 'static,
    ResBody: Body<Data = Bytes> + 'static,
    T: SessionStore,
{
    type Output = Result<Response<ResponseBody<ResBody>>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Reading { arrival, next } => {
                    let read = ready!(arrival.poll(cx));
                    let (mut parts, service) = next.take().expect("polled after completion");
                    match read {
                        Ok(body) => {
                            message::note(&mut parts, body.clone());
                            let mut request = Request::from_parts(parts, B::from(body));
                            let begun = begin(&mut request, &service, this.shared);
                            go_on(begun, request, service)
                        }
                        Err(refusal) => State::refused(refusal, Recipient::default()),
                    }
                }
                StateProj::LookingUp { wait, next } => {
                    let said = ready!(wait.poll(cx));
                    let next = next.take().expect("polled after completion");
                    let (lookup, mut request, service) = *next;
                    let begun = resume(&mut request, lookup, said, this.shared);
                    go_on(begun, request, service)
                }
                StateProj::Calling { call, role } => {
                    let mut response = ready!(call.poll(cx))?;
                    let role = role.take().expect("polled after completion");
                    match role.answer(&mut response, this.shared) {
                        Answer::Hold(flight) => {
                            return Poll::Ready(Ok(hold(response, flight, None)));
                        }
                        Answer::Pass => return Poll::Ready(Ok(pass(response))),
                        Answer::First(started, todo) => {
                            match store(started, todo, response, this.shared) {
                                Ok(response) => return Poll::Ready(Ok(response)),
                                Err(state) => state,
                            }
                        }
                        Answer::Refuse(reason, recipient) => {
                            return Poll::Ready(Ok(respond(reason.refusal(), &recipient)));
                        }
                    }
                }
                StateProj::Storing { wait, response } => {
                    let stored = ready!(wait.poll(cx));
                    let response = response.take().expect("polled after completion");
                    return Poll::Ready(Ok(match stored {
                        Ok((todo, done)) => todo.finish(done, response, this.shared),
                        Err(Late(recipient)) => unavailable(&recipient),
                    }));
                }
                StateProj::Refused { refusal } => {
                    let (refusal, recipient) = refusal.take().expect("polled after completion");
                    return Poll::Ready(Ok(respond(refusal, &recipient)));
                }
            };
            this.state.set(next);
        }
    }
}

fn go_on<S, B, R>(begun: Begun, request: Request<B>, mut service: S) -> State<S, S::Future, B, R>
where
    S: Service<Request<B>>,
{
    match begun {
        Begun::Ready(role) => State::calling(service.call(request), role),
        Begun::Refused(reason, recipient) => State::refused(reason.refusal(), recipient),
        Begun::Waiting(wait, lookup) => State::looking_up(wait, lookup, request, service),
    }
}

/// Waits for what the store does before the response.
///
/// # Errors
///
/// Gives the next state if it takes its time.
// The state is where the future keeps it, and nobody else sees it.
#[allow(clippy::type_complexity, clippy::result_large_err)]
fn store<S, F, B, R, T>(
    started: Started<T>,
    todo: Todo,
    response: Response<R>,
    shared: &Arc<Shared<T>>,
) -> Result<Response<ResponseBody<R>>, State<S, F, B, R>>
where
    R: Body<Data = Bytes>,
    T: SessionStore,
{
    let wait: Done = match started {
        Started::End(end) => match at_once(end) {
            Ok(done) => return Ok(todo.finish(done, response, shared)),
            Err(end) => Box::pin(end),
        },
        Started::Establish(establish) => match at_once(establish) {
            Ok(done) => return Ok(todo.finish(done, response, shared)),
            Err(establish) => Box::pin(establish),
        },
    };
    Err(State::Storing {
        wait: Storing::new(
            wait,
            todo,
            shared.config.store_timeout,
            Arc::clone(shared) as _,
        ),
        response: Some(response),
    })
}

impl<S, F, B, R, T> fmt::Debug for ResponseFuture<S, F, B, R, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Reading { .. } => "Reading",
            State::LookingUp { .. } => "LookingUp",
            State::Calling { .. } => "Calling",
            State::Storing { .. } => "Storing",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
