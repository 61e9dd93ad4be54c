//! The table that decides each request's era, row by row.

#[path = "classify/faults.rs"]
mod faults;

use http::{HeaderMap, HeaderValue, Method};
use shadowcat::{
    header::{MCP_METHOD, MCP_PROTOCOL_VERSION},
    jsonrpc::peek,
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
        {{"io.modelcontextprotocol/clientCapabilities":{{}},
        "io.modelcontextprotocol/protocolVersion":{claim}}}}}}}"#
    )
}

/// A request of the stateless era, with the version header and the mirrored method.
fn mirrored(versions: &[&str], method: &str, body: &str) -> Classified {
    let mut headers = HeaderMap::new();
    for version in versions {
        headers.append(MCP_PROTOCOL_VERSION, version.parse().expect("a header"));
    }
    headers.insert(MCP_METHOD, method.parse().expect("a header"));
    let peek = peek(body.as_bytes());
    classify(&Method::POST, &headers, Some(peek.as_ref()))
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
    for claim in ["2026-07-28", "2031-01-01", "v999.0.0", "2026-7-28", "x"] {
        for method in ["tools/list", "initialize", "ping", "server/discover"] {
            let body = request(method, &format!("\"{claim}\""));
            for header in LEGACY.iter().map(|(header, _)| header).chain(MODERN) {
                let is_same = header.first().is_some_and(|header| header.trim() == claim);
                let fault = (!is_same).then_some(Fault::VersionMismatch);
                assert_is(mirrored(header, method, &body), E, fault);
            }
            assert_is(mirrored(&[claim], method, &body), E, None);
        }
    }
    let body = request("tools/list", "\"\"");
    assert_is(
        mirrored(&["2026-07-28"], "tools/list", &body),
        E,
        Fault::VersionMismatch,
    );
}

#[test]
fn amb_29_a_notification_need_not_mirror_anything_but_must_not_contradict() {
    let claimed = request("notifications/progress", "\"2026-07-28\"").replace("\"id\":1,", "");
    assert_is(post(&[], &claimed), E, None);
    for body in [
        claimed.as_str(),
        r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
    ] {
        let modern = &["2026-07-28"];
        assert_is(post(modern, body), E, None);
        assert_is(mirrored(modern, "notifications/progress", body), E, None);
        let fault = Fault::HeaderMismatch("mcp-method");
        assert_is(mirrored(modern, "notifications/cancelled", body), E, fault);
    }
    assert_is(post(&["2025-11-25"], &claimed), E, Fault::VersionMismatch);
}

#[test]
fn row_a_legacy_claim_is_a_session_whatever_the_header() {
    for claim in ["\"2025-11-25\"", "\"2026-07-27\""] {
        let body = request("tools/call", claim);
        for (header, era) in LEGACY {
            assert_is(post(header, &body), *era, None);
        }
        for header in MODERN {
            assert_is(post(header, &body), B, Fault::VersionMismatch);
        }
    }
}

#[test]
fn ver_6_a_modern_request_without_capabilities_lacks_its_meta_whatever_its_headers() {
    const CAPABILITIES: &str = "\"io.modelcontextprotocol/clientCapabilities\":{}";
    let body = request("tools/list", "\"2026-07-28\"");
    for capabilities in [
        "\"x\":1",
        &CAPABILITIES.replace("{}", "[]"),
        &CAPABILITIES.replace("{}", "null"),
    ] {
        let body = body.replace(CAPABILITIES, capabilities);
        for header in LEGACY.iter().map(|(header, _)| header).chain(MODERN) {
            assert_is(post(header, &body), E, Fault::MissingMeta);
            assert_is(mirrored(header, "tools/call", &body), E, Fault::MissingMeta);
        }
    }
    let full = body.replace("{}", r#"{"sampling":{}}"#);
    assert_is(mirrored(&["2026-07-28"], "tools/list", &full), E, None);
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
        assert_is(post(header, &body), E, Fault::MissingId);
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
