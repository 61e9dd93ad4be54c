use std::{
    mem,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use super::{
    client::{Client, Config},
    connection::{Connecting, Drive, Sending, Upstream, quiet},
    failure::Failure,
    outgoing::{Outgoing, Progress},
    wait::Wait,
};
use crate::BoxError;

/// One request, until the head of its response.
///
/// Dropped, it closes the connection that it has, or is making.
pub(super) struct Exchange<B> {
    client: Arc<Client<B>>,
    progress: Progress,
    // Made when it is first polled, unless a connection has brought it along.
    wait: Option<Box<Wait>>,
    step: Step<B>,
}

enum Step<B> {
    Connecting(Connecting<Outgoing<B>>),
    Sent {
        sending: Sending<Outgoing<B>>,
        // Gone once it is over.
        connection: Option<Box<dyn Upstream<Outgoing<B>>>>,
        was_idle: bool,
        // Nothing can have come yet.
        is_new: bool,
    },
    Over,
}

/// What the body of a response comes on.
pub(super) struct Carrier {
    pub(super) connection: Option<Box<dyn Drive>>,
    /// How much of the request is on its way.
    pub(super) progress: Progress,
}

/// The head and the body, and what the body comes on.
pub(super) type Answer = (Response<Incoming>, Carrier);

impl<B> Exchange<B> {
    pub(super) fn config(&self) -> &Config {
        &self.client.config
    }
}

impl<B> Exchange<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    /// Sends `request` on an idle connection, or begins to make one.
    pub(super) fn start(client: &Arc<Client<B>>, request: Request<B>) -> Self {
        let request = request.map(Outgoing::new);
        let progress = request.body().progress();
        let mut idle = client.pool.take();
        let wait = idle.as_mut().and_then(|idle| idle.wait().take());
        Self {
            step: match idle {
                Some(connection) => Step::send(connection, request, true),
                None => Step::connect(client, request),
            },
            client: Arc::clone(client),
            progress,
            wait,
        }
    }

    /// Fails once the head has taken too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Failure>> {
        let wait = self
            .wait
            .get_or_insert_with(|| Box::new(Wait::new(cx.waker())));
        if wait.alarm.is_silent(cx) {
            return Poll::Pending;
        }
        if let Poll::Ready(answer) = self.poll_answer() {
            return Poll::Ready(answer);
        }
        if let Some(wait) = &mut self.wait {
            if let Some(limit) = self.client.config.head_timeout
                && wait.poll(limit).is_ready()
            {
                // Closes the connection.
                self.step = Step::Over;
                return Poll::Ready(Err(Failure::HeadTimeout));
            }
            wait.alarm.set();
        }
        Poll::Pending
    }

    /// Whatever may go on later has the alarm's waker.
    fn poll_answer(&mut self) -> Poll<Result<Answer, Failure>> {
        let Self {
            client,
            progress,
            wait: Some(wait),
            step,
        } = self
        else {
            return Poll::Pending;
        };
        loop {
            let mut cx = Context::from_waker(wait.alarm.waker());
            match step {
                Step::Connecting(connecting) => {
                    let (connection, request) = ready!(connecting.as_mut().poll(&mut cx))?;
                    *step = Step::send(connection, request, false);
                }
                Step::Sent {
                    sending,
                    connection,
                    was_idle,
                    is_new,
                } => {
                    let mut polled = Poll::Pending;
                    if let Some(driven) = connection {
                        // Whoever looks again has been woken. With what is there, the connection goes
                        // on to the body, or to the next exchange; and what it kept of this one's
                        // waker would ring then.
                        let mut is_over = false;
                        if !mem::take(is_new) {
                            is_over = driven.drive(&mut quiet()).is_ready();
                            polled = sending.as_mut().poll(&mut quiet());
                        }
                        if polled.is_pending() && !is_over {
                            is_over = driven.drive(&mut cx).is_ready();
                            polled = sending.as_mut().poll(&mut quiet());
                        }
                        if is_over {
                            *connection = None;
                        }
                    }
                    if connection.is_none() && polled.is_pending() {
                        polled = sending.as_mut().poll(&mut cx);
                    }
                    match ready!(polled) {
                        Ok(response) => {
                            wait.finish();
                            // A body without a length may be a stream, which has no use for it.
                            if let Some(connection) = connection
                                && response.body().size_hint().exact().is_some()
                            {
                                *connection.wait() = self.wait.take();
                            }
                            let carrier = Carrier {
                                connection: connection.take().map(|connection| connection as _),
                                progress: progress.clone(),
                            };
                            return Poll::Ready(Ok((response, carrier)));
                        }
                        Err(mut error) => {
                            // hyper gives back what it has not begun to write. An idle connection
                            // may have ended just before; a new one has no such excuse (PRX-6).
                            let unsent = error.take_message().filter(|_| *was_idle);
                            let Some(request) = unsent else {
                                return Poll::Ready(Err(error.into_error().into()));
                            };
                            wait.reconnect();
                            *step = Step::connect(client, request);
                        }
                    }
                }
                Step::Over => return Poll::Pending,
            }
        }
    }
}

impl<B> Step<B>
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    fn connect(client: &Client<B>, request: Request<Outgoing<B>>) -> Self {
        let Client {
            connector,
            target,
            pool,
            ..
        } = client;
        Self::Connecting(connector.connect(target.url().clone(), request, pool.downgrade()))
    }

    fn send(
        mut connection: Box<dyn Upstream<Outgoing<B>>>,
        request: Request<Outgoing<B>>,
        was_idle: bool,
    ) -> Self {
        Self::Sent {
            sending: connection.send(request),
            connection: Some(connection),
            was_idle,
            is_new: true,
        }
    }
}
