//! The headers that mirror the body, through the layer (HDR-1 to HDR-16).

mod judged;

use base64::{Engine, engine::general_purpose::STANDARD};
use judged::{Ask, D, E, Outcome, To, post};
use proptest::prelude::*;
use serde_json::json;
use shadowcat::message::MessageLayer;

const MISMATCH: (u16, i32) = (400, -32020);

fn judged(ask: Ask) -> Outcome {
    ask.through(MessageLayer::new())
}

/// A request of 2026-07-28 with the given params, without mirrored headers.
fn bare(method: &str, params: serde_json::Value) -> Ask {
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    post(body.to_string()).version("2026-07-28")
}

fn call(name: &str) -> Ask {
    bare("tools/call", json!({ "name": name })).with("mcp-method", "tools/call")
}

#[test]
fn hdr_1_each_method_has_its_field() {
    for (method, field) in [
        ("tools/call", "name"),
        ("prompts/get", "name"),
        ("resources/read", "uri"),
        ("tasks/get", "taskId"),
        ("tasks/update", "taskId"),
        ("tasks/cancel", "taskId"),
    ] {
        let mut params = json!({ "name": "other", "uri": "other", "taskId": "other" });
        params[field] = json!("it");
        let ask = bare(method, params).with("mcp-method", method);
        judged(ask.clone().with("mcp-name", "it")).assert_passed(E);
        judged(ask.clone().with("mcp-name", "other")).assert_refused(MISMATCH, To::Id("1"));
        judged(ask).assert_refused(MISMATCH, To::Id("1"));
    }
}

#[test]
fn hdr_2_hdr_3_the_method_is_there_and_the_same_to_the_letter() {
    let ask = bare("tools/list", json!({}));
    judged(ask.clone()).assert_refused(MISMATCH, To::Id("1"));
    for header in ["tools/list", " \ttools/list ", "tools/list\t"] {
        judged(ask.clone().with("MCP-METHOD", header)).assert_passed(E);
    }
    for header in [
        "TOOLS/LIST",
        "tools/list2",
        "tools/lis",
        "",
        "tools /list",
        "=?base64?dG9vbHMvbGlzdA==?=",
    ] {
        let refused = judged(ask.clone().with("mcp-method", header));
        refused.assert_refused(MISMATCH, To::Id("1"));
    }
    // Always literal, so one that cannot be written has no header that is right.
    let ask = bare("werkzeug/öffne", json!({}));
    for header in ["werkzeug/öffne", "=?base64?d2Vya3pldWcvw7ZmZm5l?="] {
        judged(ask.clone().with("mcp-method", header)).assert_refused(MISMATCH, To::Id("1"));
    }
}

#[test]
fn hdr_vectors() {
    for (header, name, is_ok) in [
        ("  foo ", "foo", true),
        ("\tfoo", "foo", true),
        ("foo", " foo", false),
        ("=?base64?IGZvbw==?=", " foo", true),
        ("=?base64?SGVsbG8=?=", "Hello", true),
        ("=?base64?SGVsbG8?=", "Hello", false),
        ("=?base64?SGVs!!!bG8=?=", "Hello", false),
        ("=?base64?%%?=", "Hello", false),
        ("SGVsbG8=", "SGVsbG8=", true),
        ("=?base64?SGVsbG8=", "=?base64?SGVsbG8=", true),
        ("SGVsbG8=?=", "SGVsbG8=?=", true),
        ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?=", true),
        ("=?BASE64?SGVsbG8=?=", "Hello", false),
        (
            "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
            "=?base64?literal?=",
            true,
        ),
        ("=?base64?literal?=", "=?base64?literal?=", false),
        ("", "", true),
        ("=?base64??=", "", true),
        ("=?base64?=", "=?base64?=", true),
        ("us west 1", "us west 1", true),
        ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界", true),
        ("Hello, 世界", "Hello, 世界", false),
        ("True", "true", false),
        ("Foo", "foo", false),
        ("=?base64?/w==?=", "ÿ", false),
    ] {
        let outcome = judged(call(name).with("mcp-name", header));
        if is_ok {
            outcome.assert_passed(E);
        } else {
            outcome.assert_refused(MISMATCH, To::Id("1"));
        }
    }
}

#[test]
fn a36_base64_of_what_is_not_utf_8_and_bytes_that_no_header_has() {
    for header in [
        &b"=?base64?/w==?="[..],
        b"\xff",
        b"caf\xe9",
        "café".as_bytes(),
    ] {
        for name in ["\u{fffd}", "ÿ", "café"] {
            let ask = call(name).with("mcp-name", header);
            judged(ask).assert_refused(MISMATCH, To::Id("1"));
        }
    }
}

#[test]
fn hdr_8_a_name_that_is_there_has_to_be_mirrored_and_only_then() {
    for params in [json!({}), json!({ "name": null })] {
        let ask = bare("tools/call", params).with("mcp-method", "tools/call");
        // The server refuses it: there is nothing that two hops could read differently.
        judged(ask.clone()).assert_passed(E);
        judged(ask.with("mcp-name", "x")).assert_refused(MISMATCH, To::Id("1"));
    }
    for params in [
        json!({ "name": 5 }),
        json!({ "name": ["5"] }),
        json!({ "name": false }),
    ] {
        let ask = bare("tools/call", params).with("mcp-method", "tools/call");
        for header in ["5", "false", "[\"5\"]", ""] {
            let refused = judged(ask.clone().with("mcp-name", header));
            refused.assert_refused(MISMATCH, To::Id("1"));
        }
        judged(ask).assert_refused(MISMATCH, To::Id("1"));
    }
}

/// A hop that goes by `Mcp-Name` alone would take a list for a call of that name.
#[test]
fn hdr_15_a_method_without_a_name_has_none_to_mirror_and_an_unknown_one_may_have() {
    for method in [
        "tools/list",
        "ping",
        "server/discover",
        "completion/complete",
    ] {
        let ask = bare(method, json!({ "name": "x" })).with("mcp-method", method);
        judged(ask.clone()).assert_passed(E);
        for name in ["x", "y", ""] {
            let refused = judged(ask.clone().with("mcp-name", name));
            refused.assert_refused(MISMATCH, To::Id("1"));
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let in_session = post(body).version("2025-11-25").with("mcp-name", "y");
        judged(in_session).assert_refused((400, -32600), To::Id("1"));
    }
    for method in [
        "initialized",
        "cancelled",
        "progress",
        "roots/list_changed",
        "tasks/status",
    ] {
        let body = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{{"name":"y"}}}}"#
        );
        let ask = post(body).version("2025-11-25");
        judged(ask.clone()).assert_passed(D);
        judged(ask.with("mcp-name", "y")).assert_refused((400, -32600), To::Nobody);
    }
    // What an extension puts there is its own.
    let unknown = bare("acme/run", json!({ "name": "x" })).with("mcp-method", "acme/run");
    judged(unknown.clone()).assert_passed(E);
    judged(unknown.with("mcp-name", "y")).assert_passed(E);
}

#[test]
fn hdr_7_params_that_nobody_knows_are_forwarded_untouched() {
    let value = &b"=?base64?%%?= \xff"[..];
    let ask = call("x")
        .with("mcp-name", "x")
        .with("mcp-param-unknown", value);
    let (outcome, headers) = ask.seen(MessageLayer::new());
    outcome.assert_passed(E);
    assert_eq!(headers["mcp-param-unknown"].as_bytes(), value);
}

#[test]
fn hdr_16_the_first_failure_answers() {
    let full = || call("x").with("mcp-name", "x");
    judged(full()).assert_passed(E);
    let told = |ask: Ask| {
        let Outcome::Refused { answer, .. } = judged(ask) else {
            panic!("passed");
        };
        let answer = answer.expect("a request gets an answer");
        answer["error"]["message"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let wrong_name = full().without("mcp-name");
    assert!(told(wrong_name.clone()).starts_with("mcp-name "));
    let wrong_method = wrong_name.without("mcp-method");
    assert!(told(wrong_method.clone()).starts_with("mcp-method "));
    let wrong_version = wrong_method.without("mcp-protocol-version");
    assert!(told(wrong_version).starts_with("mcp-protocol-version "));
}

#[test]
fn hdr_15_in_a_session_a_mirror_need_not_be_there_but_must_not_lie() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#;
    let ask = || post(body).version("2025-11-25");
    judged(ask()).assert_passed(D);
    judged(
        ask()
            .with("mcp-method", "tools/call")
            .with("mcp-name", "echo"),
    )
    .assert_passed(D);
    for (name, value) in [
        ("mcp-method", "tools/list"),
        ("mcp-name", "other"),
        ("mcp-name", ""),
    ] {
        judged(ask().with(name, value)).assert_refused((400, -32600), To::Id("1"));
        let response = post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
        judged(response.with(name, value)).assert_refused((400, -32600), To::Nobody);
        let batch = post(format!("[{body}]"));
        judged(batch.with(name, value)).assert_refused((400, -32600), To::Batch(&["1"]));
    }
}

/// A header value as a client has to write it (HDR-4).
fn encoded(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
        && text.trim() == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if is_plain {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(text))
    }
}

proptest! {
    /// Whatever the name is and however the body escapes it, its own header is the one that agrees.
    #[test]
    fn hdr_5_a_header_agrees_with_its_own_name_and_with_no_other(
        name in any::<String>(),
        other in any::<String>(),
        is_escaped: bool,
    ) {
        let written = if is_escaped {
            let units = name.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            format!("\"{}\"", units.collect::<String>())
        } else {
            json!(name).to_string()
        };
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{written},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
        );
        let ask = || post(body.as_str()).version("2026-07-28").with("mcp-method", "tools/call");
        prop_assert_eq!(judged(ask().with("mcp-name", encoded(&name))), Outcome::Passed(E));
        let sentinel = format!("=?base64?{}?=", STANDARD.encode(&name));
        prop_assert_eq!(judged(ask().with("mcp-name", sentinel)), Outcome::Passed(E));
        if other != name {
            let refused = judged(ask().with("mcp-name", encoded(&other)));
            refused.assert_refused(MISMATCH, To::Id("1"));
        }
    }
}
