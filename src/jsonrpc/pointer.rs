//! Places in JSON text, to read them or to change nothing but them.

use std::{borrow::Cow, ops::Range};

use super::{
    lexer::{DEEPEST, Lexer},
    peek_error::PeekError,
    text,
};

/// A JSON pointer (RFC 6901), in which `*` alone stands for all members of an object or an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pointer {
    segments: Box<[Segment]>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Any,
    Key {
        key: Box<[u8]>,
        /// In an array.
        index: Option<usize>,
    },
}

/// What is done where a pointer points to.
struct Walk<'a, F> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    found: Vec<Range<usize>>,
    /// `None` tells where values are. With it, those members are to be cut out whose value it is true
    /// of.
    cut: Option<F>,
}

impl Pointer {
    /// `None` if it is no pointer.
    pub(crate) fn parse(pointer: &str) -> Option<Self> {
        if pointer.is_empty() {
            return Some(Self {
                segments: Box::default(),
            });
        }
        let segments = pointer.strip_prefix('/')?.split('/').map(Segment::parse);
        Some(Self {
            segments: segments.collect::<Option<_>>()?,
        })
    }

    /// Where the values are, from left to right. Of a key that is there twice, both: nobody knows which
    /// one a parser takes.
    pub(crate) fn find(&self, json: &[u8]) -> Vec<Range<usize>> {
        self.walk(json, None::<fn(&[u8]) -> bool>)
    }

    /// What has to be cut out of `json`, from left to right, so that the members are gone of whose value
    /// `is_unwanted` is true, with one of the commas next to each. Nothing for the whole.
    pub(crate) fn cuts(
        &self,
        json: &[u8],
        is_unwanted: impl FnMut(&[u8]) -> bool,
    ) -> Vec<Range<usize>> {
        self.walk(json, Some(is_unwanted))
    }

    /// The object that the last key is in, and that key as JSON text. `None` for what can be in none.
    pub(crate) fn in_object(&self) -> Option<(Self, String)> {
        let (last, before) = self.segments.split_last()?;
        let Segment::Key { key, .. } = last else {
            return None;
        };
        let key = std::str::from_utf8(key).ok()?;
        let parent = Self {
            segments: before.into(),
        };
        Some((parent, serde_json::Value::from(key).to_string()))
    }

    /// `json` has been read before, so there is nothing wrong with it.
    fn walk<F: FnMut(&[u8]) -> bool>(&self, json: &[u8], cut: Option<F>) -> Vec<Range<usize>> {
        let mut walk = Walk {
            text: json,
            lexer: Lexer::new(json, DEEPEST),
            found: Vec::new(),
            cut,
        };
        let walked = walk.value(&self.segments, 0);
        debug_assert!(walked.is_ok(), "it is JSON");
        walk.found
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let is_escaped = |rest: &str| rest.starts_with(['0', '1']);
        if !text.split('~').skip(1).all(is_escaped) {
            return None;
        }
        let key = text.replace("~1", "/").replace("~0", "~");
        let is_index = key == "0" || !key.starts_with(['0', '+']);
        Some(Self::Key {
            index: is_index.then(|| key.parse().ok()).flatten(),
            key: key.into_bytes().into(),
        })
    }

    fn is_key(&self, raw: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Key { key, .. } => text::content_bytes(raw).is_some_and(|raw| *raw == **key),
        }
    }

    fn is_index(&self, nth: usize) -> bool {
        match self {
            Self::Any => true,
            Self::Key { index, .. } => *index == Some(nth),
        }
    }
}

impl<F: FnMut(&[u8]) -> bool> Walk<'_, F> {
    /// Goes through the value that comes next. It calls itself no more often than the pointer is long.
    fn value(&mut self, segments: &[Segment], depth: usize) -> Result<(), PeekError> {
        let next = self.lexer.next();
        let start = self.lexer.offset();
        let Some((segment, rest)) = segments.split_first() else {
            self.lexer.skip(depth)?;
            if self.cut.is_none() {
                self.found.push(start..self.lexer.offset());
            }
            return Ok(());
        };
        let Some(bracket @ (b'{' | b'[')) = next else {
            return self.lexer.skip(depth).map(drop);
        };
        // In ASCII, either closing bracket is its opening one plus two.
        let close = bracket + 2;
        self.lexer.open(depth)?;
        if self.lexer.take(close) {
            return Ok(());
        }
        let mut cutter = (rest.is_empty() && self.cut.is_some()).then(Cutter::default);
        for nth in 0.. {
            self.lexer.next();
            let start = self.lexer.offset();
            let is_meant = if bracket == b'{' {
                let key = self.lexer.key()?;
                segment.is_key(&self.text[key])
            } else {
                segment.is_index(nth)
            };
            self.lexer.next();
            let value = self.lexer.offset();
            if is_meant {
                self.value(rest, depth + 1)?;
            } else {
                self.lexer.skip(depth + 1)?;
            }
            let end = self.lexer.offset();
            if let (Some(cutter), Some(cut)) = (&mut cutter, &mut self.cut) {
                let is_cut = is_meant && cut(&self.text[value..end]);
                self.found.extend(cutter.member(start..end, is_cut));
            }
            if !self.lexer.take(b',') {
                break;
            }
        }
        if let Some(cutter) = cutter {
            self.found.extend(cutter.end());
        }
        self.lexer.expect(close)
    }
}

/// Cuts members out of one container, so that there is one comma between any two that stay.
#[derive(Default)]
struct Cutter {
    has_kept: bool,
    /// The end of the member before.
    last: usize,
    /// One that is to go, with what comes before the next.
    leading: Option<Range<usize>>,
}

impl Cutter {
    fn member(&mut self, member: Range<usize>, is_cut: bool) -> Option<Range<usize>> {
        let leading = self.leading.take().map(|first| first.start..member.start);
        let last = std::mem::replace(&mut self.last, member.end);
        if !is_cut {
            self.has_kept = true;
            return leading;
        }
        if self.has_kept {
            // With the comma before it.
            return Some(last..member.end);
        }
        self.leading = Some(member);
        leading
    }

    fn end(self) -> Option<Range<usize>> {
        self.leading
    }
}

/// What has to be cut out of a container so that those of its members are gone that are said to be, with one
/// of the commas next to each. From left to right.
pub(crate) fn cut_members(
    members: impl IntoIterator<Item = (Range<usize>, bool)>,
) -> Vec<Range<usize>> {
    let mut cutter = Cutter::default();
    let members = members.into_iter();
    let mut cuts: Vec<_> = members
        .filter_map(|(member, is_cut)| cutter.member(member, is_cut))
        .collect();
    cuts.extend(cutter.end());
    cuts
}

/// `text` with each of the places, from left to right, replaced by what goes with it.
pub(crate) fn splice<'a>(
    text: &[u8],
    changes: impl IntoIterator<Item = (Range<usize>, Cow<'a, [u8]>)>,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut copied = 0;
    for (place, replacement) in changes {
        out.extend_from_slice(&text[copied..place.start]);
        out.extend_from_slice(&replacement);
        copied = place.end;
    }
    out.extend_from_slice(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pointer: &str, json: &str) -> Vec<String> {
        let pointer = Pointer::parse(pointer).expect("a pointer");
        let found = pointer.find(json.as_bytes()).into_iter();
        found.map(|range| json[range].to_owned()).collect()
    }

    fn cut(pointer: &str, json: &str) -> String {
        let pointer = Pointer::parse(pointer).expect("a pointer");
        let cuts = pointer.cuts(json.as_bytes(), |value| value != b"0");
        let cuts = cuts.into_iter().map(|place| (place, Cow::default()));
        String::from_utf8(splice(json.as_bytes(), cuts)).expect("UTF-8")
    }

    #[test]
    fn rfc_6901_pointers_point_to_what_they_say() {
        // Section 5.
        let json = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#;
        for (pointer, value) in [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
            ("", json),
        ] {
            assert_eq!(found(pointer, json), [value], "{pointer}");
        }
        for pointer in ["/foo/2", "/foo/00", "/foo/-", "/foo/bar", "/x", "/foo/0/x"] {
            assert!(found(pointer, json).is_empty(), "{pointer}");
        }
        for pointer in ["foo", "/a~", "/a~2"] {
            assert_eq!(Pointer::parse(pointer), None, "{pointer}");
        }
    }

    #[test]
    fn star_stands_for_all_members_and_a_repeated_key_for_both() {
        let json = r#"{"a":[{"b":1},{"c":2},{"b":3,"b":4}],"\u0061":{"x":{"b" : 5 }}}"#;
        assert_eq!(found("/a/*/b", json), ["1", "3", "4", "5"]);
        assert_eq!(found("/*/1", json), [r#"{"c":2}"#]);
    }

    #[test]
    fn cuts_leave_one_comma_between_any_two_that_stay() {
        for (json, left) in [
            ("[]", "[]"),
            ("[1]", "[]"),
            ("[ 1 ]", "[  ]"),
            ("[0]", "[0]"),
            ("[1,0]", "[0]"),
            ("[0,1]", "[0]"),
            ("[0 , 1 , 0]", "[0 , 0]"),
            ("[1,1,0,1,1,0,1]", "[0,0]"),
            ("[1 , 1]", "[]"),
            (r#"{"a":1,"b":0, "c":2}"#, r#"{"b":0}"#),
        ] {
            assert_eq!(cut("/*", json), left, "{json}");
        }
        assert_eq!(cut("/a", r#"{"b":1,"a":2}"#), r#"{"b":1}"#);
        assert_eq!(cut("/*/a", r#"[{"a":1},{"a":0}]"#), r#"[{},{"a":0}]"#);
        assert_eq!(cut("", "1"), "1");
    }
}
