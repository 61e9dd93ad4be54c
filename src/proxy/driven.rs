use std::{
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{connection::Drive, exchange::Carrier};

/// A response body that drives its own connection.
pub(super) struct Driven {
    body: Incoming,
    // Gone once the body is over, kept for the next exchange or closed; and if the connection has
    // a task of its own. Never locked: the mutex makes it `Sync`, for `BoxBody` and the like.
    connection: Option<Mutex<Box<dyn Drive>>>,
    lingers: bool,
}

impl Driven {
    /// `is_success` decides about a request that is not sent whole when its response is over: one
    /// that was accepted is sent on, one that was refused is not.
    pub(super) fn new(
        body: Incoming,
        carrier: Carrier,
        is_success: bool,
        cx: &mut Context<'_>,
    ) -> Self {
        let Carrier {
            connection,
            progress,
        } = carrier;
        let mut driven = Self {
            body,
            connection: connection.map(Mutex::new),
            lingers: is_success,
        };
        if driven.body.is_end_stream() {
            driven.finish(cx);
        } else if !progress.is_complete()
            && let Some(connection) = driven.take()
        {
            connection.detach();
        }
        driven
    }

    fn take(&mut self) -> Option<Box<dyn Drive>> {
        let connection = self.connection.take()?;
        Some(
            connection
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = self.take() {
            connection.finish(self.lingers, cx);
        }
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
        let mut polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_pending()
            && let Some(connection) = &mut this.connection
        {
            let connection = connection.get_mut().unwrap_or_else(PoisonError::into_inner);
            // Over or not, it may have brought something for the body. An end that it did not
            // tell the body of is told by its being dropped.
            if connection.drive(cx).is_ready() {
                this.connection = None;
            }
            polled = Pin::new(&mut this.body).poll_frame(cx);
        }
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) if frame.is_data() && !this.body.is_end_stream() => {}
            // Trailers are the last frame, and a spent length is not followed by an end.
            Some(Ok(_)) | None => this.finish(cx),
            Some(Err(_)) => this.connection = None,
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
