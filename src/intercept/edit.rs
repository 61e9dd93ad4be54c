use std::{borrow::Cow, error::Error, fmt};

use bytes::Bytes;

use super::Verdict;
use crate::jsonrpc::{self, Pointer, splice};

/// A message that is being changed, made by [`Message::edit`](super::Message::edit).
///
/// Only what is named changes: all other bytes stay, such as the digits of a number that no float holds,
/// keys that nobody knows, their order, and white space. Each change reads the text once.
///
/// Places are JSON pointers (RFC 6901), in which `*` alone stands for all members of an object or an
/// array. A key that is there twice is changed twice.
#[derive(Clone)]
#[must_use = "what is changed is to be made a verdict"]
pub struct Edit {
    text: Bytes,
    is_changed: bool,
}

/// A change that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditError {
    kind: EditErrorKind,
}

/// Why a change cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EditErrorKind {
    /// It is no JSON pointer.
    InvalidPointer,
    /// The new value is not JSON.
    InvalidJson,
    /// There is nothing at the pointer, and no object that it would be in.
    NotFound,
}

impl Edit {
    pub(super) const fn new(text: Bytes) -> Self {
        Self {
            text,
            is_changed: false,
        }
    }

    /// Replaces what is at `pointer` by `json`. If there is nothing, but an object that it would be in, it
    /// becomes the first member of that.
    ///
    /// # Errors
    ///
    /// If `pointer` is none, if `json` is not one value as JSON text, or if there is no such place.
    pub fn set(&mut self, pointer: &str, json: &str) -> Result<(), EditError> {
        let pointer = parse(pointer)?;
        if jsonrpc::peek(json.as_bytes()).is_err() {
            return Err(EditErrorKind::InvalidJson.into());
        }
        let found = pointer.find(&self.text);
        if !found.is_empty() {
            let value = json.as_bytes();
            self.splice(found.into_iter().map(|place| (place, Cow::Borrowed(value))));
            return Ok(());
        }
        let (parent, key) = pointer.in_object().ok_or(EditErrorKind::NotFound)?;
        let objects = parent.find(&self.text).into_iter();
        let inserts: Vec<_> = objects
            .filter(|object| self.text[object.clone()].starts_with(b"{"))
            .map(|object| {
                let at = object.start + 1;
                let inside = &self.text[at..object.end - 1];
                let comma = if inside.trim_ascii().is_empty() {
                    ""
                } else {
                    ","
                };
                let member = format!("{key}:{json}{comma}");
                (at..at, Cow::Owned(member.into_bytes()))
            })
            .collect();
        if inserts.is_empty() {
            return Err(EditErrorKind::NotFound.into());
        }
        self.splice(inserts);
        Ok(())
    }

    /// Removes what is at `pointer`, with its key. How much that was may be nothing.
    ///
    /// # Errors
    ///
    /// If `pointer` is none.
    pub fn remove(&mut self, pointer: &str) -> Result<usize, EditError> {
        self.retain(pointer, |_| false)
    }

    /// Removes those of what is at `pointer` for which `keep` is false, such as some of the elements of a
    /// list, `/result/tools/*`. It is given the JSON text of each.
    ///
    /// # Errors
    ///
    /// If `pointer` is none.
    pub fn retain(
        &mut self,
        pointer: &str,
        mut keep: impl FnMut(&str) -> bool,
    ) -> Result<usize, EditError> {
        let pointer = parse(pointer)?;
        let is_unwanted = |value: &[u8]| !std::str::from_utf8(value).is_ok_and(&mut keep);
        let cuts = pointer.cuts(&self.text, is_unwanted);
        let count = cuts.len();
        if count > 0 {
            self.splice(cuts.into_iter().map(|place| (place, Cow::default())));
        }
        Ok(count)
    }

    /// Whether anything was changed.
    #[must_use]
    pub const fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// The text as it is now.
    #[must_use]
    pub fn into_text(self) -> Bytes {
        self.text
    }

    fn splice<'a>(
        &mut self,
        changes: impl IntoIterator<Item = (std::ops::Range<usize>, Cow<'a, [u8]>)>,
    ) {
        self.text = splice(&self.text, changes).into();
        self.is_changed = true;
    }
}

fn parse(pointer: &str) -> Result<Pointer, EditError> {
    Pointer::parse(pointer).ok_or_else(|| EditErrorKind::InvalidPointer.into())
}

/// The message as it was changed, or as it was.
impl From<Edit> for Verdict {
    fn from(edit: Edit) -> Self {
        if edit.is_changed {
            Self::Replace(edit.text)
        } else {
            Self::Continue
        }
    }
}

impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edit")
            .field("len", &self.text.len())
            .field("is_changed", &self.is_changed)
            .finish()
    }
}

impl EditError {
    /// Why it cannot be made.
    #[must_use]
    pub const fn kind(&self) -> EditErrorKind {
        self.kind
    }
}

impl From<EditErrorKind> for EditError {
    fn from(kind: EditErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            EditErrorKind::InvalidPointer => "not a JSON pointer",
            EditErrorKind::InvalidJson => "the new value is not JSON",
            EditErrorKind::NotFound => "there is no such place in the message",
        })
    }
}

impl Error for EditError {}

#[cfg(test)]
mod tests {
    use super::super::Message;
    use super::*;

    const CALL: &str = r#"{ "jsonrpc":"2.0", "id": 9007199254740993, "method":"tools/call",
        "params": {"name":"echo","arguments":{"n":1.00,"secret":"x","list":[1,2,3]},"x":{}} }"#;

    fn edit() -> Edit {
        Message::read(CALL).expect("a message").edit()
    }

    #[test]
    fn icp_6_nothing_changes_but_what_is_named() {
        let mut call = edit();
        call.set("/params/arguments/secret", "null")
            .expect("a place");
        let text = call.clone().into_text();
        assert_eq!(text, CALL.replace(r#""x","#, "null,"));
        call.set("/params/arguments/new", "[1]").expect("an object");
        call.set("/params/x/y~1z", "2").expect("an object");
        assert_eq!(call.remove("/params/arguments/n").expect("a pointer"), 1);
        let mut sums = 0;
        let removed = call.retain("/params/arguments/list/*", |item| {
            sums += 1;
            item == "2"
        });
        assert_eq!((removed, sums), (Ok(2), 3));
        let expected = CALL
            .replace(r#""n":1.00,"secret":"x","#, r#""new":[1],"secret":null,"#)
            .replace("[1,2,3]", "[2]")
            .replace(r#""x":{}"#, r#""x":{"y/z":2}"#);
        assert_eq!(call.clone().into_text(), expected);
        assert!(matches!(Verdict::from(call), Verdict::Replace(text) if text == expected));
    }

    #[test]
    fn what_cannot_be_done_is_said_and_changes_nothing() {
        let mut call = edit();
        for (pointer, json, kind) in [
            ("params", "1", EditErrorKind::InvalidPointer),
            ("/params/x", "{", EditErrorKind::InvalidJson),
            ("/params/x", "1,2", EditErrorKind::InvalidJson),
            ("/params/name/x", "1", EditErrorKind::NotFound),
            ("/nobody/x", "1", EditErrorKind::NotFound),
            ("/params/arguments/list/7", "1", EditErrorKind::NotFound),
        ] {
            let error = call.set(pointer, json).expect_err(pointer);
            assert_eq!(error.kind(), kind, "{pointer}");
        }
        assert_eq!(call.remove("/params/nothing"), Ok(0));
        assert!(call.remove("params").is_err());
        assert!(!call.is_changed());
        assert!(matches!(Verdict::from(call), Verdict::Continue));
    }
}
