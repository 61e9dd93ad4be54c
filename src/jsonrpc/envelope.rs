use std::{borrow::Cow, fmt};

use super::{field::Field, id::RequestId, shape::Spans, text};

/// What one message of a body is, borrowed from the body.
///
/// An envelope reads what routing and policies need and leaves the rest alone. Where a key is
/// repeated, the last one counts, as with most JSON parsers; [`duplicate`](Self::duplicate) tells,
/// because another hop may take the first.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    body: &'a [u8],
    spans: Spans,
}

/// The kinds of JSON-RPC messages (JRP-1).
///
/// Whether the message says `"jsonrpc":"2.0"` makes no difference to its kind, see
/// [`Envelope::is_jsonrpc_2`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A `method`, and an `id` that is a string or an integer.
    Request,
    /// A `method`, and no `id` at all.
    Notification,
    /// A `result` and a valid `id`; or an `error` whose `id` is valid, absent or null.
    Response,
    /// Anything else: no object, an id of another type, a method that is no string, both `result`
    /// and `error`, either of them next to a `method`, or none of the three.
    Invalid,
}

/// The protocol version that a message claims in
/// `params._meta["io.modelcontextprotocol/protocolVersion"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim<'a> {
    /// There is no such key.
    Absent,
    /// A string, which need not be a version.
    Version(Cow<'a, str>),
    /// The key is there, but its value is no string.
    NotAString,
}

impl<'a> Envelope<'a> {
    #[inline]
    pub(crate) const fn new(body: &'a [u8], spans: Spans) -> Self {
        Self { body, spans }
    }

    pub(super) const fn spans_mut(&mut self) -> &mut Spans {
        &mut self.spans
    }

    /// The body, and this as all of its messages.
    pub(super) const fn parts(&self) -> (&'a [u8], &[Spans]) {
        (self.body, std::slice::from_ref(&self.spans))
    }

    /// What kind of message this is.
    #[must_use]
    #[inline]
    pub const fn kind(&self) -> Kind {
        self.spans.kind()
    }

    /// The id, if there is a valid one.
    #[must_use]
    pub fn id(&self) -> Option<RequestId> {
        self.id_raw().map(RequestId::from_valid)
    }

    /// Whether the ids of both are valid, and the same for any peer.
    pub(crate) fn has_id_of(&self, other: &Self) -> bool {
        let id = |one: &Self| one.spans.field(Field::Id, one.body);
        let (Some(ours), Some(theirs)) = (id(self), id(other)) else {
            return false;
        };
        ours == theirs
            || text::content(ours).is_some_and(|ours| text::content(theirs) == Some(ours))
    }

    /// The JSON text of the id, if there is a valid one.
    #[must_use]
    pub fn id_raw(&self) -> Option<&'a str> {
        self.raw_text(Field::Id)
    }

    /// The method. Its text is not judged: it may be empty, long, or unknown.
    #[must_use]
    pub fn method(&self) -> Option<Cow<'a, str>> {
        self.text(Field::Method)
    }

    /// The name that a request has to repeat in its `Mcp-Name` header (HDR-1): the tool, prompt,
    /// resource or task that it is about. `None` also if it is no string.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'a, str>> {
        self.text(name_field(&self.method_bytes()?)?)
    }

    /// The JSON text of what [`name`](Self::name) reads for that method, of whatever type it is:
    /// empty if it is not there, `None` if the method has none.
    #[inline]
    pub(crate) fn name_raw(&self, method: &[u8]) -> Option<&'a [u8]> {
        let field = name_field(method)?;
        Some(self.spans.field(field, self.body).unwrap_or_default())
    }

    /// What a request with that method is about, to be compared: its [`name`](Self::name), and for
    /// subscriptions the resource, which no header repeats. `None` if it is no string.
    #[cfg(feature = "auth")]
    pub(crate) fn subject_bytes(&self, method: &[u8]) -> Option<Cow<'a, [u8]>> {
        let field = match method {
            b"resources/subscribe" | b"resources/unsubscribe" => Field::Uri,
            method => name_field(method)?,
        };
        Self::bytes(self.spans.field(field, self.body)?)
    }

    /// [`method`](Self::method), to be compared.
    #[inline]
    pub(crate) fn method_bytes(&self) -> Option<Cow<'a, [u8]>> {
        Self::bytes(self.spans.field(Field::Method, self.body)?)
    }

    /// Whether there is a [`claim`](Self::claim), and what it says if it is a string.
    #[inline]
    pub(crate) fn claim_bytes(&self) -> (bool, Option<Cow<'a, [u8]>>) {
        let raw = self.spans.field(Field::Claim, self.body);
        (self.spans.has(Field::Claim), raw.and_then(Self::bytes))
    }

    /// What a string says, given as JSON text; `None` for what is no string.
    #[inline]
    pub(crate) fn bytes(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
        text::content_bytes(raw)
    }

    /// The length of the id's JSON text; 0 if there is no valid one.
    #[inline]
    pub(crate) fn id_len(&self) -> usize {
        let id = self.spans.field(Field::Id, self.body);
        id.map_or(0, <[u8]>::len)
    }

    /// The protocol version that the message itself claims to follow.
    #[must_use]
    pub fn claim(&self) -> Claim<'a> {
        if !self.spans.has(Field::Claim) {
            return Claim::Absent;
        }
        self.text(Field::Claim)
            .map_or(Claim::NotAString, Claim::Version)
    }

    /// The JSON text of `params._meta["io.modelcontextprotocol/clientCapabilities"]`, of whatever
    /// type it is.
    #[must_use]
    pub fn client_capabilities_raw(&self) -> Option<&'a str> {
        self.raw_text(Field::Capabilities)
    }

    /// Whether the client capabilities are there, and an object.
    #[inline]
    pub(crate) fn has_client_capabilities(&self) -> bool {
        let capabilities = self.spans.field(Field::Capabilities, self.body);
        capabilities.is_some_and(|text| text.starts_with(b"{"))
    }

    /// The protocol version that an `initialize` asks for.
    #[must_use]
    pub fn handshake_version(&self) -> Option<Cow<'a, str>> {
        if self.method()? != "initialize" {
            return None;
        }
        self.text(Field::ProtocolVersion)
    }

    /// The JSON text of `params._meta.progressToken`, of whatever type it is.
    #[must_use]
    pub fn progress_token_raw(&self) -> Option<&'a str> {
        self.raw_text(Field::ProgressToken)
    }

    /// Whether the message says that it is JSON-RPC 2.0.
    #[must_use]
    #[inline]
    pub fn is_jsonrpc_2(&self) -> bool {
        match self.spans.field(Field::JsonRpc, self.body) {
            Some(br#""2.0""#) => true,
            Some(raw) => text::content(raw).is_some_and(|text| text == "2.0"),
            None => false,
        }
    }

    /// The first key that came a second time, with the keys of the objects it lies in, such as
    /// `"params.name"` (JRP-10).
    ///
    /// Only keys count that this type reads something by, in `params` and `_meta` whatever the
    /// method is.
    #[must_use]
    #[inline]
    pub fn duplicate(&self) -> Option<&'static str> {
        self.spans.duplicate()
    }

    /// The first key that is read by nobody here, but equals one that is if upper and lower case
    /// make no difference: `"method"` for a `Method`, with the keys of the objects it lies in
    /// (JRP-10).
    ///
    /// Go's `encoding/json` takes the one for the other, and the last of them counts. So do letters
    /// that are another case of an ASCII letter: `ſ`, the Kelvin sign, `İ` and `ı`.
    #[must_use]
    #[inline]
    pub fn ambiguous(&self) -> Option<&'static str> {
        self.spans.ambiguous()
    }

    /// The message's bytes, without the white space around it.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.spans.whole(self.body)
    }

    fn text(&self, field: Field) -> Option<Cow<'a, str>> {
        text::content(self.spans.field(field, self.body)?)
    }

    fn raw_text(&self, field: Field) -> Option<&'a str> {
        std::str::from_utf8(self.spans.field(field, self.body)?).ok()
    }
}

/// Where the name is of a request with that method.
#[inline]
fn name_field(method: &[u8]) -> Option<Field> {
    Some(match method {
        b"tools/call" | b"prompts/get" => Field::Name,
        b"resources/read" => Field::Uri,
        b"tasks/get" | b"tasks/update" | b"tasks/cancel" => Field::TaskId,
        _ => return None,
    })
}

impl fmt::Debug for Envelope<'_> {
    // Not the bytes: arguments are somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("kind", &self.kind())
            .field("id", &self.id_raw())
            .field("method", &self.method())
            .field("len", &self.raw().len())
            .finish()
    }
}
