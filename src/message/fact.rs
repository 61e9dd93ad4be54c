#[cfg(feature = "intercept")]
use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

#[cfg(any(feature = "intercept", feature = "rate-limit"))]
use crate::jsonrpc::Kind;
use crate::{
    jsonrpc::{Peek, PeekError, Shape},
    protocol::Era,
};

/// A request body that was read whole, and what it says.
///
/// Found in the request's extensions inside of a [`MessageLayer`](super::MessageLayer). A clone
/// costs a reference count: the bytes are shared, and what was read is spans into them.
///
/// It holds the body, so a layer that keeps a `Message` beyond its request keeps the body's
/// memory too.
#[derive(Clone)]
pub struct Message {
    body: Bytes,
    shape: Result<Shape, PeekError>,
    era: Option<Era>,
}

impl Message {
    /// Reads `body`, once.
    #[must_use]
    pub fn new(body: Bytes) -> Self {
        let shape = Shape::read(&body);
        Self {
            body,
            shape,
            era: None,
        }
    }

    /// With the era of the request that it came in: each fact of its own would be an allocation.
    #[cfg(any(
        feature = "auth",
        feature = "intercept",
        feature = "message",
        feature = "replay",
        feature = "session"
    ))]
    pub(crate) fn in_era(mut self, era: Era) -> Self {
        self.era = Some(era);
        self
    }

    /// The era of the request that it came in, once that was looked at: always inside of a
    /// [`MessageLayer`](super::MessageLayer). [`Era::of`] tells it of requests without a message too.
    #[must_use]
    pub const fn era(&self) -> Option<Era> {
        self.era
    }

    /// The body, byte for byte as it came.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// What the body says.
    ///
    /// # Errors
    ///
    /// If it is no JSON, or over the limits of [`peek`](crate::jsonrpc::peek).
    pub fn peek(&self) -> Result<Peek<'_>, &PeekError> {
        self.shape.as_ref().map(|shape| shape.view(&self.body))
    }
}

#[cfg(feature = "intercept")]
impl Message {
    /// The kind of a message that is not a batch, and its method, if it is clear what they are. A
    /// [`peek`](Self::peek) is more to move about.
    #[inline]
    pub(crate) fn single_head(&self) -> Option<(Kind, Option<Cow<'_, [u8]>>)> {
        self.shape.as_ref().ok()?.single_head(&self.body)
    }

    /// The places of what was read.
    #[inline]
    pub(crate) const fn shape(&self) -> Option<&Shape> {
        match &self.shape {
            Ok(shape) => Some(shape),
            Err(_) => None,
        }
    }
}

#[cfg(feature = "rate-limit")]
impl Message {
    /// The kind of a message that is not a batch, for who asks for no more: a [`peek`](Self::peek) is
    /// more to move about.
    #[inline]
    pub(crate) const fn single_kind(&self) -> Option<Kind> {
        match &self.shape {
            Ok(shape) => shape.single_kind(),
            Err(_) => None,
        }
    }
}

impl fmt::Debug for Message {
    // Not the bytes: arguments are somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            body,
            shape: _,
            era,
        } = self;
        f.debug_struct("Message")
            .field("len", &body.len())
            .field("peek", &self.peek())
            .field("era", era)
            .finish()
    }
}
