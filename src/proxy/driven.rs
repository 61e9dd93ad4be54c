use std::{
    mem,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{
    connection::{Detached, Drive, quiet},
    exchange::Carrier,
};

/// A response body that drives its own connection.
pub(super) struct Driven {
    body: Incoming,
    link: Link,
    lingers: bool,
    outlook: Outlook,
}

/// What the next look at the connection most likely finds, and so whether it takes a waker along: one
/// that finds something has no use for it, see [`quiet`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outlook {
    /// Whoever looks has been woken.
    Something,
    /// One event has just come.
    Nothing,
    /// Several have.
    More,
}

/// How the body comes.
enum Link {
    /// Driven by its reader. Never locked: the mutex makes it `Sync`, for `BoxBody` and the like.
    Driven(Mutex<Box<dyn Drive>>),
    /// By a task, because the request is not sent yet.
    Detached(Detached),
    /// The body is over; the connection is kept for the next exchange, or closed.
    Gone,
}

impl Driven {
    /// `is_success` decides about a request that is not sent whole when its response is over: one
    /// that was accepted is sent on, one that was refused is not.
    pub(super) fn new(body: Incoming, carrier: Carrier, is_success: bool) -> Self {
        let Carrier {
            connection,
            progress,
        } = carrier;
        let is_over = body.is_end_stream();
        let link = match connection {
            Some(connection) if !is_over && !progress.is_complete() => {
                connection.detach().map_or(Link::Gone, Link::Detached)
            }
            Some(connection) => Link::Driven(Mutex::new(connection)),
            None => Link::Gone,
        };
        let mut driven = Self {
            body,
            link,
            lingers: is_success,
            outlook: Outlook::Something,
        };
        if is_over {
            driven.finish();
        }
        driven
    }

    fn finish(&mut self) {
        match mem::replace(&mut self.link, Link::Gone) {
            Link::Driven(connection) => connection
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .finish(self.lingers),
            Link::Detached(task) if self.lingers => task.linger(),
            Link::Detached(_) | Link::Gone => {}
        }
    }
}

impl Driven {
    /// Moves bytes, if the reader does that, and looks at what came.
    fn poll_driven(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Link::Driven(connection) = &mut self.link {
            let connection = connection.get_mut().unwrap_or_else(PoisonError::into_inner);
            if connection.drive(cx).is_pending() {
                return Pin::new(&mut self.body).poll_frame(&mut quiet());
            }
            // Over or not, it may have brought something for the body. An end that it did not tell
            // the body of is told by its being dropped.
            self.link = Link::Gone;
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn poll_any(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if !matches!(self.link, Link::Driven(_)) {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(&mut quiet());
        if polled.is_pending() && self.outlook != Outlook::Nothing {
            polled = self.poll_driven(&mut quiet());
            if polled.is_ready() && self.outlook == Outlook::Something {
                self.outlook = Outlook::Nothing;
            }
        }
        if polled.is_pending() {
            polled = self.poll_driven(cx);
            self.outlook = if polled.is_ready() {
                Outlook::More
            } else {
                Outlook::Something
            };
        }
        polled
    }
}

impl Body for Driven {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let frame = ready!(this.poll_any(cx));
        match &frame {
            Some(Ok(frame)) if frame.is_data() && !this.body.is_end_stream() => {}
            // Trailers are the last frame, and a spent length is not followed by an end.
            Some(Ok(_)) | None => this.finish(),
            Some(Err(_)) => this.link = Link::Gone,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
