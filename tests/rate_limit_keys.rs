//! Whose account a request is charged to.

mod auth_support;
mod rate_limit_support;

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use auth_support::{Recorder, ask, post, principal};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use rate_limit_support::{LIST, limiter, message, quota};
use shadowcat::{
    auth::Principal,
    message::Message,
    peer::PeerAddr,
    rate_limit::{
        ByMethod, ByPeer, ByPrincipal, BySession, ByTool, Caller, ForwardedField, KeyError,
        RateKey, RateLimitLayer, key_fn,
    },
};
use tower::Layer;

/// From that address, with those fields.
fn from(peer: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::post("/mcp").body(()).expect("a valid request");
    let peer: IpAddr = peer.parse().expect("an address");
    let peer = PeerAddr::new(SocketAddr::new(peer, 4_242));
    request.extensions_mut().insert(peer);
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
        let name = HeaderName::from_static(name);
        request.headers_mut().append(name, value);
    }
    request
}

#[track_caller]
fn expect(key: &ByPeer, request: &Request<()>, expected: &str) {
    let found = key.key(Caller::new(request)).expect("there is a peer");
    let expected: IpAddr = expected.parse().expect("an address");
    assert_eq!(found, expected, "{:?}", request.headers());
}

/// What a key tells apart.
fn hash<K: RateKey, B>(key: &K, request: &Request<B>) -> Result<u64, KeyError> {
    let mut hasher = DefaultHasher::new();
    key.key(Caller::new(request))?.hash(&mut hasher);
    Ok(hasher.finish())
}

const XFF: &str = "x-forwarded-for";
const PROXY: &str = "10.0.0.1";

#[test]
fn peer_is_the_other_end_whatever_the_client_writes() {
    let spoofed = [(XFF, "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
    expect(
        &ByPeer::new(),
        &from("198.51.100.1", &spoofed),
        "198.51.100.1",
    );
    let mapped = from("::ffff:198.51.100.1", &[]);
    expect(&ByPeer::new(), &mapped, "198.51.100.1");
}

#[test]
fn r02_last_address_that_no_trusted_proxy_has_is_the_clients() {
    let network = |text: &str| text.parse().expect("a network");
    let trusting =
        ByPeer::new().with_trusted_proxies([network("10.0.0.0/8"), network("2001:db8::/32")]);
    for (written, expected) in [
        (&["203.0.113.9"][..], "203.0.113.9"),
        // Whatever is left of the client's own address, the client has written.
        (&["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (&["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (&["203.0.113.9, 10.1.1.1 ,10.2.2.2"], "203.0.113.9"),
        (&["203.0.113.9", "10.1.1.1", "2001:db8::1"], "203.0.113.9"),
        (&["203.0.113.9:4711"], "203.0.113.9"),
        (&["::ffff:203.0.113.9"], "203.0.113.9"),
        (&["[2001:db9::1]:4711"], "2001:db9::"),
        (&["[2001:db9::1]"], "2001:db9::"),
        (&["2001:db9::1"], "2001:db9::"),
        // All trusted: the first one has asked.
        (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
        // No addresses: those of the peer.
        (&[], PROXY),
        (&[""], PROXY),
        (&["unknown"], PROXY),
        (&["010.0.0.1"], PROXY),
        (&["203.0.113.9, unknown"], PROXY),
        (&["203.0.113.9,, 10.1.1.1"], PROXY),
        (&["0.0.0.0"], PROXY),
        (&["fe80::1%eth0"], PROXY),
        (&["[fe80::1%2]:80"], PROXY),
        (&["\u{e4}"], PROXY),
        (&["localhost"], PROXY),
    ] {
        let fields: Vec<_> = written.iter().map(|value| (XFF, *value)).collect();
        expect(&trusting, &from(PROXY, &fields), expected);
    }
    // Who comes past the proxy is not believed.
    let past = from("198.51.100.1", &[(XFF, "203.0.113.9")]);
    expect(&trusting, &past, "198.51.100.1");
    // Nor is the other field.
    let other = from(PROXY, &[("forwarded", "for=203.0.113.9")]);
    expect(&trusting, &other, PROXY);
}

#[test]
fn r02_hops_are_counted_from_the_server() {
    let fields = [(XFF, "6.6.6.6, 203.0.113.9, 10.1.1.1")];
    for (hops, expected) in [
        (0, PROXY),
        (1, "10.1.1.1"),
        (2, "203.0.113.9"),
        (3, "6.6.6.6"),
        // Not as many: the first one.
        (4, "6.6.6.6"),
    ] {
        let key = ByPeer::new().with_trusted_hops(hops);
        expect(&key, &from(PROXY, &fields), expected);
    }
}

#[test]
fn r02_forwarded_is_read_as_rfc_7239_has_it() {
    let key = ByPeer::new()
        .with_trusted_hops(1)
        .with_field(ForwardedField::Forwarded);
    for (written, expected) in [
        ("for=203.0.113.9", "203.0.113.9"),
        ("For=\"203.0.113.9:4711\"", "203.0.113.9"),
        ("for=\"[2001:db9::1]:4711\"", "2001:db9::"),
        ("proto=https;for=203.0.113.9;by=203.0.113.43", "203.0.113.9"),
        ("for=6.6.6.6, for=203.0.113.9; proto=http", "203.0.113.9"),
        ("for=unknown", PROXY),
        ("for=_hidden", PROXY),
        ("by=203.0.113.9", PROXY),
        ("for=203.0.113.9;for=6.6.6.6", PROXY),
        ("for=\"203.0.113.9", PROXY),
        // What is quoted may be the client's: it is nobody's word.
        (
            r#"for=203.0.113.9;host="x, for=6.6.6.6;y=\"""#,
            "203.0.113.9",
        ),
        (r#"for="a, for=203.0.113.9"#, PROXY),
        (r#"for="6.6.6.6", for="203.0.113.9""#, "203.0.113.9"),
        ("host=\"x, for=6.6.6.6\"", PROXY),
        // A quote of the client's, before what the proxy adds to the same line, would turn the quoted
        // inside out.
        (
            r#"for=", for="[2001:db9::1]";host="a,for=6.6.6.6;x=\"""#,
            PROXY,
        ),
        (r#"for=", for=203.0.113.9"#, PROXY),
        (r#"for="a\", for=203.0.113.9"#, PROXY),
        (r#"x="\"";for=203.0.113.9"#, "203.0.113.9"),
        (r#"for="203.0.113.9"x, for=203.0.113.9"#, PROXY),
        ("for=203.0.113.9;;proto=http", "203.0.113.9"),
        ("for=203.0.113.9 proto=http", PROXY),
        ("for, for=203.0.113.9", PROXY),
        ("for=[2001:db9::1]", PROXY),
        ("for=203.0.113.9;for=6.6.6.6", PROXY),
        ("for=203.0.113.9,", PROXY),
    ] {
        expect(&key, &from(PROXY, &[("forwarded", written)]), expected);
    }
    let other = from(PROXY, &[(XFF, "203.0.113.9")]);
    expect(&key, &other, PROXY);
}

#[test]
fn r03_addresses_of_one_network_are_one_key() {
    let one = from("2001:db8:1:2::1", &[]);
    let other = from("2001:db8:1:2:ffff:ffff:ffff:ffff", &[]);
    let next = from("2001:db8:1:3::1", &[]);
    for (bits, of_network, of_next) in [(64, true, false), (56, true, true), (128, false, false)] {
        let key = ByPeer::new().with_ipv6_prefix(bits);
        assert_eq!(hash(&key, &one) == hash(&key, &other), of_network, "{bits}");
        assert_eq!(hash(&key, &one) == hash(&key, &next), of_next, "{bits}");
    }
    let all = ByPeer::new().with_ipv6_prefix(0);
    expect(&all, &one, "::");
    // An IPv4 address is one alone.
    assert_ne!(
        hash(&ByPeer::new(), &from("203.0.113.9", &[])),
        hash(&ByPeer::new(), &from("203.0.113.8", &[])),
    );
}

#[test]
fn what_a_key_is_made_of_has_to_be_there() {
    let nobody = Request::post("/mcp").body(()).expect("a valid request");
    for (error, missing) in [
        (hash(&ByPeer::new(), &nobody), "PeerAddr"),
        (hash(&ByPrincipal, &nobody), "Principal"),
        (hash(&BySession, &nobody), "Session"),
        (hash(&ByMethod::new(["a"]), &nobody), "Message"),
        (hash(&ByTool::new(["a"]), &nobody), "Message"),
        (
            hash(&(ByMethod::new(["a"]), ByPrincipal), &nobody),
            "Message",
        ),
        (hash(&ByPrincipal.or(ByPeer::new()), &nobody), "PeerAddr"),
    ] {
        let error = error.expect_err("there is nothing").to_string();
        assert!(error.contains(missing), "{error}");
    }
    assert!(hash(&(), &nobody).is_ok());
}

#[test]
fn rl_1_principal_is_the_same_with_another_token_and_session() {
    let of = |who| {
        let mut request = from(PROXY, &[("mcp-session-id", "x")]);
        request.extensions_mut().insert(who);
        hash(&ByPrincipal, &request).expect("it is known")
    };
    let (alice, bob) = (principal("alice", &[]), principal("bob", &[]));
    assert_eq!(of(alice.clone()), of(principal("alice", &["tools"])));
    assert_ne!(of(alice.clone()), of(bob));
    // Another issuer's alice is somebody else.
    let issued = |issuer| {
        let principal = Principal::builder("alice").with_issuer(issuer);
        of(principal.build().expect("it has a name"))
    };
    let (one, other) = (issued("https://a.example"), issued("https://b.example"));
    assert!(one != other && one != of(alice));
}

#[test]
fn other_key_is_asked_where_the_first_has_none() {
    let key = ByPrincipal.or(ByPeer::new());
    let mut request = from("203.0.113.9", &[]);
    let by_peer = hash(&key, &request).expect("there is a peer");
    request.extensions_mut().insert(principal("alice", &[]));
    let by_principal = hash(&key, &request).expect("it is known");
    assert_ne!(by_peer, by_principal);
    let mut elsewhere = from("198.51.100.1", &[]);
    assert_ne!(hash(&key, &elsewhere), Ok(by_peer));
    elsewhere.extensions_mut().insert(principal("alice", &[]));
    assert_eq!(hash(&key, &elsewhere), Ok(by_principal));
}

fn reading(body: &str) -> Request<()> {
    let mut request = Request::post("/mcp").body(()).expect("a valid request");
    let message = Message::new(Bytes::copy_from_slice(body.as_bytes()));
    request.extensions_mut().insert(message);
    request
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{tool}}}}}"#)
}

#[test]
fn rl_7_tools_and_methods_are_those_of_the_body() {
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let (one, other) = (call(r#""one""#), call(r#""other""#));
    let mut of_one = reading(&one);
    let header = HeaderValue::from_static("other");
    of_one.headers_mut().insert("mcp-name", header);
    let by_tool = ByTool::new(["one", "other"]);
    let by_method = ByMethod::new(["tools/call"]);
    let tool = |body: &str| hash(&by_tool, &reading(body)).expect("it was read");
    let method = |body: &str| hash(&by_method, &reading(body)).expect("it was read");
    assert_eq!(hash(&by_tool, &of_one), Ok(tool(&one)));
    assert_eq!(tool(&one), tool(&call(r#""\u006fne""#)));
    assert_ne!(tool(&one), tool(&other));
    assert_ne!(tool(&one), tool(list));
    assert_eq!(
        tool(list),
        tool(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)
    );
    assert_eq!(method(&one), method(&other));
    assert_ne!(method(&one), method(list));
    // A batch of one kind is of that kind, with what is free in it; others have a key of their own.
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(tool(&format!("[{one},{result},{one}]")), tool(&one));
    let mixed = tool(&format!("[{one},{other}]"));
    assert!(![tool(&one), tool(&other), tool(list)].contains(&mixed));
    assert_eq!(
        mixed,
        tool(&format!("[{other},{one},{list}]")),
        "and only one"
    );
    assert_eq!(tool("not JSON"), tool("[]"));
}

/// A client must not be able to choose among accounts: it has as many quotas as are listed, and one.
#[test]
fn names_that_clients_make_up_share_one_account() {
    let by_tool = ByTool::new(["db_*", "db_drop"]);
    let by_method = ByMethod::new(["tools/*", "tools/list"]);
    let tool = |name: &str| hash(&by_tool, &reading(&call(name))).expect("it was read");
    let method = |method: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        hash(&by_method, &reading(&body)).expect("it was read")
    };
    let others = tool(r#""m0""#);
    assert_eq!(tool(r#""m1""#), others);
    assert_eq!(tool("7"), others, "no name");
    assert_ne!(tool(r#""db_1""#), others);
    assert_eq!(tool(r#""db_1""#), tool(r#""db_2""#), "of one pattern");
    assert_ne!(
        tool(r#""db_1""#),
        tool(r#""db_drop""#),
        "the last one counts"
    );
    assert_eq!(method("m0"), method("m1"));
    assert_ne!(method("m0"), method("tools/call"));
    assert_eq!(method("tools/call"), method("tools/m0"));
    assert_ne!(method("tools/call"), method("tools/list"));
    for name in ["GET", "HEAD", "MADE-UP"] {
        let request = Request::builder().method(name).uri("/mcp").body(());
        let request = request.expect("a valid request");
        assert_eq!(hash(&by_method, &request), Ok(method("m0")), "{name}");
        assert_eq!(hash(&by_tool, &request), Ok(others), "{name}");
    }
}

#[tokio::test]
async fn made_up_methods_and_tools_get_one_quota_and_leave_others_theirs() {
    let (alice, bob) = (principal("alice", &[]), principal("bob", &[]));
    let (limiter, _) = limiter(quota(1, Duration::from_secs(3_600)));
    let key = (
        ByPrincipal,
        ByMethod::new(["tools/list"]),
        ByTool::new(["a"]),
    );
    let layer = RateLimitLayer::with_limiter(key, limiter);
    let handle = layer.handle();
    let service = layer.layer(Recorder::default());
    let mut admitted = 0;
    for n in 0..500 {
        let method = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m{n}"}}"#);
        for body in [method, call(&format!(r#""t{n}""#))] {
            admitted += u32::from(ask(&service, message(&alice, &body)).await.status == 200);
        }
    }
    assert_eq!(admitted, 1);
    assert_eq!(handle.stats().limiter.keys, 1);
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 200);
    assert_eq!(ask(&service, message(&alice, LIST)).await.status, 429);
    assert_eq!(ask(&service, message(&bob, LIST)).await.status, 200);
}

#[test]
fn tuple_is_all_of_its_keys() {
    let key = (ByPrincipal, ByTool::new(["one", "other"]));
    let of = |who: &str, tool: &str| {
        let mut request = reading(&call(tool));
        request.extensions_mut().insert(principal(who, &[]));
        hash(&key, &request).expect("all is there")
    };
    let all = [
        of("alice", r#""one""#),
        of("alice", r#""other""#),
        of("bob", r#""one""#),
    ];
    assert_eq!(all[0], of("alice", r#""one""#));
    assert!(all[0] != all[1] && all[0] != all[2] && all[1] != all[2]);
}

/// Without a peer, all would be one; so nobody is let in.
#[tokio::test]
async fn request_without_a_key_gets_500_and_goes_no_further() {
    let inner = Recorder::default();
    let layer = RateLimitLayer::new(ByPeer::new(), quota(1, Duration::from_secs(1)));
    let handle = layer.handle();
    let service = layer.layer(inner.clone());
    let had = ask(&service, post("")).await;
    assert_eq!(had.status, 500);
    assert_eq!(
        had.body,
        r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"internal error","data":{"source":"shadowcat"}}}"#
    );
    assert!(!inner.was_asked());
    let stats = handle.stats();
    assert_eq!((stats.keyless_total, stats.limiter.allowed_total), (1, 0));
}

#[tokio::test]
async fn function_is_a_key() {
    #[derive(Clone)]
    struct Tenant(String);

    let tenants = key_fn(|caller| match caller.extensions().get::<Tenant>() {
        Some(Tenant(name)) => Ok(name.clone()),
        None => Err(KeyError::missing("Tenant")),
    });
    let (limiter, _) = limiter(quota(1, Duration::from_secs(1)));
    let service = RateLimitLayer::with_limiter(tenants, limiter).layer(Recorder::default());
    let of = |tenant: &str| {
        let mut request = post("");
        request.extensions_mut().insert(Tenant(tenant.to_owned()));
        request
    };
    for (tenant, status) in [("acme", 200), ("acme", 429), ("other", 200)] {
        assert_eq!(ask(&service, of(tenant)).await.status, status, "{tenant}");
    }
    assert_eq!(ask(&service, post("")).await.status, 500);
    assert!(format!("{service:?}").contains("KeyFn"));
}
