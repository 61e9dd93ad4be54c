use std::sync::Arc;
#[cfg(feature = "intercept")]
use std::{borrow::Cow, ops::Range};

#[cfg(feature = "intercept")]
use super::text;
use super::{
    envelope::Kind,
    field::Field,
    id,
    keys::Keys,
    lexer::{DEEPEST, Lexer},
    peek::Peek,
    peek_error::{PeekError, PeekErrorKind},
    span::Span,
};

/// How much of a body [`peek_within`](super::peek_within) accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    max_depth: usize,
    max_messages: usize,
}

/// What a body consists of, as places in it: cheap to clone, and apart from the bytes, so that
/// somebody can own both.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Single(Spans),
    Batch(Arc<[Spans]>),
}

/// What one message consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    whole: Span,
    fields: [Span; Field::READ],
    present: u16,
    duplicate: Option<Field>,
    alike: Option<Field>,
    kind: Kind,
}

impl Limits {
    /// How deep the text of a body may be by default.
    pub(super) const DEPTH: usize = 127;

    /// The limits of [`peek`](super::peek): 127 levels, like `serde_json`, and 1,000 messages.
    pub const fn new() -> Self {
        Self {
            max_depth: Self::DEPTH,
            max_messages: 1_000,
        }
    }

    /// Accepts up to `levels` arrays and objects inside each other, and never more than 128.
    pub const fn with_max_depth(mut self, levels: usize) -> Self {
        self.max_depth = if levels < DEEPEST { levels } else { DEEPEST };
        self
    }

    /// Accepts batches of up to `messages`, each of which costs less than 100 bytes.
    pub const fn with_max_messages(mut self, messages: usize) -> Self {
        self.max_messages = messages;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl Shape {
    /// Before anything was read.
    pub(crate) const fn new() -> Self {
        Self::Single(Spans::new())
    }

    /// The kind of a message that is not a batch, and its method; `None` also for one that two hops may
    /// read in two ways.
    #[cfg(feature = "intercept")]
    #[inline]
    pub(crate) fn single_head<'a>(&self, body: &'a [u8]) -> Option<(Kind, Option<Cow<'a, [u8]>>)> {
        match self {
            Self::Single(spans)
                if spans.kind != Kind::Invalid
                    && spans.duplicate.is_none()
                    && spans.alike.is_none() =>
            {
                Some((spans.kind, spans.method(body)))
            }
            Self::Single(_) | Self::Batch(_) => None,
        }
    }

    /// The kind of a message that is not a batch.
    #[cfg(feature = "rate-limit")]
    #[inline]
    pub(crate) const fn single_kind(&self) -> Option<Kind> {
        match self {
            Self::Single(spans) => Some(spans.kind()),
            Self::Batch(_) => None,
        }
    }

    /// Reads `body` within the default limits.
    pub(crate) fn read(body: &[u8]) -> Result<Self, PeekError> {
        let mut shape = Ok(Self::new());
        if let Ok(Self::Single(spans)) = &mut shape {
            match scan(body, Limits::new(), spans) {
                Ok(None) => {}
                Ok(Some(all)) => shape = Ok(Self::Batch(all)),
                Err(error) => shape = Err(error),
            }
        }
        shape
    }

    /// Looks at `body`, which has to be the one that was scanned, through this shape.
    pub(crate) fn view<'a>(&self, body: &'a [u8]) -> Peek<'a> {
        Peek::new(body, self.clone())
    }
}

/// Reads `body`, all of it, once: one message into new `spans`, or a batch.
pub(super) fn scan(
    body: &[u8],
    limits: Limits,
    spans: &mut Spans,
) -> Result<Option<Arc<[Spans]>>, PeekError> {
    if body.len() > Span::MAX {
        return Err(PeekError::new(PeekErrorKind::TooLarge, Span::MAX));
    }
    // Once for all strings in it. Most bodies are ASCII, and that is the faster check.
    let is_ascii = body.is_ascii();
    if !is_ascii && let Err(error) = std::str::from_utf8(body) {
        return Err(PeekError::new(PeekErrorKind::Utf8, error.valid_up_to()));
    }
    let mut lexer = Lexer::new(body, limits.max_depth).with_ascii(is_ascii);
    let mut all = None;
    if lexer.next() == Some(b'[') {
        all = Some(batch(&mut lexer, body, limits.max_messages)?);
    } else {
        element(&mut lexer, body, 0, spans)?;
    }
    lexer.end()?;
    Ok(all)
}

fn batch(lexer: &mut Lexer<'_>, body: &[u8], max: usize) -> Result<Arc<[Spans]>, PeekError> {
    let mut messages = Vec::new();
    lexer.open(0)?;
    if !lexer.take(b']') {
        loop {
            if messages.len() == max {
                let offset = lexer.offset();
                return Err(PeekError::new(PeekErrorKind::TooManyMessages, offset));
            }
            let mut spans = Spans::new();
            element(lexer, body, 1, &mut spans)?;
            messages.push(spans);
            if lexer.take(b',') {
                continue;
            }
            lexer.expect(b']')?;
            break;
        }
    }
    Ok(messages.into())
}

/// One message, or whatever stands in its place.
#[inline]
fn element(
    lexer: &mut Lexer<'_>,
    body: &[u8],
    depth: usize,
    spans: &mut Spans,
) -> Result<(), PeekError> {
    if lexer.next() != Some(b'{') {
        spans.whole = lexer.skip(depth)?;
        return Ok(());
    }
    spans.whole = lexer.object(depth, Keys::Message, |lexer, field| {
        spans.note(field);
        if field == Some(Field::Params) {
            spans.forget(Field::IN_PARAMS);
            if lexer.next() == Some(b'{') {
                return params(lexer, depth + 1, spans);
            }
        }
        spans.set(field, lexer.skip(depth + 1)?);
        Ok(())
    })?;
    spans.alike = lexer.take_alike();
    spans.judge(body);
    Ok(())
}

#[inline]
fn params(lexer: &mut Lexer<'_>, depth: usize, spans: &mut Spans) -> Result<(), PeekError> {
    lexer.object(depth, Keys::Params, |lexer, field| {
        spans.note(field);
        if field == Some(Field::Meta) {
            spans.forget(Field::IN_META);
            if lexer.next() == Some(b'{') {
                return meta(lexer, depth + 1, spans);
            }
        }
        spans.set(field, lexer.skip(depth + 1)?);
        Ok(())
    })?;
    Ok(())
}

#[inline]
fn meta(lexer: &mut Lexer<'_>, depth: usize, spans: &mut Spans) -> Result<(), PeekError> {
    lexer.object(depth, Keys::Meta, |lexer, field| {
        spans.note(field);
        spans.set(field, lexer.skip(depth + 1)?);
        Ok(())
    })?;
    Ok(())
}

impl Spans {
    const fn new() -> Self {
        Self {
            whole: Span::new(0, 0),
            fields: [Span::new(0, 0); Field::READ],
            present: 0,
            duplicate: None,
            alike: None,
            kind: Kind::Invalid,
        }
    }

    /// Records that a key was met, possibly once more.
    #[inline(always)]
    fn note(&mut self, field: Option<Field>) {
        let Some(field) = field else { return };
        if self.has(field) && self.duplicate.is_none() {
            self.duplicate = Some(field);
        }
        self.present |= field.bit();
    }

    /// Records where the value of the key is that was noted last.
    #[inline(always)]
    fn set(&mut self, field: Option<Field>, value: Span) {
        if let Some(slot) = field.and_then(|field| self.fields.get_mut(field as usize)) {
            *slot = value;
        }
    }

    /// Drops what an object held that another one with the same key now replaces.
    #[inline]
    fn forget(&mut self, fields: &[Field]) {
        for &field in fields {
            self.set(Some(field), Span::default());
            self.present &= !field.bit();
        }
    }

    /// Decides the kind, once all fields are known.
    fn judge(&mut self, body: &[u8]) {
        let valid = self.field(Field::Id, body).is_some_and(id::is_valid);
        let null = self.field(Field::Id, body) == Some(b"null");
        if !valid {
            // So that nobody echoes it.
            self.set(Some(Field::Id), Span::default());
        }
        let method = self
            .field(Field::Method, body)
            .map(|raw| raw.starts_with(b"\""));
        let (result, error) = (self.has(Field::Result), self.has(Field::Error));
        self.kind = match method {
            Some(true) if result || error => Kind::Invalid,
            Some(true) if valid => Kind::Request,
            Some(true) if !self.has(Field::Id) => Kind::Notification,
            Some(_) => Kind::Invalid,
            None if result && error => Kind::Invalid,
            None if result && valid => Kind::Response,
            // An error may answer a message whose id could not be read (JRP-5): MCP then leaves
            // the id out, and other JSON-RPC peers write null.
            None if error && (valid || null || !self.has(Field::Id)) => Kind::Response,
            None => Kind::Invalid,
        };
    }

    #[inline]
    pub(super) const fn has(&self, field: Field) -> bool {
        self.present & field.bit() != 0
    }

    /// The JSON text of a field's value; of several, the last one's.
    #[inline]
    pub(super) fn field<'a>(&self, field: Field, body: &'a [u8]) -> Option<&'a [u8]> {
        self.fields.get(field as usize)?.of(body)
    }

    pub(super) fn whole<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        self.whole.of(body).unwrap_or_default()
    }

    #[inline]
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The same as a message of that kind, for who knows what it is taken for.
    #[cfg(feature = "intercept")]
    pub(crate) const fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Whether its kind is [another](Self::with_kind) than it has by the letter.
    #[cfg(feature = "intercept")]
    #[inline]
    pub(crate) const fn is_in_guise(&self) -> bool {
        let (result, error) = (self.has(Field::Result), self.has(Field::Error));
        match self.kind {
            Kind::Request => result || error,
            Kind::Notification => result || error || self.has(Field::Id),
            // Only an error may be without an id.
            Kind::Response => {
                self.has(Field::Method)
                    || result == error
                    || result && self.fields[Field::Id as usize].is_empty()
            }
            Kind::Invalid => false,
        }
    }

    /// Whether a key is there twice, or one that is like one that is read.
    #[cfg(feature = "intercept")]
    #[inline]
    pub(crate) const fn is_ambiguous(&self) -> bool {
        self.duplicate.is_some() || self.alike.is_some()
    }

    /// What the method says.
    #[cfg(feature = "intercept")]
    #[inline]
    pub(crate) fn method<'a>(&self, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        text::content_bytes(self.field(Field::Method, body)?)
    }

    /// Where the message is in its body, without the white space around it.
    #[cfg(feature = "intercept")]
    #[inline]
    pub(crate) const fn range(&self) -> Range<usize> {
        self.whole.range()
    }

    #[inline]
    pub(super) fn duplicate(&self) -> Option<&'static str> {
        self.duplicate.map(Field::path)
    }

    #[inline]
    pub(super) fn ambiguous(&self) -> Option<&'static str> {
        self.alike.map(Field::path)
    }
}
