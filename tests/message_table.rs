//! Every row of the table that classifies requests, and its edges, through the layer: the status,
//! the code, the id, and whether the inner service was called.

mod judged;

use http::Method;
use judged::{
    A, Ask, B, C, D, E, INITIALIZE, NOTIFICATION, Outcome, REQUEST, RESPONSE, To, ask, claiming,
    modern, post,
};
use shadowcat::message::MessageLayer;

const PARSE: (u16, i32) = (400, -32700);
const INVALID: (u16, i32) = (400, -32600);
const META: (u16, i32) = (400, -32602);
const HEADER: (u16, i32) = (400, -32020);
const GONE: (u16, i32) = (405, -32600);

fn passes(ask: Ask) -> Outcome {
    ask.through(MessageLayer::new())
}

#[test]
fn row_not_json() {
    for body in [
        "",
        " \r\n",
        "{",
        "nul",
        "{}{}",
        "{} x",
        r#"{"id":1,}"#,
        "{'id':1}",
        "\u{feff}{}",
    ] {
        for version in ["2025-06-18", "2026-07-28", "x"] {
            passes(post(body).version(version)).assert_refused(PARSE, To::Unknown);
        }
        passes(post(body)).assert_refused(PARSE, To::Unknown);
    }
    for body in [&b"\xff\xfe{\0}\0"[..], b"{\"a\":\"\xc0\xaf\"}", b"\x00"] {
        passes(post(body)).assert_refused(PARSE, To::Unknown);
    }
}

#[test]
fn a43_row_too_deep() {
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{open}{close}}}"#)
    };
    passes(post(nested(126))).assert_passed(B);
    passes(post(nested(127))).assert_refused(PARSE, To::Unknown);
    passes(post(nested(1_000_000))).assert_refused(PARSE, To::Unknown);
}

#[test]
fn row_json_that_is_no_message() {
    for (body, to) in [
        ("null", To::Unknown),
        ("42", To::Unknown),
        ("{}", To::Unknown),
        (r#"{"id":3,"method":"a"}"#, To::Id("3")),
        (r#"{"jsonrpc":"1.0","id":3,"method":"a"}"#, To::Id("3")),
        (r#"{"jsonrpc":2.0,"id":3,"method":"a"}"#, To::Id("3")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, To::Unknown),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#, To::Unknown),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#, To::Unknown),
        (r#"{"jsonrpc":"2.0","id":3,"method":5}"#, To::Id("3")),
        (r#"{"jsonrpc":"2.0","id":3,"method":""}"#, To::Id("3")),
        (r#"{"jsonrpc":"2.0","id":3,"method":"rpc.x"}"#, To::Id("3")),
        (r#"{"jsonrpc":"2.0","id":3}"#, To::Id("3")),
        (
            r#"{"jsonrpc":"2.0","id":3,"result":1,"error":{}}"#,
            To::Id("3"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"a","result":1}"#,
            To::Id("3"),
        ),
        // The last one counts, and it is told that there were two.
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"a","method":"b"}"#,
            To::Id("3"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":3,"id":4,"method":"a"}"#,
            To::Id("4"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":"3","method":"a","params":{"name":1,"n\u0061me":2}}"#,
            To::Id("\"3\""),
        ),
        // A parser that ignores case would run another message (GHSA-wvj2-96wp-fq3f).
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","Method":"tools/call"}"#,
            To::Id("3"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
            To::Id("3"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"a"},"paramſ":{}}"#,
            To::Id("3"),
        ),
        // Nobody waits for an answer to these.
        (r#"{"jsonrpc":"2.0","method":"a","method":"b"}"#, To::Nobody),
        (r#"{"jsonrpc":"2.0","method":"tools/call"}"#, To::Nobody),
    ] {
        for version in ["2025-06-18", "2026-07-28"] {
            passes(post(body).version(version)).assert_refused(INVALID, to);
        }
        passes(post(body)).assert_refused(INVALID, to);
    }
    let long = format!("\"{}\"", "x".repeat(65_536));
    let body = REQUEST.replace("\"r\"", &long);
    passes(post(body)).assert_refused(INVALID, To::Id(&long));
}

#[test]
fn a49_jrp_2_ids_come_back_as_they_came() {
    for id in ["-0", "9007199254740993", "\"\"", "\"1\"", "1"] {
        let body = REQUEST.replace("\"r\"", id);
        passes(post(body.as_str())).assert_passed(B);
        let refused = passes(post(body.replace("tools/list", "")));
        refused.assert_refused(INVALID, To::Id(id));
    }
}

#[test]
fn row_arrays() {
    let batch = format!("[{REQUEST},{NOTIFICATION}]");
    for version in ["2025-03-26", "2024-11-05", "2025-12-31", "x", ""] {
        passes(post(batch.as_str()).version(version)).assert_passed(B);
    }
    passes(post(batch.as_str())).assert_passed(B);
    passes(post(format!("[{RESPONSE}]"))).assert_passed(B);

    // They ended with 2025-03-26; what was sent is no message of a later revision, so it has no id.
    for version in ["2025-06-18", "2025-11-25", "2026-07-28", "2031-01-01"] {
        passes(post(batch.as_str()).version(version)).assert_refused(INVALID, To::Unknown);
        passes(post("[]").version(version)).assert_refused(INVALID, To::Unknown);
    }
    passes(post("[]")).assert_refused(INVALID, To::Unknown);
    for claim in ["\"2026-07-28\"", "\"v999\"", "1"] {
        let body = format!("[{REQUEST},{}]", claiming(claim, "tools/list"));
        passes(post(body)).assert_refused(INVALID, To::Unknown);
    }
    // One element spoils it: each request is told.
    let body = format!("[{REQUEST},{NOTIFICATION},{INITIALIZE}]");
    passes(post(body)).assert_refused(INVALID, To::Batch(&["\"r\"", "0"]));
    let body = format!("[{REQUEST},{REQUEST}]");
    passes(post(body)).assert_refused(INVALID, To::Batch(&["\"r\"", "\"r\""]));
    let body = r#"[{"jsonrpc":"2.0","method":"a","method":"b"}]"#;
    passes(post(body)).assert_refused(INVALID, To::Nobody);
}

#[test]
fn a47_row_long_arrays() {
    let batch = |len: usize| {
        let all: Vec<_> = (0..len)
            .map(|id| REQUEST.replace("\"r\"", &id.to_string()))
            .collect();
        format!("[{}]", all.join(","))
    };
    passes(post(batch(50))).assert_passed(B);
    for len in [51, 1001, 10_000] {
        // Not as many errors as there are requests.
        passes(post(batch(len))).assert_refused(INVALID, To::Unknown);
    }
}

#[test]
fn row_responses() {
    passes(post(RESPONSE)).assert_passed(B);
    passes(post(RESPONSE).version("2025-11-25")).assert_passed(D);
    passes(post(RESPONSE).version("2026-07-28")).assert_refused(INVALID, To::Nobody);
    let both = RESPONSE.replace("{}", "{},\"error\":{}");
    passes(post(both)).assert_refused(INVALID, To::Id("1"));
}

#[test]
fn row_a_modern_claim() {
    for method in ["tools/list", "initialize", "ping", "acme/x"] {
        for version in ["2026-07-28", "2031-01-01", "v999.0.0"] {
            passes(modern(version, method)).assert_passed(E);
            // The header is a cross-check, not what decides (ERA-2).
            for other in ["2025-11-25", "2026-07-29", "2026-07-28x", "v999.0.1"] {
                let ask = modern(version, method).without("mcp-protocol-version");
                passes(ask.clone()).assert_refused(HEADER, To::Id("7"));
                passes(ask.version(other)).assert_refused(HEADER, To::Id("7"));
            }
        }
    }
    for claim in ["1", "null", "[]"] {
        let body = claiming(claim, "tools/list");
        passes(post(body.as_str())).assert_refused(META, To::Id("7"));
        passes(post(body).version("2026-07-28")).assert_refused(META, To::Id("7"));
    }
    let notification = claiming("\"2026-07-28\"", "notifications/x").replace("\"id\":7,", "");
    passes(post(notification.as_str())).assert_passed(E);
    passes(post(notification).version("2025-11-25")).assert_refused(HEADER, To::Nobody);
}

#[test]
fn row_a_legacy_claim() {
    let body = claiming("\"2025-11-25\"", "tools/list");
    passes(post(body.as_str())).assert_passed(B);
    passes(post(body.as_str()).version("2025-06-18")).assert_passed(C);
    passes(post(body).version("2026-07-28")).assert_refused(HEADER, To::Id("7"));
}

#[test]
fn row_no_claim_under_a_modern_header() {
    for version in ["2026-07-28", "2031-01-01", " \t2026-07-28 "] {
        passes(post(REQUEST).version(version)).assert_refused(META, To::Id("\"r\""));
        passes(post(INITIALIZE).version(version)).assert_refused(HEADER, To::Id("0"));
        passes(post(NOTIFICATION).version(version)).assert_passed(E);
    }
    // VER-6 outranks a mismatch of headers, and a claim alone is not enough.
    let partial = claiming("\"2026-07-28\"", "tools/list").replace("clientCap", "serverCap");
    for ask in [
        post(partial.as_str()),
        post(partial.as_str()).version("2025-11-25"),
        post(partial.as_str())
            .version("2026-07-28")
            .with("mcp-method", "x"),
    ] {
        passes(ask).assert_refused(META, To::Id("7"));
    }
}

#[test]
fn row_initialize() {
    for (asked, era) in [
        ("2024-11-05", A),
        ("2025-03-26", B),
        ("2025-11-25", D),
        ("2026-07-28", B),
        ("x", B),
    ] {
        let body = INITIALIZE.replace("2025-06-18", asked);
        passes(post(body.as_str())).assert_passed(era);
    }
    passes(post(INITIALIZE).version("2025-11-25")).assert_passed(C);
}

#[test]
fn row_everything_else() {
    for (version, era) in [
        ("2024-11-05", A),
        ("2025-03-26", B),
        ("2025-06-18", C),
        ("2025-11-25", D),
        ("2025-12-31", B),
        ("v999.0.0", B),
        ("", B),
    ] {
        passes(post(REQUEST).version(version)).assert_passed(era);
        passes(post(NOTIFICATION).version(version)).assert_passed(era);
    }
    passes(post(REQUEST)).assert_passed(B);
}

#[test]
fn row_get_and_delete() {
    for method in [Method::GET, Method::DELETE] {
        passes(ask(method.clone())).assert_passed(B);
        passes(ask(method.clone()).version("2025-11-25")).assert_passed(D);
        passes(ask(method.clone()).version("x")).assert_passed(B);
        for version in ["2026-07-28", "2031-01-01"] {
            let outcome = passes(ask(method.clone()).version(version));
            outcome.assert_refused(GONE, To::Unknown);
            let Outcome::Refused { allow, .. } = outcome else {
                unreachable!("asserted");
            };
            assert_eq!(allow.as_deref(), Some("POST"), "AMB-33");
        }
    }
    for method in [Method::OPTIONS, Method::HEAD, Method::PUT] {
        passes(ask(method.clone())).assert_passed(B);
        passes(ask(method.clone()).version("2026-07-28")).assert_passed(E);
    }
}

#[test]
fn row_version_headers_that_nobody_can_read_a35() {
    for values in [
        &["2025-11-25", "2025-11-25"][..],
        &["2025-11-25,2026-07-28"],
        &["2025-11-25\u{e9}"],
    ] {
        let with = |ask: Ask| values.iter().fold(ask, |ask, value| ask.version(value));
        passes(with(post(REQUEST))).assert_refused(INVALID, To::Id("\"r\""));
        passes(with(post(NOTIFICATION))).assert_refused(INVALID, To::Nobody);
        passes(with(ask(Method::GET))).assert_refused(INVALID, To::Unknown);
        let modern = modern("2026-07-28", "tools/list").without("mcp-protocol-version");
        passes(with(modern)).assert_refused(HEADER, To::Id("7"));
    }
}

#[test]
fn amb_31_repeated_headers() {
    for name in [
        "mcp-method",
        "mcp-name",
        "mcp-param-x",
        "mcp-session-id",
        "last-event-id",
    ] {
        let twice = |ask: Ask| {
            ask.without(name)
                .with(name, "tools/list")
                .with(name, "tools/list")
        };
        passes(twice(post(REQUEST))).assert_refused(INVALID, To::Id("\"r\""));
        passes(twice(ask(Method::GET))).assert_refused(INVALID, To::Unknown);
        let modern = modern("2026-07-28", "tools/list");
        passes(twice(modern)).assert_refused(HEADER, To::Id("7"));
    }
    passes(post(REQUEST).with("accept", "a").with("accept", "b")).assert_passed(B);
}

#[test]
fn era_3_a_stateless_request_loses_its_session_and_its_cursor_amb_2() {
    let mark = |ask: Ask| ask.with("mcp-session-id", "s").with("last-event-id", "c");
    let notification = post(NOTIFICATION).version("2026-07-28");
    for ask in [
        modern("2026-07-28", "tools/list"),
        modern("v9", "initialize"),
        notification,
        ask(Method::PUT).version("2026-07-28"),
    ] {
        let (outcome, headers) = mark(ask).seen(MessageLayer::new());
        outcome.assert_passed(E);
        assert!(!headers.contains_key("mcp-session-id"));
        assert!(!headers.contains_key("last-event-id"));
        assert!(headers.contains_key("mcp-protocol-version"));
    }
    for ask in [post(REQUEST), ask(Method::GET), ask(Method::DELETE)] {
        let (_, headers) = mark(ask).seen(MessageLayer::new());
        assert_eq!(
            (&headers["mcp-session-id"], &headers["last-event-id"]),
            (&"s".parse().expect("text"), &"c".parse().expect("text"))
        );
    }
}

#[test]
fn jrp_12_a24_content_types() {
    for types in [
        &["application/json"][..],
        &["Application/JSON; charset=utf-8"],
        &["application/json;charset=\"UTF-8\""],
        &["application/json ; x=y;"],
    ] {
        let ask = post(REQUEST).without("content-type");
        let ask = types
            .iter()
            .fold(ask, |ask, value| ask.with("content-type", value));
        passes(ask).assert_passed(B);
    }
    for types in [
        &[][..],
        &[""],
        &["text/plain"],
        &["text/plain; application/json"],
        &["application/x-www-form-urlencoded"],
        &["multipart/form-data; boundary=application/json"],
        &["application/jsonl"],
        &["application/json-rpc"],
        &["application/json/x"],
        &["json"],
        &["application/json; charset=utf-16"],
        &["application/json; x=y; CHARSET = \"latin1\""],
        &["application/json; charset"],
        &["application/json, text/plain"],
        &["application/json; x=y, text/plain"],
        &["application/json; charset=utf-8, text/plain"],
        &["application/json", "application/json"],
        &["application/json; x=\u{e9}"],
    ] {
        for body in [REQUEST, "{"] {
            let ask = post(body).without("content-type");
            let ask = types
                .iter()
                .fold(ask, |ask, value| ask.with("content-type", value));
            passes(ask).assert_refused((415, -31415), To::Unknown);
        }
    }
    // Without a body that is read, it says nothing.
    passes(ask(Method::GET).with("content-type", "text/plain")).assert_passed(B);
}

#[test]
fn a23_content_encodings() {
    passes(post(REQUEST).with("content-encoding", "Identity")).assert_passed(B);
    for coding in ["gzip", "identity, gzip", "gzip, gzip", "br", ""] {
        let ask = post(REQUEST).with("content-encoding", coding);
        passes(ask).assert_refused((415, -31415), To::Unknown);
    }
    let two = post(REQUEST).with("content-encoding", "identity");
    passes(two.with("content-encoding", "gzip")).assert_refused((415, -31415), To::Unknown);
}
