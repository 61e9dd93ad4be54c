use memchr::memchr2;

use super::{field::Field, keys::Keys, text::PlainKey};

/// Which members of a message a text has, however little else of it can be read.
///
/// For what a server has sent, and a client is going to read with a parser of its own: to that, what is
/// nested too deeply for us, has a `NaN` in it or a byte that is no UTF-8 is a message all the same. So
/// only keys are looked at, and where brackets close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// Those with their exact name.
    exact: u16,
    /// Those whose value, the last one's, is null: some write what they do not mean so.
    null: u16,
    /// Those that are there twice, or in letters of another case.
    unclear: u16,
}

const ANSWER: u16 = Field::Result.bit() | Field::Error.bit();

impl Members {
    /// Looks at all objects in `text` that are in no other, and says of which members any of them is.
    ///
    /// Each byte is looked at once.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut found = Self::default();
        let mut seen = 0;
        let (mut at, mut depth) = (0, 0_usize);
        while let Some(&byte) = text.get(at) {
            match byte {
                b'"' => {
                    let end = string(text, at);
                    if depth == 1
                        && let Some(value) = value(text, end)
                    {
                        found.note(text.get(at + 1..end).unwrap_or_default(), value, &mut seen);
                    }
                    at = end;
                    continue;
                }
                // Arrays around a message make it no other one.
                b'[' if depth == 0 => {}
                b'{' | b'[' => {
                    if depth == 0 {
                        seen = 0;
                    }
                    depth += 1;
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            at += 1;
        }
        found
    }

    /// Takes note of a member with that key, which ends with its quote, in an object with those in `seen`.
    fn note(&mut self, key: &[u8], value: &[u8], seen: &mut u16) {
        let Some((field, is_exact)) = field(key) else {
            return;
        };
        let bit = field.bit();
        if !is_exact {
            self.unclear |= bit;
            return;
        }
        if *seen & bit != 0 {
            self.unclear |= bit;
        }
        *seen |= bit;
        self.exact |= bit;
        self.null &= !bit;
        if value.starts_with(b"null") {
            self.null |= bit;
        }
    }

    const fn has(self, field: Field) -> bool {
        self.exact & field.bit() != 0
    }

    /// Whether somebody may take it for a response, who does not look for a method and may not tell letters
    /// by their case.
    pub(crate) const fn may_answer(self) -> bool {
        (self.exact | self.unclear) & ANSWER != 0
    }

    /// Whether two may take it for two messages (JRP-10).
    pub(crate) const fn is_unclear(self) -> bool {
        let told_by = ANSWER | Field::Method.bit() | Field::Id.bit();
        self.unclear & told_by != 0
    }

    /// Whether there is a result or an error that is not null.
    pub(super) const fn means_answer(self) -> bool {
        self.exact & !self.null & ANSWER != 0
    }

    /// Whether there is no id, or one that is null.
    pub(super) const fn has_no_id(self) -> bool {
        !self.has(Field::Id) || self.null & Field::Id.bit() != 0
    }
}

/// The member that a key names, and whether it does so for every parser.
fn field(key: &[u8]) -> Option<(Field, bool)> {
    let written = key.strip_suffix(b"\"")?;
    if !written.contains(&b'\\')
        && let Some((field, _)) = Keys::Message.find(key)
    {
        return Some((field, true));
    }
    let plain = PlainKey::of(written)?;
    match plain.exact().and_then(|text| Keys::Message.find(text)) {
        Some((field, _)) => Some((field, true)),
        None => Some((Keys::Message.alike(&plain)?, false)),
    }
}

/// What follows a string that ends at `end`, if that is a colon and a value.
fn value(text: &[u8], end: usize) -> Option<&[u8]> {
    let rest = text.get(end..)?.trim_ascii_start();
    Some(rest.strip_prefix(b":")?.trim_ascii_start())
}

/// The index after the string that starts at `at`.
fn string(text: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(len) = text.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += len;
        if text[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_in_whatever_else_cannot_be_read() {
        let deep = format!(
            r#"{{"d":{}1{},"result":1}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        for (text, answers, is_unclear) in [
            (r#"{"result":{}}"#, true, false),
            (r#" [ { "id" : 7 , "error" : null } ] "#, true, false),
            (r#"{"re\u0073ult":1}"#, true, false),
            (r#"{"a":NaN,"result":1}"#, true, false),
            ("{\"a\":\"\u{1}\\ud800\",\"result\":1", true, false),
            (&deep, true, false),
            (r#"[[{"result":1}]]"#, true, false),
            (r#"{"a":1} {"result":1}"#, true, false),
            (r#"{"Result":1}"#, true, true),
            (r#"{"ERR\u004fR":1}"#, true, true),
            ("{\"re\u{17f}ult\":1}", true, true),
            (r#"{"result":1,"result":1}"#, true, true),
            (r#"{"id":1,"result":1,"Method":"x"}"#, true, true),
            (r#"{"id":1,"result":1,"id":2}"#, true, true),
            (r#"[{"id":1,"result":1},{"id":2,"result":1}]"#, true, false),
            (r#"{"params":{"result":1}}"#, false, false),
            (r#"{"a":"result","b":["error"]}"#, false, false),
            (r#"{"a":"\",\"result\":1"}"#, false, false),
            (r#"["result",{"a":[{"error":1}]}]"#, false, false),
            (r#"{"results":1,"resul":1}"#, false, false),
            ("", false, false),
            ("]}]{\"", false, false),
            ("{\"result\"", false, false),
            ("{\"result", false, false),
            ("{\"result\\", false, false),
        ] {
            let members = Members::of(text.as_bytes());
            assert_eq!(members.may_answer(), answers, "{text}");
            assert_eq!(members.is_unclear(), is_unclear, "{text}");
        }
        let mut broken = Vec::from(&b"{\"a\":\"\xff\",\"result\":1}"[..]);
        assert!(Members::of(&broken).may_answer());
        broken[2] = 0xff;
        assert!(Members::of(&broken).may_answer());
    }

    #[test]
    fn null_means_nothing() {
        for (text, means_answer, has_no_id) in [
            (r#"{"id":null,"result":null,"error":null}"#, false, true),
            (r#"{"id":7,"result": null ,"error":{}}"#, true, false),
            (r#"{"result":0}"#, true, true),
            // The last one counts.
            (
                r#"{"id":null,"id":7,"result":null,"result":1}"#,
                true,
                false,
            ),
        ] {
            let members = Members::of(text.as_bytes());
            assert_eq!(members.means_answer(), means_answer, "{text}");
            assert_eq!(members.has_no_id(), has_no_id, "{text}");
        }
    }
}
