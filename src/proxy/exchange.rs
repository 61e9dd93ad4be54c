use std::{
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
    patience::Patience,
};
use crate::BoxError;

/// One request, until the head of its response.
///
/// Dropped, it closes the connection that it has, or is making.
pub(super) struct Exchange<B> {
    client: Arc<Client<B>>,
    progress: Progress,
    patience: Patience,
    step: Step<B>,
}

enum Step<B> {
    Connecting(Connecting<Outgoing<B>>),
    Sent {
        sending: Sending<Outgoing<B>>,
        // Gone once it is over.
        connection: Option<Box<dyn Upstream<Outgoing<B>>>>,
        was_idle: bool,
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
        let timer = idle.as_mut().and_then(|idle| idle.timer().take());
        Self {
            step: match idle {
                Some(connection) => Step::send(connection, request, true),
                None => Step::connect(client, request),
            },
            client: Arc::clone(client),
            progress,
            patience: Patience::new(timer),
        }
    }

    /// Fails once the head has taken too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Failure>> {
        if let Poll::Ready(answer) = self.poll_answer(cx) {
            return Poll::Ready(answer);
        }
        let Some(limit) = self.client.config.head_timeout else {
            return Poll::Pending;
        };
        ready!(self.patience.poll(limit, cx));
        // Closes the connection.
        self.step = Step::Over;
        Poll::Ready(Err(Failure::HeadTimeout))
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Answer, Failure>> {
        loop {
            match &mut self.step {
                Step::Connecting(connecting) => {
                    let (connection, request) = ready!(connecting.as_mut().poll(cx))?;
                    self.step = Step::send(connection, request, false);
                }
                Step::Sent {
                    sending,
                    connection,
                    was_idle,
                } => {
                    if let Some(driven) = connection
                        && driven.drive(cx).is_ready()
                    {
                        *connection = None;
                    }
                    let polled = match connection {
                        Some(_) => sending.as_mut().poll(&mut quiet()),
                        None => sending.as_mut().poll(cx),
                    };
                    match ready!(polled) {
                        Ok(response) => {
                            // A body without a length may be a stream, which has no use for it.
                            if let Some(connection) = connection
                                && response.body().size_hint().exact().is_some()
                            {
                                *connection.timer() = self.patience.finish();
                            }
                            let carrier = Carrier {
                                connection: connection.take().map(|connection| connection as _),
                                progress: self.progress.clone(),
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
                            self.patience.reconnect();
                            self.step = Step::connect(&self.client, request);
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
        }
    }
}
