use std::{error::Error, fmt, sync::Arc};

/// A set of OAuth scopes that clients may be asked to have, in the order that they were given, each once.
///
/// A clone costs a reference count.
#[derive(Clone, PartialEq, Eq)]
pub struct Scopes {
    /// One space between any two: as in a token, and in a challenge.
    text: Arc<str>,
}

impl Scopes {
    /// The scopes named.
    ///
    /// # Errors
    ///
    /// If one is empty, or has a character that no scope has (RFC 6749 §3.3): a space, a quote, a
    /// backslash, or anything but printable ASCII. If one is no scope to ask for here (AUT-9):
    /// `offline_access`, which is between a client and its authorization server, or `*`.
    pub fn new<I>(names: I) -> Result<Self, InvalidScope>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut text = String::new();
        for name in names {
            let name = name.as_ref();
            let is_text = !name.is_empty() && name.bytes().all(is_scope_char);
            if !is_text || matches!(name, "offline_access" | "*") {
                return Err(InvalidScope(()));
            }
            if text.split(' ').any(|has| has == name) {
                continue;
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(name);
        }
        Ok(Self { text: text.into() })
    }

    /// All scopes of several sets.
    pub(super) fn union<'a>(sets: impl Iterator<Item = &'a Self>) -> Self {
        // Each was checked when its set was made.
        Self::new(sets.flat_map(Self::iter)).unwrap_or_default()
    }

    /// The scopes, one after another.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        // Of an empty text, one empty part is made.
        self.text.split(' ').filter(|name| !name.is_empty())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The scopes with one space between any two.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

const fn is_scope_char(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)
}

/// None.
impl Default for Scopes {
    fn default() -> Self {
        Self { text: "".into() }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A text that is no scope, or none to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidScope(());

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a scope is printable ASCII without spaces, quotes and backslashes, and neither \
             offline_access nor *",
        )
    }
}

impl Error for InvalidScope {}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Result<Scopes, InvalidScope> {
        Scopes::new(names)
    }

    #[test]
    fn scopes_keep_their_order_and_are_there_once() {
        let scopes = list(&["b", "a", "b", "a:x"]).expect("valid");
        assert_eq!(scopes.as_str(), "b a a:x");
        assert_eq!(scopes.iter().collect::<Vec<_>>(), ["b", "a", "a:x"]);
        assert_eq!(format!("{scopes:?}"), r#"{"b", "a", "a:x"}"#);
        let none = list(&[]).expect("valid");
        assert!(none.is_empty() && none == Scopes::default());
        assert_eq!(none.iter().count(), 0);
    }

    #[test]
    fn aut_9_nobody_is_asked_for_all_or_for_what_is_not_for_here() {
        for name in ["*", "offline_access"] {
            assert!(list(&["read", name]).is_err(), "{name:?}");
        }
        assert!(list(&["files:*", "offline"]).is_ok());
    }

    #[test]
    fn what_could_break_out_of_a_challenge_is_no_scope() {
        for name in ["", " ", "a b", "a\"", "a\\", "a\r\nb", "a\u{7f}", "ä"] {
            assert!(list(&[name]).is_err(), "{name:?}");
        }
    }
}
