//! The table that decides each request's era, row by row.

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use shadowcat::{
    header::MCP_PROTOCOL_VERSION,
    jsonrpc::{code, peek},
    message::{Classified, Fault, classify},
    protocol::{
        Era,
        ProtocolVersion::{V2024_11_05, V2025_03_26, V2025_06_18, V2025_11_25},
    },
};

const A: Era = Era::Session(V2024_11_05);
const B: Era = Era::Session(V2025_03_26);
const C: Era = Era::Session(V2025_06_18);
const D: Era = Era::Session(V2025_11_25);
const E: Era = Era::Stateless;

/// Every way in which the header may say nothing modern, and the session that follows.
const LEGACY: &[(&[&str], Era)] = &[
    (&[], B),
    (&[""], B),
    (&["2024-11-05"], A),
    (&["2025-03-26"], B),
    (&["2025-06-18"], C),
    (&["2025-11-25"], D),
    (&["2025-12-31"], B),
    (&["v999.0.0"], B),
];

/// Every way in which it is modern.
const MODERN: &[&[&str]] = &[&["2026-07-28"], &["2031-01-01"], &[" \t2026-07-28\t "]];

const REQUEST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const NOTIFICATION: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize",
    "params":{"protocolVersion":"2025-06-18"}}"#;

fn with_headers(method: &Method, versions: &[&str], body: Option<&str>) -> Classified {
    let mut headers = HeaderMap::new();
    for version in versions {
        // As bytes, since some are not ASCII.
        let version = HeaderValue::from_bytes(version.as_bytes()).expect("a header");
        headers.append(MCP_PROTOCOL_VERSION, version);
    }
    let body = body.map(|body| peek(body.as_bytes()));
    classify(method, &headers, body.as_ref().map(Result::as_ref))
}

fn post(versions: &[&str], body: &str) -> Classified {
    with_headers(&Method::POST, versions, Some(body))
}

fn request(method: &str, claim: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"_meta":
        {{"io.modelcontextprotocol/protocolVersion":{claim}}}}}}}"#
    )
}

#[track_caller]
fn assert_is(classified: Classified, era: Era, fault: impl Into<Option<Fault>>) {
    let fault = fault.into();
    assert_eq!(classified, Classified { era, fault });
}

#[test]
fn row_not_json_is_a_fault_in_a_session() {
    for body in ["", "{", "nul", "{}{}", "\u{feff}{}"] {
        for (header, era) in LEGACY {
            assert_is(post(header, body), *era, Fault::NotJson);
        }
        for header in MODERN {
            assert_is(post(header, body), B, Fault::NotJson);
        }
    }
}

#[test]
fn row_empty_array_is_a_fault() {
    for (header, _) in LEGACY {
        assert_is(post(header, "[]"), B, Fault::EmptyBatch);
    }
    for header in MODERN {
        assert_is(post(header, " [ ] "), B, Fault::EmptyBatch);
    }
}

#[test]
fn row_array_with_a_modern_claim_is_a_fault() {
    for claim in ["\"2026-07-28\"", "\"v999\"", "1"] {
        let body = format!("[{REQUEST},{}]", request("tools/list", claim));
        for (header, _) in LEGACY {
            assert_is(post(header, &body), B, Fault::BatchNotAllowed);
        }
    }
    let body = format!("[{}]", request("tools/list", "\"2025-03-26\""));
    assert_is(post(&[], &body), B, None);
}

#[test]
fn row_array_with_a_header_that_ended_batches_is_a_fault() {
    let body = format!("[{REQUEST},{NOTIFICATION}]");
    for header in ["2025-06-18", "2025-11-25", "2026-07-28", "2031-01-01"] {
        assert_is(post(&[header], &body), B, Fault::BatchNotAllowed);
    }
}

#[test]
fn row_other_arrays_are_batches_amb_21() {
    for body in [
        format!("[{REQUEST},{NOTIFICATION}]"),
        format!("[{RESPONSE}]"),
    ] {
        for header in [
            &[][..],
            &["2024-11-05"],
            &["2025-03-26"],
            &["2025-12-31"],
            &["x"],
        ] {
            assert_is(post(header, &body), B, None);
        }
    }
}

#[test]
fn jrp_6_an_array_is_only_as_good_as_its_elements() {
    for (element, fault) in [
        (INITIALIZE, Fault::InitializeInBatch),
        ("[]", Fault::InvalidMessage),
        ("1", Fault::InvalidMessage),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#,
            Fault::InvalidMessage,
        ),
        (
            r#"{"jsonrpc":"2.0","method":"a","method":"a"}"#,
            Fault::DuplicateKey("method"),
        ),
    ] {
        assert_is(post(&[], &format!("[{REQUEST},{element}]")), B, fault);
    }
}

#[test]
fn row_responses_belong_to_a_session() {
    for body in [
        RESPONSE,
        r#"{"jsonrpc":"2.0","id":"a","error":{"code":1,"message":""}}"#,
    ] {
        for (header, era) in LEGACY {
            assert_is(post(header, body), *era, None);
        }
        for header in MODERN {
            assert_is(post(header, body), B, Fault::ResponseNotAllowed);
        }
    }
}

#[test]
fn row_a_modern_claim_is_stateless_whatever_method_and_header_amb_1_amb_4() {
    for claim in ["\"2026-07-28\"", "\"2031-01-01\"", "\"v999.0.0\"", "\"\""] {
        for method in ["tools/call", "initialize", "ping", "server/discover"] {
            let body = request(method, claim);
            for header in LEGACY.iter().map(|(header, _)| header).chain(MODERN) {
                assert_is(post(header, &body), E, None);
            }
        }
        let notification = request("notifications/progress", claim).replace("\"id\":1,", "");
        assert_is(post(&[], &notification), E, None);
    }
}

#[test]
fn row_a_legacy_claim_is_a_session_whatever_the_header() {
    for claim in ["\"2025-11-25\"", "\"2026-07-27\""] {
        let body = request("tools/call", claim);
        for (header, era) in LEGACY {
            assert_is(post(header, &body), *era, None);
        }
        for header in MODERN {
            assert_is(post(header, &body), B, None);
        }
    }
}

#[test]
fn row_a_claim_that_is_no_string_is_stateless_and_a_fault() {
    for claim in ["null", "20260728", "{}"] {
        let body = request("tools/call", claim);
        for header in LEGACY.iter().map(|(header, _)| header).chain(MODERN) {
            assert_is(post(header, &body), E, Fault::MissingMeta);
        }
    }
}

#[test]
fn row_a_request_without_claim_under_a_modern_header_lacks_its_meta_ver_6() {
    for header in MODERN {
        assert_is(post(header, REQUEST), E, Fault::MissingMeta);
    }
}

#[test]
fn row_initialize_without_claim_under_a_modern_header_contradicts_itself_amb_1() {
    for header in MODERN {
        assert_is(post(header, INITIALIZE), C, Fault::InitializeHeaderMismatch);
        let body = INITIALIZE.replace("2025-06-18", "2026-07-28");
        assert_is(post(header, &body), B, Fault::InitializeHeaderMismatch);
    }
}

#[test]
fn row_a_notification_without_claim_is_what_its_header_says() {
    for (header, era) in LEGACY {
        assert_is(post(header, NOTIFICATION), *era, None);
    }
    for header in MODERN {
        assert_is(post(header, NOTIFICATION), E, None);
        let body = INITIALIZE.replace("\"id\":1,", "");
        assert_is(post(header, &body), E, None);
    }
}

#[test]
fn row_initialize_is_of_the_revision_that_it_asks_for() {
    for (header, era) in LEGACY {
        assert_is(post(header, INITIALIZE), C, None);
        // Unless nobody knows that one, or it has no handshake.
        for other in ["2026-07-28", "1999-01-01", "x"] {
            assert_is(
                post(header, &INITIALIZE.replace("2025-06-18", other)),
                *era,
                None,
            );
        }
    }
}

#[test]
fn row_everything_else_is_a_session_of_the_headers_revision_era_5() {
    for (header, era) in LEGACY {
        assert_is(post(header, REQUEST), *era, None);
    }
}

#[test]
fn row_get_and_delete_are_dead_under_a_modern_header_amb_33() {
    for method in [Method::GET, Method::DELETE] {
        for body in [None, Some(REQUEST), Some("{")] {
            for (header, era) in LEGACY {
                assert_is(with_headers(&method, header, body), *era, None);
            }
            for header in MODERN {
                assert_is(
                    with_headers(&method, header, body),
                    E,
                    Fault::MethodNotAllowed,
                );
            }
        }
    }
}

#[test]
fn other_methods_and_unread_bodies_leave_only_the_header() {
    for (method, body) in [
        (Method::POST, None),
        (Method::OPTIONS, None),
        (Method::PUT, Some("{")),
    ] {
        for (header, era) in LEGACY {
            assert_is(with_headers(&method, header, body), *era, None);
        }
        for header in MODERN {
            assert_is(with_headers(&method, header, body), E, None);
        }
    }
}

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
fn every_fault_has_the_status_and_the_code_of_its_row() {
    for (fault, status, in_session, stateless) in [
        (
            Fault::DuplicateVersionHeader,
            400,
            None,
            Some(code::HEADER_MISMATCH),
        ),
        (
            Fault::InvalidVersionHeader,
            400,
            None,
            Some(code::HEADER_MISMATCH),
        ),
        (Fault::NotJson, 400, Some(-32700), Some(-32700)),
        (Fault::InvalidMessage, 400, Some(-32600), Some(-32600)),
        (Fault::DuplicateKey("id"), 400, Some(-32600), Some(-32600)),
        (Fault::EmptyBatch, 400, Some(-32600), Some(-32600)),
        (Fault::BatchNotAllowed, 400, Some(-32600), Some(-32600)),
        (Fault::InitializeInBatch, 400, Some(-32600), Some(-32600)),
        (Fault::ResponseNotAllowed, 400, Some(-32600), Some(-32600)),
        (Fault::MissingMeta, 400, Some(-32602), Some(-32602)),
        (
            Fault::InitializeHeaderMismatch,
            400,
            Some(-32020),
            Some(-32020),
        ),
        (Fault::MethodNotAllowed, 405, Some(-32600), Some(-32600)),
    ] {
        assert_eq!(
            fault.status(),
            StatusCode::from_u16(status).expect("a status")
        );
        assert_eq!(fault.code(B), in_session, "{fault:?}");
        assert_eq!(fault.code(E), stateless, "{fault:?}");
    }
}
