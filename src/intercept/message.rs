use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;

use super::Edit;
use crate::jsonrpc::{Envelope, Guise, Kind, Pointer, Shape, Spans};

/// One JSON-RPC message, as it is handed to interceptors.
///
/// A clone costs a reference count: the text is shared, and what was read is places in it. The elements of
/// a batch are messages of their own.
#[derive(Clone)]
pub struct Message {
    /// The body or the event that it came in, which may hold others too.
    body: Bytes,
    spans: Spans,
}

impl Message {
    /// Reads a message; `None` if it is none, or several.
    #[must_use]
    pub fn read(text: impl Into<Bytes>) -> Option<Self> {
        let body = text.into();
        match Shape::read(&body) {
            Ok(Shape::Single(spans)) if spans.kind() != Kind::Invalid => Some(Self { body, spans }),
            _ => None,
        }
    }

    /// Reads what is to take the place of `old`: a message, or no worse a one than that is.
    pub(super) fn read_in_place_of(old: &Self, text: Bytes) -> Option<Self> {
        let Ok(Shape::Single(spans)) = Shape::read(&text) else {
            return None;
        };
        let kind = match spans.kind() {
            Kind::Invalid if !old.spans.is_in_guise() => return None,
            Kind::Invalid if spans.guise(&text) != old.guise() => return None,
            Kind::Invalid => old.kind(),
            kind => kind,
        };
        Some(Self::new(text, spans.with_kind(kind)))
    }

    #[inline]
    pub(super) const fn new(body: Bytes, spans: Spans) -> Self {
        Self { body, spans }
    }

    /// Whether a client may take it for something else than it is.
    #[inline]
    pub(super) const fn may_be_in_guise(&self) -> bool {
        self.spans.may_be_in_guise()
    }

    /// What clients may take it for.
    pub(super) fn guise(&self) -> Guise {
        self.spans.guise(&self.body)
    }

    /// The same as a message of that kind.
    pub(super) fn with_kind(self, kind: Kind) -> Self {
        let Self { body, spans } = self;
        Self::new(body, spans.with_kind(kind))
    }

    /// Whether it can be read in two ways (JRP-10).
    pub(super) const fn is_ambiguous(&self) -> bool {
        self.spans.is_ambiguous()
    }

    /// What kind of message it is; never [`Kind::Invalid`].
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> Kind {
        self.spans.kind()
    }

    /// Its id, method, name and the like.
    #[must_use]
    #[inline]
    pub fn envelope(&self) -> Envelope<'_> {
        Envelope::new(&self.body, self.spans)
    }

    /// The JSON text, without the white space around it.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        // It was read, so it is UTF-8.
        std::str::from_utf8(&self.body[self.range()]).unwrap_or_default()
    }

    /// The JSON text, without the white space around it and without a copy.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.body.slice(self.range())
    }

    /// The JSON text at a pointer (RFC 6901); of a key that is there twice, the last one's. `None` if there
    /// is nothing, or it is no pointer.
    #[must_use]
    pub fn get(&self, pointer: &str) -> Option<&str> {
        let text = self.as_str();
        let found = Pointer::parse(pointer)?.find(text.as_bytes());
        text.get(found.last()?.clone())
    }

    /// Starts to change it. Nothing else of it will change, not even white space.
    pub fn edit(&self) -> Edit {
        Edit::new(self.to_bytes())
    }

    /// Where it is in its body.
    #[inline]
    pub(super) const fn range(&self) -> Range<usize> {
        self.spans.range()
    }

    /// How much memory it keeps: a part of a body keeps all of it.
    pub(super) const fn held_len(&self) -> usize {
        self.body.len()
    }

    /// Its method as the text that it says.
    #[inline]
    pub(super) fn method(&self) -> Option<Cow<'_, [u8]>> {
        self.spans.method(&self.body)
    }

    /// Whether `new` may take its place: another message would be an answer to nobody, or judged by
    /// others than it was meant for (IC-4, A60).
    pub(super) fn may_become(&self, new: &Self) -> bool {
        let (ours, theirs) = (self.envelope(), new.envelope());
        // What has no id has none in either.
        let has_same_id = ours.has_id_of(&theirs) || ours.id_len() + theirs.id_len() == 0;
        // Nobody knows what the next hop takes a key for that is there twice (B52).
        let is_as_clear = theirs.duplicate().is_none() && theirs.ambiguous().is_none()
            || ours.duplicate().is_some()
            || ours.ambiguous().is_some();
        self.kind() == new.kind()
            && self.method() == new.method()
            && has_same_id
            // A header says it too, and the era follows from it.
            && ours.claim() == theirs.claim()
            && is_as_clear
            && theirs.is_jsonrpc_2()
    }
}

/// How a text begins: whole characters of it, up to `max` bytes.
pub(super) fn beginning(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl fmt::Debug for Message {
    // Not the text: arguments are somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Message").field(&self.envelope()).finish()
    }
}
