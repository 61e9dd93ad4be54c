use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

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

    /// With its members in order, if no two have one name.
    pub(super) fn of<E: Error>(mut members: Vec<(Cow<'a, str>, Json<'a>)>) -> Result<Self, E> {
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
pub(super) fn count<E: Error>(left: &Cell<usize>) -> Result<(), E> {
    let less = left.get().checked_sub(1);
    left.set(less.ok_or_else(|| E::custom("there are too many values"))?);
    Ok(())
}

/// Reads a value, of so many that there may be.
pub(super) struct Read<'b>(pub(super) &'b Cell<usize>);

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
