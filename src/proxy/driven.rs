use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Drive;

/// A response body that drives its own connection.
pub(super) struct Driven {
    body: Incoming,
    // Gone once the body is over: kept for the next exchange, or closed.
    connection: Option<Box<dyn Drive>>,
}

impl Driven {
    pub(super) fn new(
        body: Incoming,
        connection: Option<Box<dyn Drive>>,
        cx: &mut Context<'_>,
    ) -> Self {
        let mut driven = Self { body, connection };
        if driven.body.is_end_stream() {
            driven.finish(cx);
        }
        driven
    }

    fn finish(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = self.connection.take() {
            connection.finish(cx);
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
