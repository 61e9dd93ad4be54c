use std::{fmt, sync::Arc};

use super::{
    envelope::Envelope,
    peek_error::PeekError,
    shape::{Limits, Shape, Spans, scan},
};

/// What a body holds: one message or a batch of them, see [`peek`].
#[derive(Clone)]
pub struct Peek<'a> {
    messages: Messages<'a>,
}

#[derive(Clone)]
enum Messages<'a> {
    Single(Envelope<'a>),
    Batch(&'a [u8], Arc<[Spans]>),
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
    peek_within(body, Limits::new())
}

/// Reads a body like [`peek`], with other limits.
///
/// # Errors
///
/// Like [`peek`], with `limits` in place of the default ones.
pub fn peek_within(body: &[u8], limits: Limits) -> Result<Peek<'_>, PeekError> {
    // Read to where it is returned: to move it costs as much as to read a word or two.
    let mut peek = Ok(Peek::new(body, Shape::new()));
    if let Ok(Peek {
        messages: Messages::Single(message),
    }) = &mut peek
    {
        match scan(body, limits, message.spans_mut()) {
            Ok(None) => {}
            Ok(Some(all)) => peek = Ok(Peek::new(body, Shape::Batch(all))),
            Err(error) => peek = Err(error),
        }
    }
    peek
}

impl<'a> Peek<'a> {
    #[inline]
    pub(super) fn new(body: &'a [u8], shape: Shape) -> Self {
        let messages = match shape {
            Shape::Single(spans) => Messages::Single(Envelope::new(body, spans)),
            Shape::Batch(all) => Messages::Batch(body, all),
        };
        Self { messages }
    }

    /// The message of a body that is not a batch.
    #[must_use]
    pub fn single(&self) -> Option<Envelope<'a>> {
        self.as_single().copied()
    }

    /// [`single`](Self::single), for who does not keep it.
    #[inline]
    pub(crate) const fn as_single(&self) -> Option<&Envelope<'a>> {
        match &self.messages {
            Messages::Single(message) => Some(message),
            Messages::Batch(..) => None,
        }
    }

    /// Whether the body is an array, if only an empty one.
    #[must_use]
    pub const fn is_batch(&self) -> bool {
        matches!(self.messages, Messages::Batch(..))
    }

    /// All messages in their order: one, or a batch's. Nothing in a batch that is no object is
    /// left out; it becomes [`Invalid`](super::Kind::Invalid).
    #[must_use]
    pub fn envelopes(&self) -> impl ExactSizeIterator<Item = Envelope<'a>> + '_ {
        let (body, all) = match &self.messages {
            Messages::Single(message) => message.parts(),
            Messages::Batch(body, all) => (*body, &**all),
        };
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
