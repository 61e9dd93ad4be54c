//! The gateway example as a page in a browser sees it (ORG-6).

mod gateway_process;

use gateway_process::Gateway;

/// Nobody listens there: what reaches the upstream is answered with 502.
const NOBODY: &str = "http://127.0.0.1:9/mcp";

/// What the gateway answers, in lower case.
fn answer(gateway: &Gateway, method: &str, fields: &str) -> String {
    let answer = gateway.exchange(&format!(
        "{method} /mcp HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"
    ));
    answer.to_ascii_lowercase()
}

fn preflight(gateway: &Gateway, origin: &str) -> String {
    let fields = format!(
        "Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: mcp-session-id,mcp-param-region\r\n\
         Access-Control-Request-Private-Network: true\r\n"
    );
    answer(gateway, "OPTIONS", &fields)
}

fn has(answer: &str, field: &str) -> bool {
    answer.lines().any(|line| line == field)
}

/// A preflight went to the upstream, which had no use for it, and no page could use the gateway.
#[test]
fn org_6_a_page_of_a_listed_origin_may_call_and_read() {
    let gateway = Gateway::start(&[
        "--upstream",
        NOBODY,
        "--allow-origin",
        "HTTPS://App.example:443",
        "--allow-origin",
        "http://tool.example:8080",
    ]);
    for origin in ["https://app.example", "http://tool.example:8080"] {
        let allowed = format!("access-control-allow-origin: {origin}");
        let preflight = preflight(&gateway, origin);
        assert!(preflight.starts_with("http/1.1 200 ok"), "{preflight}");
        for field in [
            allowed.as_str(),
            "access-control-allow-methods: get,post,delete",
            "access-control-allow-headers: mcp-session-id,mcp-param-region",
            "access-control-allow-private-network: true",
        ] {
            assert!(has(&preflight, field), "no {field} in {preflight}");
        }
        let answer = answer(&gateway, "GET", &format!("Origin: {origin}\r\n"));
        assert!(answer.starts_with("http/1.1 502 "), "{answer}");
        for field in [
            allowed.as_str(),
            "access-control-expose-headers: mcp-session-id,www-authenticate,retry-after,ratelimit,ratelimit-policy",
        ] {
            assert!(has(&answer, field), "no {field} in {answer}");
        }
    }
}

#[test]
fn org_6_a_page_of_another_origin_is_told_nothing_and_refused() {
    let gateway = Gateway::start(&[
        "--upstream",
        NOBODY,
        "--allow-origin",
        "https://app.example",
    ]);
    let other = "https://app.example.evil.example";
    let preflight = preflight(&gateway, other);
    assert!(
        !preflight.contains("access-control-allow-origin"),
        "{preflight}"
    );
    let refused = answer(&gateway, "GET", &format!("Origin: {other}\r\n"));
    assert!(refused.starts_with("http/1.1 403 "), "{refused}");
    assert!(
        !refused.contains("access-control-allow-origin"),
        "{refused}"
    );
}

#[test]
fn org_6_without_a_listed_origin_nothing_is_said_of_any() {
    let gateway = Gateway::start(&["--upstream", NOBODY]);
    let answer = answer(&gateway, "GET", "Origin: http://localhost:5173\r\n");
    assert!(answer.starts_with("http/1.1 502 "), "{answer}");
    assert!(!answer.contains("access-control-"), "{answer}");
}
