use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::json::{Object, Read, count};

/// The most values of a text of which only some are read: 1,024, at any depth.
pub(super) const MAX_VALUES: usize = 1_024;

/// Reads of a text that is one object the members of these `names`. The others are passed over, without
/// a byte allocated for them: whoever wrote the text may be anybody, and is not worth more (C61). Nor are
/// their names compared, so it is said whether there are any.
///
/// What has more than [`MAX_VALUES`], or is too deep, is refused.
pub(super) fn pick<'a>(
    text: &'a [u8],
    names: &'static [&'static str],
) -> Option<(Object<'a>, bool)> {
    let left = Cell::new(MAX_VALUES);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let picked = deserializer.deserialize_any(Pick { names, left: &left });
    let picked = picked.ok()?;
    deserializer.end().ok()?;
    Some(picked)
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
        // Few, and hardly two of one length: faster than to search.
        Ok(self.0.iter().copied().find(|name| *name == text))
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

#[cfg(test)]
mod tests {
    use super::{super::json::Json, *};

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
            assert_eq!(pick(text.as_bytes(), NAMES), None, "{text}");
        }
        let text = br#"{"x":[{"y":"\n"}],"b":[1],"\u0061":"\u0078","x":null,"A":-1}"#;
        let (object, has_others) = pick(text, NAMES).expect("an object");
        assert!(has_others);
        assert_eq!(object.string("a"), Ok(Some("x")));
        assert_eq!(object.get("b"), Some(&Json::Array(vec![Json::Number(1.0)])));
        assert!(!object.has("x") && !object.has("A"));
        let (_, has_others) = pick(br#"{"b":{"x":1}}"#, NAMES).expect("an object");
        assert!(!has_others);
    }

    #[test]
    fn c61_text_with_too_many_values_is_refused() {
        for read in ["a", "x"] {
            let text = |count: usize| {
                let items = vec!["[]"; count].join(",");
                format!(r#"{{"{read}":[{items}]}}"#)
            };
            let is_picked = |count| pick(text(count).as_bytes(), &["a"]).is_some();
            assert!(is_picked(MAX_VALUES - 1), "{read}");
            assert!(!is_picked(MAX_VALUES), "{read}");
            let members: String = (0..MAX_VALUES)
                .map(|nth| format!(r#""{nth}":0,"#))
                .collect();
            assert!(pick(format!(r#"{{{members}"z":0}}"#).as_bytes(), &["a"]).is_none());
        }
        let deep = format!("{{\"x\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert_eq!(pick(deep.as_bytes(), &["a"]), None);
    }
}
