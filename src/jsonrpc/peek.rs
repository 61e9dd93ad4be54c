use std::fmt;

use super::{
    envelope::Envelope,
    peek_error::PeekError,
    shape::{Limits, Shape},
};

/// What a body holds: one message or a batch of them, see [`peek`].
#[derive(Clone)]
pub struct Peek<'a> {
    body: &'a [u8],
    shape: Shape,
}

/// Reads a body once, from its first byte to its last, without building a document.
///
/// The whole text is checked as strictly as `serde_json` checks it, with the same limit of 127
/// levels. The one difference is that a number of any size is a number: `1e400` and an id of 400
/// digits are fine here, since nothing is converted.
///
/// The time is linear in the body's length, whatever the body holds, and nothing is allocated for
/// a single message.
///
/// # Errors
///
/// If the body is not JSON or not UTF-8 (a byte order mark is not JSON either), or over one
/// of the [default limits](Limits::new).
pub fn peek(body: &[u8]) -> Result<Peek<'_>, PeekError> {
    Ok(Peek::new(body, Shape::scan(body)?))
}

/// Reads a body like [`peek`], with other limits.
///
/// # Errors
///
/// Like [`peek`], with `limits` in place of the default ones.
pub fn peek_within(body: &[u8], limits: Limits) -> Result<Peek<'_>, PeekError> {
    Ok(Shape::scan_within(body, limits)?.view(body))
}

impl<'a> Peek<'a> {
    pub(super) const fn new(body: &'a [u8], shape: Shape) -> Self {
        Self { body, shape }
    }

    /// The message of a body that is not a batch.
    #[must_use]
    pub fn single(&self) -> Option<Envelope<'a>> {
        match self.shape {
            Shape::Single(spans) => Some(Envelope::new(self.body, spans)),
            Shape::Batch(_) => None,
        }
    }

    /// Whether the body is an array, if only an empty one.
    #[must_use]
    pub const fn is_batch(&self) -> bool {
        matches!(self.shape, Shape::Batch(_))
    }

    /// All messages in their order: one, or a batch's. Nothing in a batch that is no object is
    /// left out; it becomes [`Invalid`](super::Kind::Invalid).
    #[must_use]
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = Envelope<'a>> + '_ {
        let all = match &self.shape {
            Shape::Single(spans) => std::slice::from_ref(spans),
            Shape::Batch(all) => all,
        };
        let body = self.body;
        all.iter().map(move |spans| Envelope::new(body, *spans))
    }
}

impl fmt::Debug for Peek<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peek")
            .field("is_batch", &self.is_batch())
            .field("envelopes", &self.envelopes().collect::<Vec<_>>())
            .finish()
    }
}
