//! `peek` and `serde_json` see the same messages, whatever the bytes are.

use std::fmt;

use proptest::{collection::vec, prelude::*, sample::select};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};
use shadowcat::jsonrpc::{Claim, Envelope, Kind, RequestId, peek};

const CLAIM: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// The keys that decide something, some that look like them, and one that is long.
const KEYS: &[&str] = &[
    "jsonrpc",
    "method",
    "id",
    "params",
    "result",
    "error",
    "name",
    "uri",
    "taskId",
    "_meta",
    "protocolVersion",
    "progressToken",
    CLAIM,
    CAPABILITIES,
    "Method",
    "ID",
    "NAME",
    "Progresstoken",
    "paramſ",
    "tas\u{212a}Id",
    "İd",
    "ids",
    "",
    "arguments",
    "é",
    "method\"",
    "io.modelcontextprotocol/clientCapabilities-and-more",
];

/// Strings and numbers that decide something, or nearly.
const SCALARS: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-0",
    "7",
    "-12",
    "1.5",
    "1e3",
    "1E-2",
    "9007199254740993",
    "1e400",
    "123456789012345678901234567890",
    r#""""#,
    r#""2.0""#,
    r#""tools/call""#,
    r#""tools\/call""#,
    r#""resources/read""#,
    r#""tasks/get""#,
    r#""initialize""#,
    r#""\u0061""#,
    r#""2026-07-28""#,
    r#""\ud83d\ude00""#,
    "\"😀 é\"",
    r#""a string of more than one word""#,
];

/// What is wrong in most places.
const NOISE: &[&str] = &[
    "nul",
    "01",
    "1.",
    "-",
    "+1",
    ".5",
    "\"",
    "\"\n\"",
    r#""\ud800""#,
    r#""\udc00 ""#,
    r#""\u00""#,
    r#""\x""#,
    "\u{feff}",
    "'a'",
    ",",
    ":",
    "{",
    "]",
    "//",
    "NaN",
];

// === What serde_json sees ===

/// The members of an object, in their order, with their repetitions.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'a> Members<'a> {
    fn of(raw: &'a str) -> Self {
        serde_json::from_str(raw).unwrap_or(Self(Vec::new()))
    }

    /// The last one counts.
    fn get(&self, key: &str) -> Option<&'a str> {
        let mut members = self.0.iter().rev();
        Some(members.find(|member| member.0 == key)?.1.get())
    }

    fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.get(key)?).ok()
    }

    fn object(&self, key: &str) -> Self {
        Self::of(self.get(key).unwrap_or("null"))
    }

    /// Whether a key is one of these for a parser that ignores case, and not for one that does not.
    fn resembles(&self, keys: &[&str]) -> bool {
        let mut members = self.0.iter().map(|(key, _)| key.as_str());
        members.any(|key| {
            !keys.contains(&key) && keys.iter().any(|other| folded(other) == folded(key))
        })
    }

    fn repeats(&self, keys: &[&str]) -> bool {
        let count = |key: &&str| self.0.iter().filter(|member| member.0 == *key).count();
        keys.iter().any(|key| count(key) > 1)
    }
}

/// The same for texts that are equal but for their case: by Unicode, letter by letter, and by Java,
/// which takes an `i` without its dot, and an `I` with one, for the other case of `I` and `i`.
fn folded(text: &str) -> String {
    let fold = |letter: char| match letter {
        'İ' | 'ı' => vec!['i'],
        _ => {
            let lower = letter.to_lowercase();
            let upper = lower.flat_map(char::to_uppercase);
            upper.flat_map(char::to_lowercase).collect()
        }
    };
    text.chars().flat_map(fold).collect()
}

fn is_id(raw: &str) -> bool {
    let mut digits = raw.strip_prefix('-').unwrap_or(raw).bytes();
    raw.starts_with('"') || digits.all(|byte| byte.is_ascii_digit())
}

/// Compares every accessor with what follows from the members.
fn assert_same(ours: &Envelope<'_>, raw: &str) {
    assert_eq!(ours.raw(), raw.as_bytes());
    let message = Members::of(raw);
    let params = message.object("params");
    let meta = params.object("_meta");

    let method = message.text("method");
    let id = message.get("id").filter(|id| is_id(id));
    assert_eq!(ours.method().as_deref(), method.as_deref(), "{raw}");
    assert_eq!(ours.id_raw(), id, "{raw}");
    assert_eq!(
        ours.is_jsonrpc_2(),
        message.text("jsonrpc").as_deref() == Some("2.0")
    );

    let name = match method.as_deref() {
        Some("tools/call" | "prompts/get") => params.text("name"),
        Some("resources/read") => params.text("uri"),
        Some("tasks/get" | "tasks/update" | "tasks/cancel") => params.text("taskId"),
        _ => None,
    };
    assert_eq!(ours.name().as_deref(), name.as_deref(), "{raw}");
    let claim = match (meta.get(CLAIM), meta.text(CLAIM)) {
        (None, _) => Claim::Absent,
        (_, Some(text)) => Claim::Version(text.into()),
        (Some(_), None) => Claim::NotAString,
    };
    assert_eq!(ours.claim(), claim, "{raw}");
    assert_eq!(
        ours.progress_token_raw(),
        meta.get("progressToken"),
        "{raw}"
    );
    assert_eq!(
        ours.client_capabilities_raw(),
        meta.get(CAPABILITIES),
        "{raw}"
    );
    let asked = params.text("protocolVersion");
    let asked = asked.filter(|_| method.as_deref() == Some("initialize"));
    assert_eq!(
        ours.handshake_version().as_deref(),
        asked.as_deref(),
        "{raw}"
    );

    let has = |key: &str| message.get(key).is_some();
    let answers = usize::from(has("result")) + usize::from(has("error"));
    let kind = match (has("method"), answers) {
        (true, 0) if method.is_none() => Kind::Invalid,
        (true, 0) if id.is_some() => Kind::Request,
        (true, 0) if !has("id") => Kind::Notification,
        (false, 1) if id.is_some() => Kind::Response,
        (false, 1) if has("error") && message.get("id").is_none_or(|id| id == "null") => {
            Kind::Response
        }
        _ => Kind::Invalid,
    };
    assert_eq!(ours.kind(), kind, "{raw}");

    let keys = ["jsonrpc", "method", "id", "params", "result", "error"];
    let in_params = ["name", "uri", "taskId", "_meta", "protocolVersion"];
    let in_meta = [CLAIM, CAPABILITIES, "progressToken"];
    let repeats = message.repeats(&keys) || params.repeats(&in_params) || meta.repeats(&in_meta);
    // Repetitions in objects that were replaced need no looking for: that was one, too.
    assert_eq!(ours.duplicate().is_some(), repeats, "{raw}");
    let resembles =
        message.resembles(&keys) || params.resembles(&in_params) || meta.resembles(&in_meta);
    // Those in objects that were replaced are told as well.
    let is_told = ours.ambiguous().is_some();
    assert!(is_told == resembles || (is_told && repeats), "{raw}");
}

/// The whole comparison, for any bytes at all.
fn assert_agreement(body: &[u8]) {
    let shown = body.escape_ascii();
    let ours = peek(body);
    match serde_json::from_slice::<Value>(body) {
        Ok(_) => {}
        // The documented difference: numbers of any size are fine, so only the rest counts.
        Err(error) if error.to_string().starts_with("number out of range") => {
            let rest = serde_json::from_slice::<IgnoredAny>(body);
            assert!(rest.is_ok() || ours.is_err(), "accepted {shown}");
            if ours.is_err() {
                return;
            }
        }
        Err(error) => {
            assert!(ours.is_err(), "accepted {shown}: {error}");
            return;
        }
    }
    let ours = ours.unwrap_or_else(|error| panic!("refused {shown}: {error}"));
    let text = std::str::from_utf8(body).expect("serde_json checked it");
    let elements: Vec<&RawValue> = match serde_json::from_str(text) {
        Ok(elements) => {
            assert!(ours.is_batch() && ours.single().is_none());
            elements
        }
        Err(_) => {
            assert!(!ours.is_batch() && ours.single().is_some());
            vec![serde_json::from_str(text).expect("one value")]
        }
    };
    assert_eq!(ours.envelopes().len(), elements.len());
    for (ours, theirs) in ours.envelopes().zip(elements) {
        assert_same(&ours, theirs.get());
    }
}

// === Bodies ===

/// A string, each of its characters written in one of the ways there are.
fn written(content: String) -> impl Strategy<Value = String> {
    let len = content.chars().count();
    vec(0..12_u8, len).prop_map(move |ways| {
        let mut text = String::from("\"");
        for (character, way) in content.chars().zip(ways) {
            match (character, way) {
                ('"' | '\\' | '/', 0..=5) => text.extend(['\\', character]),
                ('"' | '\\' | '\0'..='\x1f', _) | (_, 0) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                _ => text.push(character),
            }
        }
        text.push('"');
        text
    })
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t ")]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(SCALARS).prop_map(str::to_owned),
        1 => any::<String>().prop_flat_map(written),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => "[0-9]{1,400}".prop_map(|digits| format!("1{digits}")),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(KEYS).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
    .prop_flat_map(written)
}

/// Any JSON text, with objects that look like messages more often than chance would have it.
fn json() -> impl Strategy<Value = String> {
    scalar().prop_recursive(5, 60, 8, |value| {
        let spaced = (blank(), value, blank());
        let spaced = spaced
            .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
            .boxed();
        let member = (key(), blank(), spaced.clone());
        let member = member.prop_map(|(key, blank, value)| format!("{blank}{key}{blank}:{value}"));
        prop_oneof![
            1 => vec(spaced, 0..6).prop_map(|values| format!("[{}]", values.join(","))),
            3 => vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A message with each part in its place, in any order, possibly more than once.
fn message() -> impl Strategy<Value = String> {
    let object = |fields: Vec<(&'static str, BoxedStrategy<String>)>| {
        let members = fields.into_iter().map(|(key, value)| {
            let member = (written(key.to_owned()), value);
            let member = member.prop_map(|(key, value)| format!("{key}:{value}"));
            vec(member, 0..3).boxed()
        });
        let members = members.collect::<Vec<_>>();
        let members = members.prop_map(|members| members.concat()).prop_shuffle();
        members
            .prop_map(|members| format!("{{{}}}", members.join(",")))
            .boxed()
    };
    let value = || scalar().boxed();
    let meta = object(vec![
        (CLAIM, value()),
        ("progressToken", value()),
        (CAPABILITIES, json().boxed()),
        ("x", json().boxed()),
    ]);
    let params = object(vec![
        ("name", value()),
        ("uri", value()),
        ("taskId", value()),
        ("protocolVersion", value()),
        ("arguments", json().boxed()),
        ("_meta", meta),
    ]);
    object(vec![
        ("jsonrpc", value()),
        ("id", value()),
        ("method", value()),
        ("params", params),
        (
            "result",
            prop_oneof![Just("null".to_owned()), json()].boxed(),
        ),
    ])
}

fn body() -> impl Strategy<Value = String> {
    let batch = vec(message(), 0..4).prop_map(|all| format!("[{}]", all.join(",")));
    prop_oneof![3 => json(), 5 => message(), 1 => batch]
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![any::<u8>(), select(&b"{}[]\":,\\-0e \n"[..])]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// A body that ends in the wrong brackets, or in none.
    #[test]
    fn a41_brackets_are_closed_by_their_own_kind(
        opened in vec(select(&["[", "[1,", "{\"a\":", "{\"params\":"][..]), 0..6),
        closed in vec(select(&["]", "}"][..]), 0..6),
        flipped in 0..8_usize,
    ) {
        assert_agreement(format!("{}1{}", opened.concat(), closed.concat()).as_bytes());
        let right = opened.iter().rev().enumerate().map(|(place, bracket)| {
            if bracket.starts_with('[') == (place == flipped) { "}" } else { "]" }
        });
        let body = format!("{}1{}", opened.concat(), right.collect::<String>());
        assert_agreement(body.as_bytes());
    }

    #[test]
    fn jrp_10_every_body_means_to_us_what_it_means_to_serde_json(body in body()) {
        assert_agreement(body.as_bytes());
    }

    #[test]
    fn a41_a42_broken_bodies_are_refused_when_serde_json_refuses_them(
        body in body(),
        changes in vec((any::<prop::sample::Index>(), 0..5_u8, byte()), 1..4),
        noise in select(NOISE),
    ) {
        let mut body = body.into_bytes();
        for (place, how, byte) in changes {
            let place = place.index(body.len() + 1);
            match how {
                0 => body.insert(place, byte),
                1 => drop(body.splice(place..place, noise.bytes())),
                2 => body.truncate(place.max(1)),
                3 if place < body.len() => drop(body.remove(place)),
                4 if place < body.len() => body[place] = byte,
                _ => {}
            }
        }
        assert_agreement(&body);
    }

    #[test]
    fn any_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..200)) {
        assert_agreement(&body);
    }

    /// Long strings are searched in larger steps, and each step has its edges.
    #[test]
    fn strings_end_where_they_end(len in 0..300_usize, rest in vec(any::<u8>(), 0..3)) {
        let mut body = format!("\"{}", "x".repeat(len)).into_bytes();
        body.extend(rest);
        assert_agreement(&body);
        body.push(b'"');
        assert_agreement(&body);
    }

    #[test]
    fn a43_depth_is_refused_where_serde_json_refuses_it(depth in 120..135_usize, object: bool) {
        let (open, close) = if object { (r#"{"params":"#, "}") } else { ("[", "]") };
        let body = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        assert_agreement(body.as_bytes());
    }

    #[test]
    fn jrp_2_ids_are_equal_when_their_values_are(a in scalar(), b in scalar()) {
        let (Ok(left), Ok(right)) = (RequestId::from_raw(&a), RequestId::from_raw(&b)) else {
            prop_assume!(false);
            unreachable!();
        };
        let text = |raw: &str| serde_json::from_str::<String>(raw).map_err(|_| raw.to_owned());
        prop_assert_eq!(left == right, text(&a) == text(&b));
        prop_assert_eq!(left.as_raw(), a);
    }

    #[test]
    fn envelopes_give_back_what_was_put_in(
        method: String,
        name: String,
        id in prop_oneof![any::<i64>().prop_map(Value::from), any::<String>().prop_map(Value::from)],
        version: String,
    ) {
        let body = serde_json::json!({
            "jsonrpc": "2.0", "id": id, "method": method,
            "params": { "name": name, "uri": name, "taskId": name, "_meta": { CLAIM: version } },
        });
        let body = body.to_string();
        let peek = peek(body.as_bytes()).expect("valid");
        let message = peek.single().expect("one message");
        prop_assert_eq!(message.kind(), Kind::Request);
        prop_assert_eq!(message.method(), Some(method.into()));
        prop_assert_eq!(message.claim(), Claim::Version(version.into()));
        prop_assert_eq!(message.id_raw().map(str::to_owned), Some(id.to_string()));
        prop_assert_eq!(message.duplicate(), None);
    }
}
