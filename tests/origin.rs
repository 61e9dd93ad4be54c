//! Who is let in by the layer that checks `Host` and `Origin`, and what becomes of the others.

use std::{cell::RefCell, convert::Infallible};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Empty};
use proptest::prelude::*;
use shadowcat::{
    origin::{ConfigErrorKind, OriginLayer},
    refusal::Refused,
};
use tokio_test::{assert_ready, task::spawn};
use tower::{Layer, ServiceExt, service_fn};

/// Of a request to that target with these fields: the status, and the code if it is refused.
fn judge(
    layer: &OriginLayer,
    method: &Method,
    target: &str,
    fields: &[(&str, &str)],
) -> (u16, Option<i32>) {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, value.as_bytes());
    }
    let request = request.body(()).expect("a valid request");
    let seen = RefCell::new(None);
    let inner = service_fn(|request: Request<()>| {
        seen.borrow_mut().replace(request);
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let call = layer.layer(inner).oneshot(request);
    let Ok(response) = assert_ready!(spawn(call).poll());
    let refused = response.extensions().get::<Refused>().map(Refused::code);
    let status = response.status().as_u16();
    match (seen.take(), refused) {
        (Some(request), None) => {
            assert!(!request.headers().contains_key("origin"), "ORG-5");
            assert!(request.uri() == target, "else it goes on as it came");
            let others = |(name, _): &&(&str, &str)| *name != "origin";
            let expected = fields.iter().filter(others).count();
            assert_eq!(request.headers().len(), expected);
        }
        (None, Some(code)) => {
            assert_eq!(response.headers()["content-type"], "application/json");
            let body = assert_ready!(spawn(response.into_body().collect()).poll());
            let body = body.expect("fixed").to_bytes();
            let start = format!(r#"{{"jsonrpc":"2.0","error":{{"code":{code},"#);
            assert!(
                body.starts_with(start.as_bytes()),
                "{body:?}: without an id"
            );
            let text = String::from_utf8(body.to_vec()).expect("UTF-8");
            assert!(!text.contains("evil"), "B49: {text}");
        }
        other => panic!("called and refused, or neither: {other:?}"),
    }
    (status, refused)
}

const OK: (u16, Option<i32>) = (200, None);
const FORBIDDEN: (u16, Option<i32>) = (403, Some(-31403));
const BAD: (u16, Option<i32>) = (400, Some(-32600));

fn host(layer: &OriginLayer, host: &str) -> (u16, Option<i32>) {
    judge(layer, &Method::POST, "/mcp", &[("host", host)])
}

fn origin(layer: &OriginLayer, host: &str, origin: &str) -> (u16, Option<i32>) {
    let fields = [("host", host), ("origin", origin)];
    judge(layer, &Method::POST, "/mcp", &fields)
}

fn listed() -> OriginLayer {
    OriginLayer::new()
        .add_host("mcp.example.com")
        .and_then(|layer| layer.add_host("10.0.0.7:8443"))
        .and_then(|layer| layer.add_host("[2001:db8::7]:8443"))
        .and_then(|layer| layer.add_origin("https://app.example.com"))
        .and_then(|layer| layer.add_origin("http://app.example.com:8080"))
        .and_then(|layer| layer.add_origin("http://[2001:DB8::1]"))
        .and_then(|layer| layer.add_origin("vscode-webview://1abc"))
        .expect("valid entries")
}

#[test]
fn b45_org_4_hosts_of_this_machine() {
    let layer = OriginLayer::loopback();
    for name in [
        "localhost",
        "LOCALHOST:8080",
        "localhost.",
        "localhost.:80",
        "127.0.0.1",
        "127.0.0.1:3000",
        "127.255.0.9:1",
        "[::1]",
        "[::1]:3000",
        "[0:0:0:0:0:0:0:1]:3000",
        "localhost:",
    ] {
        assert_eq!(host(&layer, name), OK, "{name}");
    }
    for name in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "localhost..",
        "sub.localhost",
        "127.1",
        "127.0.0.01",
        "0x7f.0.0.1",
        "2130706433",
        "0.0.0.0",
        "128.0.0.1",
        "[::]",
        "[::2]",
        "[::ffff:127.0.0.1]",
        "8080",
    ] {
        assert_eq!(host(&layer, name), FORBIDDEN, "{name}");
    }
}

#[test]
fn a16_what_is_no_host_is_a_bad_request() {
    for layer in [OriginLayer::loopback(), listed(), OriginLayer::new()] {
        for name in [
            "",
            ":80",
            "a@localhost",
            "localhost@evil.example",
            "localhost:80@evil.example",
            "localhost/",
            "localhost:8o",
            "localhost:+80",
            "localhost:65536",
            "localhost:80:80",
            "localhost,evil.example",
            "localhost evil.example",
            "http://localhost",
            "::1",
            "[::1",
            "[::1]x",
            "[localhost]",
            "[fe80::1%25lo]",
            "löcalhost",
            "*",
        ] {
            assert_eq!(host(&layer, name), BAD, "{name}");
        }
        let two = [("host", "localhost"), ("host", "localhost")];
        for (target, fields) in [
            ("/mcp", &[][..]),
            ("/mcp", &two),
            ("http://localhost/mcp", &two),
            ("http://localhost/mcp", &[("host", "evil.example")]),
            ("http://evil.example/mcp", &[("host", "localhost")]),
            ("http://localhost:81/mcp", &[("host", "localhost")]),
            ("http://localhost:81/mcp", &[("host", "localhost:82")]),
            ("http://a@localhost/mcp", &[]),
            ("http://localhost/mcp", &[("host", "a@localhost")]),
        ] {
            let judged = judge(&layer, &Method::GET, target, fields);
            assert_eq!(judged, BAD, "{target} {fields:?}");
        }
    }
}

#[test]
fn org_3_the_authority_of_the_uri_counts_as_the_host() {
    let layer = OriginLayer::loopback();
    for (target, fields, expected) in [
        ("http://localhost:8080/mcp", &[][..], OK),
        ("http://evil.example/mcp", &[], FORBIDDEN),
        ("http://localhost/mcp", &[("host", "LOCALHOST.:80")], OK),
        ("https://localhost:443/mcp", &[("host", "localhost")], OK),
        ("http://[::1]/mcp", &[("host", "[0::1]")], OK),
        (
            "http://evil.example/mcp",
            &[("host", "evil.example")],
            FORBIDDEN,
        ),
    ] {
        let judged = judge(&layer, &Method::POST, target, fields);
        assert_eq!(judged, expected, "{target} {fields:?}");
    }
    // Whatever a proxy may have meant by it, anyone can write it.
    let fields = [("host", "evil.example"), ("x-forwarded-host", "localhost")];
    assert_eq!(judge(&layer, &Method::POST, "/mcp", &fields), FORBIDDEN);
}

#[test]
fn hosts_that_are_listed() {
    let layer = listed();
    for name in [
        "mcp.example.com",
        "MCP.Example.Com",
        "mcp.example.com.",
        "mcp.example.com:443",
        "mcp.example.com:80",
        "10.0.0.7:8443",
        "[2001:db8:0::7]:8443",
    ] {
        assert_eq!(host(&layer, name), OK, "{name}");
    }
    for name in [
        "mcp.example.com:8080",
        "xmcp.example.com",
        "example.com",
        "a.mcp.example.com",
        "mcp.example.com.evil.example",
        "10.0.0.7",
        "10.0.0.7:8444",
        "[2001:db8::7]",
        "localhost",
        "127.0.0.1",
    ] {
        assert_eq!(host(&layer, name), FORBIDDEN, "{name}");
    }
    // Both: a gateway's own address next to the loopback names.
    let layer = OriginLayer::loopback()
        .add_host("mcp.local:8080")
        .expect("valid");
    assert_eq!(host(&layer, "mcp.local:8080"), OK);
    assert_eq!(host(&layer, "localhost:1"), OK);
    assert_eq!(host(&OriginLayer::new(), "localhost"), FORBIDDEN);
    // A name with the dot of DNS is the same name.
    let layer = OriginLayer::new().add_host("mcp.example.").expect("valid");
    assert_eq!(host(&layer, "mcp.example"), OK);
    assert_eq!(host(&layer, "mcp.example.:443"), OK);
}

#[test]
fn b44_org_2_amb_35_origins_of_this_machine() {
    let layer = OriginLayer::loopback();
    for page in [
        "http://localhost",
        "https://localhost:5173",
        "HTTP://LOCALHOST:3000",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
    ] {
        assert_eq!(origin(&layer, "localhost:8080", page), OK, "{page}");
    }
    for page in [
        "",
        "null",
        "http://evil.example",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost.",
        "http://localhost@evil.example",
        "http://evil.example#localhost",
        "http://localhost/",
        "http://localhost:80x",
        "localhost",
        "ws://localhost",
        "file://localhost",
        "vscode-webview://localhost",
        "http://",
        "http:localhost",
        "http://localhost, http://evil.example",
        "http://localhost http://evil.example",
        "http://löcalhost",
    ] {
        assert_eq!(origin(&layer, "localhost:8080", page), FORBIDDEN, "{page}");
    }
}

/// "The origin equals the host" holds in a rebinding attack, too (ORG-4).
#[test]
fn org_1_every_method_and_path_is_judged_b44() {
    let layer = OriginLayer::loopback();
    for method in [
        Method::POST,
        Method::GET,
        Method::DELETE,
        Method::OPTIONS,
        Method::HEAD,
    ] {
        for target in ["/mcp", "/", "/.well-known/x", "*"] {
            let judged = |fields: &[(&str, &str)]| judge(&layer, &method, target, fields);
            assert_eq!(judged(&[("host", "localhost")]), OK);
            let page = ("origin", "http://evil.example");
            assert_eq!(judged(&[("host", "localhost"), page]), FORBIDDEN);
            assert_eq!(judged(&[("host", "evil.example"), page]), FORBIDDEN);
        }
    }
}

#[test]
fn origins_that_are_listed() {
    let layer = listed();
    for page in [
        "https://app.example.com",
        "https://app.example.com:443",
        "HTTPS://App.Example.com",
        "http://app.example.com:8080",
        "http://[2001:db8:0:0::1]:80",
        "vscode-webview://1abc",
    ] {
        assert_eq!(origin(&layer, "mcp.example.com", page), OK, "{page}");
    }
    for page in [
        "http://app.example.com",
        "https://app.example.com:80",
        "https://app.example.com:8080",
        "https://app.example.com.",
        "https://xapp.example.com",
        "https://example.com",
        "https://app.example.com.evil.example",
        "https://[2001:db8::1]",
        "vscode-webview://1ABC",
        "vscode-webview://1abcd",
        "vscode-webview://",
        "http://localhost",
        "null",
    ] {
        assert_eq!(origin(&layer, "mcp.example.com", page), FORBIDDEN, "{page}");
    }
    let layer = layer.add_origin("null").expect("if somebody wants it");
    assert_eq!(origin(&layer, "mcp.example.com", "null"), OK);
    assert_eq!(origin(&layer, "mcp.example.com", "NULL"), FORBIDDEN);
}

#[test]
fn amb_31_two_origins_are_refused_whatever_they_are() {
    let page = ("origin", "http://localhost");
    for second in ["http://localhost", "http://evil.example", "null"] {
        let fields = [("host", "localhost"), page, ("origin", second)];
        let judged = judge(&OriginLayer::loopback(), &Method::POST, "/mcp", &fields);
        assert_eq!(judged, FORBIDDEN);
    }
}

#[test]
fn org_2_a_request_without_an_origin_passes_unless_one_is_required() {
    let layer = OriginLayer::loopback();
    assert_eq!(host(&layer, "localhost"), OK);
    let layer = layer.with_required_origin(true);
    assert_eq!(host(&layer, "localhost"), FORBIDDEN);
    assert_eq!(origin(&layer, "localhost", "http://localhost"), OK);
    assert_eq!(host(&layer.with_required_origin(false), "localhost"), OK);
}

#[test]
fn entries_that_could_never_match_or_match_too_much_are_errors() {
    for entry in [
        "",
        "*",
        "https://*",
        "https://*.example.com",
        "example.com",
        "https://",
        "https:///",
        "https://a/",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://u@a",
        "https://a:x",
        "https://a:65536",
        "https://a b",
        "https://ä",
        "https://a,https://b",
        "NULL",
        "://a",
        "1a://b",
        "a b://c",
        "app://",
        "app://a/b",
        "app://*",
    ] {
        let error = OriginLayer::new().add_origin(entry).expect_err(entry);
        assert_eq!(error.kind(), ConfigErrorKind::Origin);
        assert!(error.to_string().contains("scheme://host"));
    }
    for entry in [
        "",
        "*",
        "*.example.com",
        "https://a",
        "a/b",
        "a:x",
        "a:65536",
        "u@a",
        "ä",
        "::1",
        "[::1",
        "a,b",
    ] {
        let error = OriginLayer::new().add_host(entry).expect_err(entry);
        assert_eq!(error.kind(), ConfigErrorKind::Host);
        assert!(error.to_string().contains("host"));
    }
}

proptest! {
    /// A name lets in nobody but itself, however it is put into a longer one.
    #[test]
    fn org_2_nothing_but_the_whole_host_matches(
        before in "[a-z0-9.@:/-]{0,6}",
        after in "[a-z0-9.@:/-]{0,6}",
    ) {
        let layer = listed();
        let name = format!("{before}mcp.example.com{after}");
        let is_it = before.is_empty() && ["", ".", ":", ".:"].contains(&after.as_str())
            || before.is_empty() && after.trim_start_matches('.').strip_prefix(':').is_some_and(|port| {
                matches!(port.parse::<u16>(), Ok(80 | 443)) && !after.starts_with("..")
            });
        prop_assert_eq!(host(&layer, &name).0 == 200, is_it, "{}", name);
        let page = format!("https://{before}app.example.com{after}");
        let is_it = before.is_empty()
            && (after.is_empty() || after == ":" || after.strip_prefix(':').is_some_and(|port| {
                port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse() == Ok(443_u16)
            }));
        prop_assert_eq!(origin(&layer, "mcp.example.com", &page).0 == 200, is_it, "{}", page);
    }

    #[test]
    fn whatever_is_sent_is_judged_and_nothing_panics(host: Vec<u8>, page: Vec<u8>) {
        let header = |bytes: &[u8]| http::HeaderValue::from_bytes(bytes).ok();
        if let (Some(host), Some(page)) = (header(&host), header(&page)) {
            let inner = service_fn(async |_| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())));
            let request = Request::get("/").header("host", host).header("origin", page);
            let call = OriginLayer::loopback().layer(inner).oneshot(request.body(()).expect("valid"));
            let Ok(response) = assert_ready!(spawn(call).poll());
            prop_assert!(matches!(response.status().as_u16(), 200 | 400 | 403));
        }
    }
}
