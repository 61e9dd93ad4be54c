//! What is wrong with a request, whichever row of the table it is of.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use shadowcat::{
    header::MCP_PROTOCOL_VERSION,
    jsonrpc::{code, peek},
    message::{Fault, classify},
};

use super::{
    B, C, D, E, INITIALIZE, LEGACY, MODERN, NOTIFICATION, REQUEST, RESPONSE, assert_is, post,
    request, with_headers,
};

#[test]
fn a48_a49_a53_json_that_is_no_message_is_a_fault() {
    for body in [
        "null",
        "42",
        "\"x\"",
        "{}",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"id":1,"method":"a"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"initialize"}"#,
        r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":1}"#,
    ] {
        for (header, era) in LEGACY {
            assert_is(post(header, body), *era, Fault::InvalidMessage);
        }
        let modern = post(MODERN[0], body);
        assert_eq!(modern.fault, Some(Fault::InvalidMessage), "{body}");
    }
    assert_is(
        post(MODERN[0], r#"{"jsonrpc":"2.0"}"#),
        E,
        Fault::InvalidMessage,
    );
    let body = request("a", "\"2026-07-28\"").replace(":1,", ":null,");
    assert_is(post(&[], &body), E, Fault::InvalidMessage);
}

#[test]
fn jrp_10_a_repeated_key_is_a_fault_in_either_era() {
    let body = REQUEST.replace("\"id\":1", "\"id\":1,\"id\":2");
    assert_is(post(&["2025-11-25"], &body), D, Fault::DuplicateKey("id"));
    let claim = "\"2025-11-25\",\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\"";
    let path = "params._meta.io.modelcontextprotocol/protocolVersion";
    assert_is(
        post(&[], &request("a", claim)),
        E,
        Fault::DuplicateKey(path),
    );
}

#[test]
fn jrp_10_a_key_that_differs_in_case_alone_is_a_fault_in_either_era() {
    let body = REQUEST.replace("\"id\":1", "\"id\":1,\"Id\":2");
    assert_is(post(&["2025-11-25"], &body), D, Fault::AmbiguousKey("id"));
    let claim = "\"2026-07-28\",\"io.modelcontextprotocol/ProtocolVersion\":\"2025-11-25\"";
    let path = "params._meta.io.modelcontextprotocol/protocolVersion";
    assert_is(
        post(&[], &request("a", claim)),
        E,
        Fault::AmbiguousKey(path),
    );
}

#[test]
fn amb_31_a_repeated_version_header_is_a_fault_and_counts_for_nothing() {
    let modern = request("tools/call", "\"2026-07-28\"");
    for header in [
        &["2025-11-25", "2025-11-25"][..],
        &["2025-11-25", "2026-07-28"],
        &["2026-07-28", "2025-11-25"],
        &["2025-11-25,2026-07-28"],
        &["2026-07-28, 2026-07-28"],
        &["2025-11-25", "\u{e9}"],
    ] {
        assert_is(post(header, REQUEST), B, Fault::DuplicateVersionHeader);
        assert_is(post(header, NOTIFICATION), B, Fault::DuplicateVersionHeader);
        assert_is(post(header, INITIALIZE), C, Fault::DuplicateVersionHeader);
        assert_is(post(header, &modern), E, Fault::DuplicateVersionHeader);
        let get = with_headers(&Method::GET, header, None);
        assert_is(get, B, Fault::DuplicateVersionHeader);
        assert_is(post(header, "{"), B, Fault::NotJson);
    }
}

#[test]
fn hdr_6_bytes_that_no_version_has_are_invalid_and_not_absent() {
    let modern = request("tools/call", "\"2026-07-28\"");
    assert_is(post(&["2025-11-25"], &modern), E, Fault::VersionMismatch);
    for header in ["2026-07-28\u{e9}", "\u{e9}", "2025 11 25", "2025-11-25\tx"] {
        assert_is(post(&[header], REQUEST), B, Fault::InvalidVersionHeader);
        assert_is(post(&[header], &modern), E, Fault::InvalidVersionHeader);
        let get = with_headers(&Method::GET, &[header], None);
        assert_is(get, B, Fault::InvalidVersionHeader);
    }
}

#[test]
fn hdr_3_white_space_around_the_version_is_no_part_of_it() {
    for header in ["2025-11-25 ", "\t2025-11-25", " 2025-11-25 \t"] {
        assert_is(post(&[header], REQUEST), D, None);
    }
}

#[test]
fn a49_an_id_may_be_of_1024_bytes_and_no_more() {
    for (len, fault) in [
        (400, None),
        (1024, None),
        (1025, Some(Fault::IdTooLong)),
        (65_536, Some(Fault::IdTooLong)),
    ] {
        let digits = format!("1{}", "0".repeat(len - 1));
        let text = format!("\"{}\"", "x".repeat(len - 2));
        for id in [&digits, &text] {
            for message in [REQUEST, RESPONSE] {
                let body = message.replace("\"id\":1", &format!("\"id\":{id}"));
                assert_is(post(&[], &body), B, fault);
                assert_is(post(&[], &format!("[{body}]")), B, fault);
            }
        }
    }
    for id in ["-0", "9007199254740993", "\"\""] {
        let body = REQUEST.replace("\"id\":1", &format!("\"id\":{id}"));
        assert_is(post(&[], &body), B, None);
    }
}

#[test]
fn a50_a_request_without_an_id_is_no_notification() {
    for method in [
        "tools/call",
        "initialize",
        "ping",
        "tasks/cancel",
        "tools\\/call",
        "subscriptions/listen",
    ] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        assert_is(post(&[], &body), B, Fault::MissingId);
        let alone = post(&["2026-07-28"], &body);
        assert_is(alone, E, Fault::MissingId);
    }
    // An extension may define others than MCP does.
    for method in ["notifications/tasks", "acme/changed", "tools/called"] {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
        assert_is(post(&[], &body), B, None);
    }
}

#[test]
fn a56_a_method_is_a_name_and_not_anything_else() {
    let longest = "m".repeat(256);
    for method in ["a", "acme/do it", "é/ü", longest.as_str(), "rpcs", "xrpc.a"] {
        let body = REQUEST.replace("tools/list", method);
        assert_is(post(&[], &body), B, None);
    }
    let too_long = "m".repeat(257);
    for method in [
        "",
        "rpc.",
        "rpc.discover",
        "\\u0072pc.a",
        "a\\n",
        "\\u001b[31m",
        "\\u0085",
        "\\u0000",
        too_long.as_str(),
    ] {
        let body = REQUEST.replace("tools/list", method);
        assert_is(post(&[], &body), B, Fault::InvalidMethod);
        assert_is(post(&[], &format!("[{body}]")), B, Fault::InvalidMethod);
    }
}

#[test]
fn a47_a_batch_has_up_to_50_messages_each_with_an_id_of_its_own() {
    let batch = |len: usize| {
        let all: Vec<_> = (0..len)
            .map(|id| REQUEST.replace(":1", &format!(":{id}")))
            .collect();
        format!("[{}]", all.join(","))
    };
    for (len, fault) in [
        (1, None),
        (50, None),
        (51, Some(Fault::BatchTooLong)),
        (1000, Some(Fault::BatchTooLong)),
        (10_000, Some(Fault::BatchTooLong)),
    ] {
        assert_is(post(&[], &batch(len)), B, fault);
    }
    let text = |id: &str| REQUEST.replace("\"id\":1", &format!("\"id\":{id}"));
    for (ids, fault) in [
        (["1", "1"], Some(Fault::DuplicateId)),
        (["\"a\"", "\"\\u0061\""], Some(Fault::DuplicateId)),
        (["1", "\"1\""], None),
        (["1", "10"], None),
    ] {
        let body = format!("[{},{NOTIFICATION},{}]", text(ids[0]), text(ids[1]));
        assert_is(post(&[], &body), B, fault);
    }
    // Responses to the server's requests have ids of the server.
    assert_is(post(&[], &format!("[{REQUEST},{RESPONSE}]")), B, None);
    assert_is(
        post(&[], &format!("[{RESPONSE},{RESPONSE}]")),
        B,
        Fault::DuplicateId,
    );
}

#[test]
fn amb_31_any_repeated_header_of_mcp_is_a_fault() {
    let modern = request("tools/list", "\"2026-07-28\"");
    for (name, told) in [
        ("mcp-method", "mcp-method"),
        ("mcp-name", "mcp-name"),
        ("mcp-session-id", "mcp-session-id"),
        ("last-event-id", "last-event-id"),
        ("mcp-param-region", "mcp-*"),
    ] {
        let mut headers = HeaderMap::new();
        // Of others two are nobody's business here.
        for name in [name, name, "accept", "accept"] {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_static("tools/list"));
        }
        let fault = Fault::DuplicateHeader(told);
        for body in [REQUEST, &format!("[{REQUEST}]")] {
            let peek = peek(body.as_bytes());
            assert_is(
                classify(&Method::POST, &headers, Some(peek.as_ref())),
                B,
                fault,
            );
        }
        assert_is(classify(&Method::GET, &headers, None), B, fault);
        headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static("2026-07-28"));
        let peek = peek(modern.as_bytes());
        assert_is(
            classify(&Method::POST, &headers, Some(peek.as_ref())),
            E,
            fault,
        );
    }
}

#[test]
fn every_fault_has_the_status_and_the_code_of_its_row() {
    let all = |code| (400, code, code);
    let header = (400, code::INVALID_REQUEST, code::HEADER_MISMATCH);
    for (fault, (status, in_session, stateless)) in [
        (Fault::DuplicateVersionHeader, header),
        (Fault::InvalidVersionHeader, header),
        (Fault::DuplicateHeader("mcp-name"), header),
        (Fault::HeaderMismatch("mcp-name"), header),
        (Fault::VersionMismatch, all(-32020)),
        (Fault::NotJson, all(-32700)),
        (Fault::InvalidMessage, all(-32600)),
        (Fault::DuplicateKey("id"), all(-32600)),
        (Fault::AmbiguousKey("id"), all(-32600)),
        (Fault::IdTooLong, all(-32600)),
        (Fault::InvalidMethod, all(-32600)),
        (Fault::MissingId, all(-32600)),
        (Fault::EmptyBatch, all(-32600)),
        (Fault::BatchTooLong, all(-32600)),
        (Fault::BatchNotAllowed, all(-32600)),
        (Fault::InitializeInBatch, all(-32600)),
        (Fault::DuplicateId, all(-32600)),
        (Fault::ResponseNotAllowed, all(-32600)),
        (Fault::MissingMeta, all(-32602)),
        (Fault::InitializeHeaderMismatch, all(-32020)),
        (Fault::MethodNotAllowed, (405, -32600, -32600)),
        (Fault::UnsupportedVersion, (400, -32600, -32022)),
        (Fault::SessionsNotServed, all(-32022)),
    ] {
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(fault.status(), status);
        assert_eq!(fault.code(B), in_session, "{fault:?}");
        assert_eq!(fault.code(E), stateless, "{fault:?}");
    }
}
