use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// The most values of a text of which only some are read: 1,024, at any depth.
pub(super) const MAX_VALUES: usize = 1_024;

/// JSON text in which no object has two members of one name, at any depth.
///
/// Which of two members counts is up to each reader (RFC 8259 §4), and a token must not say one thing
/// to us and another to somebody who reads its claims after us (T14).
#[derive(Debug, PartialEq)]
pub(super) enum Json<'a> {
    /// `null`, `true` or `false`: nothing here is ever one of those.
    Word,
    /// As close as a double comes, which is exact up to 2⁵³.
    Number(f64),
    String(Cow<'a, str>),
    Array(Vec<Self>),
    Object(Object<'a>),
}

/// The members of an object, in order of their names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Object<'a> {
    members: Vec<(Cow<'a, str>, Json<'a>)>,
}

impl<'a> Object<'a> {
    /// Reads a text that is one object. How deep it may be is limited by the parser, to 128 levels.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        match serde_json::from_slice(text) {
            Ok(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// Reads of a text that is one object the members of these `names`, which are in order. The others
    /// are passed over, without a byte allocated for them: whoever wrote the text may be anybody, and is
    /// not worth more (C61). Nor are their names compared, so it is said whether there are any.
    ///
    /// What has more than [`MAX_VALUES`], or is too deep, is refused.
    pub(super) fn pick(text: &'a [u8], names: &'static [&'static str]) -> Option<(Self, bool)> {
        debug_assert!(names.is_sorted());
        let left = Cell::new(MAX_VALUES);
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let picked = deserializer.deserialize_any(Pick { names, left: &left });
        let picked = picked.ok()?;
        deserializer.end().ok()?;
        Some(picked)
    }

    /// With its members in order, if no two have one name.
    fn of<E: Error>(mut members: Vec<(Cow<'a, str>, Json<'a>)>) -> Result<Self, E> {
        members.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(repeated());
        }
        Ok(Self { members })
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        let found = self
            .members
            .binary_search_by(|(member, _)| (**member).cmp(name));
        found.ok().map(|at| &self.members[at].1)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The string of that name, if there is a member of that name.
    pub(super) fn string(&self, name: &str) -> Result<Option<&str>, NotThat> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(_) => Err(NotThat),
        }
    }

    /// The strings of an array, or the one string.
    pub(super) fn strings(&self, name: &str) -> Result<Option<Vec<&str>>, NotThat> {
        match self.get(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(vec![text])),
            Some(Json::Array(items)) => items
                .iter()
                .map(Json::as_str)
                .collect::<Option<_>>()
                .map_or(Err(NotThat), |all| Ok(Some(all))),
            Some(_) => Err(NotThat),
        }
    }
}

impl Json<'_> {
    fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// A member is of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotThat;

impl<'de: 'a, 'a> Deserialize<'de> for Json<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // As much as there is.
        Read(&Cell::new(usize::MAX)).deserialize(deserializer)
    }
}

/// Takes one of the values that are left.
fn count<E: Error>(left: &Cell<usize>) -> Result<(), E> {
    let less = left.get().checked_sub(1);
    left.set(less.ok_or_else(|| E::custom("there are too many values"))?);
    Ok(())
}

/// Reads a value, of so many that there may be.
struct Read<'b>(&'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        count(self.0)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Json::Word)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Json::Word)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Json::Number(number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(Read(self.0))? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value_seed(Read(self.0))?));
        }
        Object::of(members).map(Json::Object)
    }
}

/// Passes over a value, of so many that there may be.
struct Pass<'b>(&'b Cell<usize>);

impl<'de> DeserializeSeed<'de> for Pass<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        count(self.0)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pass<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Pass(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Pass(self.0))?;
        }
        Ok(())
    }
}

/// Reads some members of an object.
struct Pick<'b> {
    names: &'static [&'static str],
    left: &'b Cell<usize>,
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = (Object<'de>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object without repeated names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { names, left } = self;
        let mut members = Vec::new();
        let mut has_others = false;
        while let Some(name) = map.next_key_seed(OneOf(names))? {
            match name {
                Some(name) => {
                    members.push((Cow::Borrowed(name), map.next_value_seed(Read(left))?));
                }
                None => {
                    has_others = true;
                    map.next_value_seed(Pass(left))?;
                }
            }
        }
        Ok((Object::of(members)?, has_others))
    }
}

/// The name of a member, if it is one of these.
struct OneOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for OneOf {
    type Value = Option<&'static str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for OneOf {
    type Value = Option<&'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let found = self.0.binary_search(&text);
        Ok(found.ok().map(|at| self.0[at]))
    }
}

/// The name of a member, borrowed if it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::String(name) => Ok(Self(name)),
            _ => Err(D::Error::custom("a name is a string")),
        }
    }
}

/// Whether no object of a text has two members of one name.
pub(super) fn is_unambiguous(text: &[u8]) -> bool {
    serde_json::from_slice::<Unambiguous>(text).is_ok()
}

fn repeated<E: Error>() -> E {
    E::custom("a name is there twice")
}

/// A value of which only the names are read.
struct Unambiguous;

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut names = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            names.push(name);
            map.next_value::<Self>()?;
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(repeated());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_repeated_names_are_refused_at_any_depth() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"a":{"b":1,"c":2,"b":1}}"#,
            r#"{"a":[[{"b":1,"b":1}]]}"#,
        ] {
            assert_eq!(Object::parse(text.as_bytes()), None, "{text}");
            assert!(!is_unambiguous(text.as_bytes()), "{text}");
        }
        assert!(is_unambiguous(
            br#"{"a":[{"a":null},{"a":-1.5}],"A":{"a":true}}"#
        ));
        let object = Object::parse(br#"{"a":{"a":1},"b":[{"a":1},{"a":1}],"A":1}"#);
        assert!(object.is_some_and(|object| object.has("a") && object.has("A")));
    }

    #[test]
    fn t14_what_is_no_object_or_too_deep_is_refused() {
        for text in ["", "[]", "1", "null", "{", "{}x", "{'a':1}", "\u{feff}{}"] {
            assert_eq!(Object::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}"), None);
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(Object::parse(deep.as_bytes()), None);
    }

    #[test]
    fn t14_of_the_members_that_are_read_none_may_be_there_twice() {
        const NAMES: &[&str] = &["a", "b"];

        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"x":2,"\u0061":3}"#,
            r#"{"a":{"x":1,"x":1}}"#,
            "[]",
            r#""a""#,
            r#"{"a":1}x"#,
            r#"{"x":1e999}"#,
            r#"{"x":"\ud800"}"#,
            "{\"x\":[}",
        ] {
            assert_eq!(Object::pick(text.as_bytes(), NAMES), None, "{text}");
        }
        let text = br#"{"x":[{"y":"\n"}],"b":[1],"\u0061":"\u0078","x":null,"A":-1}"#;
        let (object, has_others) = Object::pick(text, NAMES).expect("an object");
        assert!(has_others);
        assert_eq!(object.string("a"), Ok(Some("x")));
        assert_eq!(object.get("b"), Some(&Json::Array(vec![Json::Number(1.0)])));
        assert!(!object.has("x") && !object.has("A"));
        let (_, has_others) = Object::pick(br#"{"b":{"x":1}}"#, NAMES).expect("an object");
        assert!(!has_others);
    }

    #[test]
    fn c61_text_with_too_many_values_is_refused() {
        for read in ["a", "x"] {
            let text = |count: usize| {
                let items = vec!["[]"; count].join(",");
                format!(r#"{{"{read}":[{items}]}}"#)
            };
            let is_picked = |count| Object::pick(text(count).as_bytes(), &["a"]).is_some();
            assert!(is_picked(MAX_VALUES - 1), "{read}");
            assert!(!is_picked(MAX_VALUES), "{read}");
            let members: String = (0..MAX_VALUES)
                .map(|nth| format!(r#""{nth}":0,"#))
                .collect();
            assert!(Object::pick(format!(r#"{{{members}"z":0}}"#).as_bytes(), &["a"]).is_none());
        }
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(Object::pick(deep.as_bytes(), &["a"]), None);
    }

    #[test]
    fn members_are_read_as_what_they_are() {
        let text = br#"{"s":"x","e":"\u0078","n":1.5,"a":["x","y"],"m":["x",1],"w":null,"o":{}}"#;
        let object = Object::parse(text).expect("an object");
        assert_eq!(object.string("s"), Ok(Some("x")));
        assert_eq!(object.string("e"), Ok(Some("x")));
        assert_eq!(object.string("z"), Ok(None));
        assert_eq!(object.get("n"), Some(&Json::Number(1.5)));
        assert_eq!(object.strings("a"), Ok(Some(vec!["x", "y"])));
        assert_eq!(object.strings("s"), Ok(Some(vec!["x"])));
        for name in ["n", "m", "w", "o"] {
            assert_eq!(object.strings(name), Err(NotThat), "{name}");
        }
    }
}
