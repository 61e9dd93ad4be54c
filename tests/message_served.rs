//! Servers that do not speak every revision: a list of versions, and the modern-only switch.

mod judged;

use http::Method;
use judged::{
    B, C, D, E, INITIALIZE, NOTIFICATION, Outcome, REQUEST, RESPONSE, To, ask, claiming, modern,
    post,
};
use shadowcat::{
    message::MessageLayer,
    protocol::ProtocolVersion::{self, V2025_03_26, V2025_06_18, V2025_11_25, V2026_07_28},
};

const INVALID: (u16, i32) = (400, -32600);
const HEADER: (u16, i32) = (400, -32020);
const VERSION: (u16, i32) = (400, -32022);
const GONE: (u16, i32) = (405, -32600);

#[track_caller]
fn assert_told(data: &serde_json::Value, supported: &[&str], requested: &str) {
    assert_eq!(data["supported"], serde_json::json!(supported));
    assert_eq!(data["requested"], requested);
    assert_eq!(data["source"], "shadowcat", "PGR-5");
}

const SERVED: &[ProtocolVersion] = &[V2025_06_18, V2025_11_25, V2026_07_28];

#[test]
fn ver_5_with_a_list_of_versions_nothing_else_is_served() {
    let supported = ["2026-07-28", "2025-11-25", "2025-06-18"];
    let layer = MessageLayer::new().with_versions(SERVED);
    modern("2026-07-28", "tools/list")
        .through(layer)
        .assert_passed(E);
    for version in ["2031-01-01", "v999.0.0"] {
        let refused = modern(version, "tools/list").through(layer);
        let data = refused.assert_refused(VERSION, To::Id("7"));
        assert_told(&data, &supported, version);
        // HDR-16: before what mirrors the body, behind what contradicts it.
        let ask = modern(version, "tools/list").without("mcp-method");
        ask.clone()
            .through(layer)
            .assert_refused(VERSION, To::Id("7"));
        let ask = ask.without("mcp-protocol-version");
        ask.through(layer).assert_refused(HEADER, To::Id("7"));
    }
    let notification = post(NOTIFICATION).version("2031-01-01");
    notification
        .through(layer)
        .assert_refused(VERSION, To::Nobody);

    for (version, era) in [("2025-06-18", C), ("2025-11-25", D)] {
        post(REQUEST)
            .version(version)
            .through(layer)
            .assert_passed(era);
        ask(Method::GET)
            .version(version)
            .through(layer)
            .assert_passed(era);
    }
    for version in ["2024-11-05", "2025-03-26", "2025-12-31", "x", ""] {
        let refused = post(REQUEST).version(version).through(layer);
        refused.assert_refused(INVALID, To::Id("\"r\""));
        let refused = post(NOTIFICATION).version(version).through(layer);
        refused.assert_refused(INVALID, To::Nobody);
        let refused = ask(Method::DELETE).version(version).through(layer);
        refused.assert_refused(INVALID, To::Unknown);
    }
    // 2025-03-26 is what no version means (ERA-5).
    post(REQUEST)
        .through(layer)
        .assert_refused(INVALID, To::Id("\"r\""));
    ask(Method::GET)
        .through(layer)
        .assert_refused(INVALID, To::Unknown);
    post(format!("[{REQUEST}]"))
        .through(layer)
        .assert_refused(INVALID, To::Unknown);
    let older = layer.with_versions(&[V2025_03_26]);
    post(REQUEST).through(older).assert_passed(B);
    post(format!("[{REQUEST}]")).through(older).assert_passed(B);
    let data = modern("2026-07-28", "tools/list")
        .through(older)
        .assert_refused(VERSION, To::Id("7"));
    assert_told(&data, &["2025-03-26"], "2026-07-28");
    // What an `initialize` asks for is negotiated (VER-9).
    for asked in ["2024-11-05", "2025-06-18", "2031-01-01"] {
        let body = INITIALIZE.replace("2025-06-18", asked);
        let outcome = post(body).through(layer);
        assert!(matches!(outcome, Outcome::Passed(_)), "{outcome:?}");
    }
}

#[test]
fn era_5_modern_only() {
    let supported = ["2026-07-28"];
    let modern_only = MessageLayer::new().with_modern_only(true);
    let listed = MessageLayer::new().with_versions(&[V2026_07_28]);
    for layer in [modern_only, listed, modern_only.with_versions(SERVED)] {
        for method in ["tools/list", "initialize"] {
            modern("2026-07-28", method).through(layer).assert_passed(E);
        }
        post(NOTIFICATION)
            .version("2026-07-28")
            .through(layer)
            .assert_passed(E);

        // AMB-38: the one diagnostic that an old client can show.
        let data = post(INITIALIZE)
            .through(layer)
            .assert_refused(VERSION, To::Id("0"));
        assert_told(&data, &supported, "2025-06-18");
        let named = post(REQUEST).version("2025-11-25").through(layer);
        let data = named.assert_refused(VERSION, To::Id("\"r\""));
        assert_told(&data, &supported, "2025-11-25");
        let claimed = post(claiming("\"2025-03-26\"", "tools/list")).through(layer);
        let data = claimed.assert_refused(VERSION, To::Id("7"));
        assert_told(&data, &supported, "2025-03-26");

        post(REQUEST)
            .through(layer)
            .assert_refused(HEADER, To::Id("\"r\""));
        post(NOTIFICATION)
            .through(layer)
            .assert_refused(HEADER, To::Nobody);
        post(RESPONSE)
            .through(layer)
            .assert_refused(INVALID, To::Nobody);
        post(format!("[{REQUEST}]"))
            .through(layer)
            .assert_refused(INVALID, To::Unknown);
        for method in [Method::GET, Method::DELETE] {
            ask(method).through(layer).assert_refused(GONE, To::Unknown);
        }
        ask(Method::OPTIONS).through(layer).assert_passed(B);
    }
    // Later revisions are the server's to judge, unless there is a list.
    modern("2031-01-01", "tools/list")
        .through(modern_only)
        .assert_passed(E);
    modern("2031-01-01", "tools/list")
        .through(listed)
        .assert_refused(VERSION, To::Id("7"));
    post(REQUEST)
        .through(modern_only.with_modern_only(false))
        .assert_passed(B);
}

/// A megabyte came back for every megabyte that was sent.
#[test]
fn a_version_that_is_none_is_not_repeated_at_length() {
    let long = "é".repeat(500_000);
    let body = INITIALIZE.replace("2025-06-18", &long);
    let refused = post(body).through(MessageLayer::new().with_modern_only(true));
    let data = refused.assert_refused(VERSION, To::Id("0"));
    assert_told(&data, &["2026-07-28"], &"é".repeat(64));
}
