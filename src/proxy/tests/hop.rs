use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::hop;

fn fields(list: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a field name"),
            HeaderValue::from_bytes(value.as_bytes()).expect("a field value"),
        );
    }
    headers
}

fn to_upstream(list: &[(&str, &str)]) -> Option<HeaderMap> {
    let mut headers = fields(list);
    let host = HeaderValue::from_static("up:1");
    hop::to_upstream(&mut headers, &host).ok()?;
    Some(headers)
}

#[test]
fn hop_by_hop_fields_stay_behind_prx_1() {
    let headers = to_upstream(&[
        ("connection", "close, X-One"),
        ("Connection", " x-two ,Keep-Alive"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-two", "2b"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eA=="),
        ("te", "trailers"),
        ("trailer", "authorization"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("http2-settings", "AAM"),
        ("expect", "100-continue"),
        ("x-three", "3"),
    ])
    .expect("nothing protected is named");
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["accept-encoding", "host", "via", "x-three"]);
}

#[test]
fn protocol_fields_pass_byte_for_byte_prx_2() {
    let passed = [
        ("accept", "application/json, text/event-stream"),
        ("authorization", "Bearer secret"),
        ("last-event-id", "a_1"),
        ("mcp-session-id", "s1"),
        ("mcp-protocol-version", "2025-11-25"),
        ("mcp-param-unknown", "=?base64?4pyT?="),
        ("mcp-param-unknown", "\u{e9}"),
        ("origin", "http://localhost:3000"),
    ];
    let headers = to_upstream(&passed).expect("nothing protected is named");
    for (name, value) in passed {
        assert!(
            headers
                .get_all(name)
                .iter()
                .any(|v| v.as_bytes() == value.as_bytes()),
            "{name}: {value}"
        );
    }
    assert_eq!(headers.get_all("mcp-param-unknown").iter().count(), 2);
}

#[test]
fn host_and_encoding_are_ours_and_a_clients_word_on_itself_is_dropped() {
    let headers = to_upstream(&[
        ("host", "evil.example"),
        ("host", "other.example"),
        ("accept-encoding", "gzip, br"),
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-host", "evil.example"),
        ("x-real-ip", "1.2.3.4"),
        ("via", "1.0 earlier"),
    ])
    .expect("nothing protected is named");
    assert_eq!(headers.get_all("host").iter().collect::<Vec<_>>(), ["up:1"]);
    assert_eq!(headers["accept-encoding"], "identity");
    let via: Vec<_> = headers.get_all("via").iter().collect();
    assert_eq!(via, ["1.0 earlier", "1.1 shadowcat"]);
    assert_eq!(headers.len(), 4);
}

#[test]
fn connection_may_not_name_what_policies_depend_on_a14() {
    for name in [
        "Authorization",
        "Mcp-Session-Id",
        "mcp-param-tenant",
        "X-Forwarded-For",
        "Host",
        "Content-Length",
        "Last-Event-ID",
        "cookie",
        "origin",
    ] {
        let value = format!("close, {name}");
        assert!(to_upstream(&[("connection", &value)]).is_none(), "{name}");
    }
    // Not a name at all: nothing to remove, nothing to judge.
    assert!(to_upstream(&[("connection", "a b, ,")]).is_some());
}

#[test]
fn upstreams_hop_by_hop_fields_stay_behind_a15() {
    let mut headers = fields(&[
        ("connection", "close, x-mine, content-type, mcp-session-id"),
        ("x-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "x"),
        ("trailer", "x"),
        ("transfer-encoding", "chunked"),
        ("proxy-authenticate", "Basic"),
        ("upgrade", "h2c"),
        ("content-type", "application/json"),
        ("mcp-session-id", "s1"),
        ("www-authenticate", "Bearer"),
    ]);
    hop::to_client(&mut headers, false).expect("it may cross");
    let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    left.sort_unstable();
    assert_eq!(left, ["content-type", "mcp-session-id", "www-authenticate"]);
}

#[test]
fn length_crosses_only_if_it_is_one_and_the_bodys_a15() {
    let chunked = ("transfer-encoding", "chunked");
    let cases: [(&[(&str, &str)], _); 4] = [
        (&[("content-length", "2")], true),
        (&[("content-length", "2"), chunked], false),
        (&[("content-length", "2"), ("content-length", "2")], false),
        (&[("content-length", "2, 2")], false),
    ];
    for (list, kept) in cases {
        let mut headers = fields(list);
        hop::to_client(&mut headers, false).expect("it may cross");
        assert_eq!(headers.contains_key("content-length"), kept, "{list:?}");
        let headers = to_upstream(list).expect("nothing protected is named");
        assert_eq!(headers.contains_key("content-length"), kept, "{list:?}");
    }
}

#[test]
fn event_stream_is_neither_buffered_nor_sized_sse_13() {
    let mut headers = fields(&[("content-length", "9"), ("x-accel-buffering", "yes")]);
    hop::to_client(&mut headers, true).expect("it may cross");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(headers["cache-control"], "no-cache, no-transform");
    assert!(!headers.contains_key("content-length"));

    let mut headers = fields(&[("cache-control", "no-store")]);
    hop::to_client(&mut headers, true).expect("it may cross");
    assert_eq!(headers["cache-control"], "no-store");
}

#[test]
fn trailers_keep_what_is_only_a_trailer_a19() {
    let mut trailers = fields(&[
        ("authorization", "Bearer x"),
        ("mcp-session-id", "s"),
        ("content-length", "1"),
        ("transfer-encoding", "chunked"),
        ("set-cookie", "a=b"),
        ("x-checksum", "1"),
    ]);
    hop::clean_trailers(&mut trailers);
    assert_eq!(trailers.len(), 1);
    assert_eq!(trailers["x-checksum"], "1");
}
