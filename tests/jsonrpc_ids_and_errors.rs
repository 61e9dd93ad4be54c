//! Ids, which come back as they were, and the errors that repeat them.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
};

use shadowcat::jsonrpc::{Envelope, ErrorObject, Kind, RequestId, code, peek};

fn single(body: &str) -> Envelope<'_> {
    let peek = peek(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    peek.single().expect("no batch")
}

fn id(raw: &str) -> RequestId {
    RequestId::from_raw(raw).expect("an id")
}

#[test]
fn a49_ids_are_strings_and_integers_and_come_back_byte_for_byte() {
    let digits = "9".repeat(400);
    let long = format!("\"{}\"", "x".repeat(65_536));
    for raw in [
        "0",
        "-0",
        "1",
        "-17",
        "9007199254740993",
        &digits,
        "\"\"",
        "\"1\"",
        r#""\u0041\n\"""#,
        "\"é\"",
        &long,
    ] {
        let body = format!(r#"{{"method":"a","id" : {raw} }}"#);
        let message = single(&body);
        assert_eq!(message.kind(), Kind::Request, "{raw}");
        assert_eq!(message.id_raw(), Some(raw));
        assert_eq!(message.id(), Some(id(raw)));
        assert_eq!((id(raw).as_raw(), id(raw).to_string().as_str()), (raw, raw));
    }
    for raw in [
        "null", "true", "false", "1.5", "1.0", "1e400", "1E2", "[]", "{}", "[1]",
    ] {
        let body = format!(r#"{{"method":"a","id":{raw}}}"#);
        assert_eq!(single(&body).kind(), Kind::Invalid, "{raw}");
        assert_eq!(single(&body).id_raw(), None, "{raw}");
        assert!(RequestId::from_raw(raw).is_err(), "{raw}");
    }
    for raw in [
        "",
        " 1",
        "1 ",
        "\"",
        "\"a",
        "a",
        "01",
        "1,2",
        "\"a\"b",
        "\"\n\"",
        "\"\\ud800\"",
    ] {
        assert!(RequestId::from_raw(raw).is_err(), "{raw:?}");
    }
}

#[test]
fn jrp_2_ids_are_equal_by_content_and_never_across_types() {
    let same = [id("\"ab/\""), id(r#""\u0061b\/""#), id(r#""a\u0062/""#)];
    assert!(same.iter().all(|id| *id == same[0]));
    assert_eq!(same.iter().cloned().collect::<HashSet<_>>().len(), 1);
    let hasher = RandomState::new();
    assert!(
        same.iter()
            .all(|id| hasher.hash_one(id) == hasher.hash_one(&same[0]))
    );

    let different = [
        "1", "\"1\"", "-1", "0", "-0", "\"\"", "\"A\"", "\"a\"", "10",
    ]
    .map(id);
    assert_eq!(
        different.iter().collect::<HashSet<_>>().len(),
        different.len()
    );
}

#[test]
fn jrp_5_errors_repeat_the_id_or_have_none() {
    let error = ErrorObject::new(code::PARSE_ERROR, "not JSON");
    let tail = r#""error":{"code":-32700,"message":"not JSON","data":{"source":"shadowcat"}}}"#;
    assert_eq!(
        error.to_response(None),
        format!(r#"{{"jsonrpc":"2.0",{tail}"#)
    );
    for raw in ["-0", "123456789012345678901234567890", r#""\u0041/\n""#] {
        let response = error.to_response(Some(&id(raw)));
        assert_eq!(response, format!(r#"{{"jsonrpc":"2.0","id":{raw},{tail}"#));
        let response = peek(&response)
            .expect("valid")
            .single()
            .expect("one message");
        assert_eq!(response.kind(), Kind::Response);
        assert_eq!(response.id_raw(), Some(raw));
        assert!(response.is_jsonrpc_2() && response.duplicate().is_none());
    }
}

#[test]
fn pgr_5_errors_say_whose_they_are_on_one_line_of_valid_json() {
    let error = ErrorObject::new(
        code::UNSUPPORTED_PROTOCOL_VERSION,
        String::from("a\n\"b\"\u{0}"),
    )
    .add_text("requested", "1999\r\n\"")
    .add_number("retryAfter", u64::MAX)
    .add_texts("supported", &["2025-11-25", "é"])
    .add_texts("none", &[]);
    let response = error.to_response(Some(&id("1")));
    assert!(!response.iter().any(u8::is_ascii_control));
    let value: serde_json::Value = serde_json::from_slice(&response).expect("valid");
    assert_eq!(
        value,
        serde_json::json!({
            "jsonrpc": "2.0",
            "id": 1,
            "error": { "code": -32022, "message": "a\n\"b\"\u{0}", "data": {
                "source": "shadowcat",
                "requested": "1999\r\n\"",
                "retryAfter": u64::MAX,
                "supported": ["2025-11-25", "é"],
                "none": [],
            } },
        }),
    );
    assert_eq!((error.code(), error.message()), (-32022, "a\n\"b\"\u{0}"));
}

#[test]
fn our_own_codes_are_outside_the_reserved_range() {
    for (own, expected) in [
        (code::REQUEST_TIMEOUT, -31408),
        (code::PAYLOAD_TOO_LARGE, -31413),
        (code::TOO_MANY_REQUESTS, -31429),
        (code::BAD_GATEWAY, -31502),
        (code::SERVICE_UNAVAILABLE, -31503),
        (code::GATEWAY_TIMEOUT, -31504),
    ] {
        assert_eq!(own, expected);
    }
    for status in 100..1000 {
        assert!(!(-32768..=-32000).contains(&code::from_status(status)));
    }
}
