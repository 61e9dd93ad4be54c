use std::borrow::Cow;

use super::{
    Context, Decision, EditError, EditErrorKind, Interceptor, Interest, Message, Unneeded, Verdict,
};
use crate::jsonrpc::{Pointer, splice};

/// Puts something else in the place of values that are nobody's business.
///
/// Places are JSON pointers (RFC 6901) into a message, in which `*` alone stands for all members of an
/// object or an array. Values there are replaced by a text, `"[redacted]"` by default, whatever they were.
/// All else of the message stays as it was, and what has none of them is not touched.
///
/// What is redacted on the way to the client is in no log of a [`ReplayLayer`](crate::replay) outside
/// (B29), nor seen by the interceptors before this one.
///
/// See the [module docs](crate::intercept).
#[derive(Clone, Debug)]
#[must_use]
pub struct Redact {
    interest: Interest,
    places: Vec<Pointer>,
    /// As JSON text.
    replacement: String,
}

impl Redact {
    /// Looks at what is in `interest`, for nothing yet.
    pub fn new(interest: Interest) -> Self {
        Self {
            interest,
            places: Vec::new(),
            replacement: r#""[redacted]""#.to_owned(),
        }
    }

    /// Also redacts what is at `pointer`.
    ///
    /// # Errors
    ///
    /// If it is none, or points to the whole message, or to what makes it one: such messages would not
    /// pass.
    pub fn add_pointer(mut self, pointer: &str) -> Result<Self, EditError> {
        let is_whole = ["", "/*", "/jsonrpc", "/id", "/method"].contains(&pointer);
        let place = Pointer::parse(pointer).filter(|_| !is_whole);
        self.places
            .push(place.ok_or(EditErrorKind::InvalidPointer)?);
        Ok(self)
    }

    /// Puts this text in the place of values.
    pub fn with_replacement(mut self, text: &str) -> Self {
        self.replacement = serde_json::Value::from(text).to_string();
        self
    }
}

impl Interceptor for Redact {
    type Future = Unneeded;

    fn interest(&self) -> Cow<'_, Interest> {
        Cow::Borrowed(&self.interest)
    }

    fn intercept(&self, _: &Context, message: &Message) -> Decision<Unneeded> {
        let text = message.as_str().as_bytes();
        let mut places: Vec<_> = self.places.iter().flat_map(|one| one.find(text)).collect();
        if places.is_empty() {
            return Verdict::Continue.into();
        }
        // One may lie in another, which is then gone with all that is in it.
        places.sort_by_key(|place| (place.start, std::cmp::Reverse(place.end)));
        let mut end = 0;
        places.retain(|place| {
            let is_outside = place.start >= end;
            end = end.max(place.end);
            is_outside
        });
        let replacement = self.replacement.as_bytes();
        let changes = places
            .into_iter()
            .map(|place| (place, Cow::Borrowed(replacement)));
        Verdict::Replace(splice(text, changes).into()).into()
    }
}
