//! The gateway example with auth, as its clients see it on the wire.

mod gateway_process;
mod jwt_support;

use std::{fs, path::PathBuf};

use gateway_process::{Gateway, command, read_until};
use jwt_support::{AUDIENCE, ISSUER, claims_with, signer::Signer};

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"count","arguments":{"steps":1},"_meta":{"progressToken":"p"}}}"#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;

/// Alice may use tools, bob may not; a token may end in `=`.
const FLAGS: &[&str] = &[
    "--token",
    "alpha===alice:mcp:tools,mcp:read",
    "--token",
    "beta=bob",
    "--require-scope",
    "tools/call:count=mcp:tools",
];

/// What is answered to `POST /mcp` with those fields, whole.
fn post(gateway: &Gateway, fields: &str, body: &str) -> String {
    gateway.exchange(&format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n\
         Connection: close\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ))
}

fn get(gateway: &Gateway, path: &str, fields: &str) -> String {
    gateway.exchange(&format!(
        "GET {path} HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
    ))
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

/// The session that `token` opens.
fn session(gateway: &Gateway, token: &str) -> String {
    let answer = post(gateway, &bearer(token), INITIALIZE);
    let (_, rest) = answer.split_once("mcp-session-id: ").expect("a session");
    let (id, _) = rest.split_once("\r\n").expect("a field");
    format!("Mcp-Session-Id: {id}\r\n")
}

fn challenge(answer: &str) -> &str {
    let (_, rest) = answer
        .split_once("www-authenticate: ")
        .unwrap_or_else(|| panic!("no challenge in {answer}"));
    rest.split_once("\r\n").expect("a field").0
}

#[test]
fn client_is_led_from_a_401_to_a_call() {
    let gateway = Gateway::start(FLAGS);
    let answer = post(&gateway, "", CALL);
    assert!(
        answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\"code\":-31401"), "{answer}");
    let url = format!(
        "http://{}/.well-known/oauth-protected-resource/mcp",
        gateway.address
    );
    assert_eq!(
        challenge(&answer),
        format!(r#"Bearer resource_metadata="{url}""#)
    );

    // AUT-3: for anyone, whatever they name as the host, and whatever page they are.
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ] {
        let fields = "Host: elsewhere.example\r\nOrigin: https://page.example\r\n";
        let document = get(&gateway, path, fields);
        assert!(document.starts_with("HTTP/1.1 200 OK\r\n"), "{document}");
        assert!(document.contains("access-control-allow-origin: *\r\n"));
        let resource = format!(r#""resource":"http://{}/mcp""#, gateway.address);
        assert!(document.contains(&resource), "{document}");
    }

    let session = session(&gateway, "alpha==");
    let answer = post(&gateway, &format!("{}{session}", bearer("alpha==")), CALL);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("counted to 1"), "{answer}");
}

#[test]
fn each_wrong_token_is_answered_as_what_it_is() {
    let gateway = Gateway::start(FLAGS);
    for (fields, status, error) in [
        (bearer("unknown"), "401", r#"error="invalid_token""#),
        (bearer("alpha"), "401", r#"error="invalid_token""#),
        (bearer("alpha== x"), "401", r#"error="invalid_token""#),
        (
            format!("{}{}", bearer("beta"), bearer("beta")),
            "400",
            r#"error="invalid_request""#,
        ),
        (
            "Authorization: Basic YTpi\r\n".to_owned(),
            "401",
            "Bearer resource_metadata",
        ),
    ] {
        let answer = post(&gateway, &fields, CALL);
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(challenge(&answer).contains(error), "{answer}");
    }
    // AUT-1: whatever the method; and the session is no credential (SES-6).
    let session = session(&gateway, "beta");
    let listen = get(&gateway, "/mcp", &format!("Host: localhost\r\n{session}"));
    assert!(listen.starts_with("HTTP/1.1 401 "), "{listen}");
    // Health is nobody's secret.
    let health = get(&gateway, "/healthz", "Host: localhost\r\n");
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
}

#[test]
fn a22_body_that_is_announced_is_not_asked_for_if_the_token_is_wrong() {
    let gateway = Gateway::start(FLAGS);
    let answer = gateway.exchange(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer unknown\r\n\
         Expect: 100-continue\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn metadata_have_a_head_and_a_preflight() {
    let gateway = Gateway::start(FLAGS);
    for (method, status, length) in [("HEAD", "200", true), ("OPTIONS", "204", false)] {
        let answer = gateway.exchange(&format!(
            "{method} /.well-known/oauth-protected-resource/mcp HTTP/1.1\r\n\
             Host: localhost\r\nConnection: close\r\n\r\n"
        ));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
        let says_length = answer.contains("content-length: ") && !answer.contains(": 0\r\n");
        assert_eq!(says_length, length, "{answer}");
    }
}

/// A preflight carries no token: auth in front of it would lock every page out.
#[test]
fn org_6_page_of_a_listed_origin_gets_its_preflight_and_reads_its_401() {
    let flags = [FLAGS, &["--allow-origin", "https://app.example"]].concat();
    let gateway = Gateway::start(&flags);
    let allowed = "access-control-allow-origin: https://app.example\r\n";
    let page = "Origin: https://app.example\r\n";

    let preflight = gateway.exchange(&format!(
        "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\n{page}Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: authorization,mcp-session-id\r\nConnection: close\r\n\r\n"
    ));
    assert!(preflight.starts_with("HTTP/1.1 200 OK\r\n"), "{preflight}");
    assert!(preflight.contains(allowed), "{preflight}");
    assert!(
        preflight.contains("access-control-allow-headers: authorization,mcp-session-id\r\n"),
        "{preflight}"
    );

    let refused = post(&gateway, page, CALL);
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    assert!(refused.contains(allowed), "{refused}");
    assert!(challenge(&refused).contains("resource_metadata="));
    assert!(
        refused.contains("access-control-expose-headers: mcp-session-id,www-authenticate,retry-after,ratelimit,ratelimit-policy\r\n"),
        "{refused}"
    );

    let answer = post(&gateway, &format!("{page}{}", bearer("beta")), INITIALIZE);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains(allowed), "{answer}");

    // Nobody else's page gets as far as the token.
    let page = "Origin: https://other.example\r\n";
    let refused = post(&gateway, &format!("{page}{}", bearer("beta")), INITIALIZE);
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(
        !refused.contains("access-control-allow-origin"),
        "{refused}"
    );
}

#[test]
fn aut_7_scope_that_is_missing_for_one_tool_is_named() {
    let gateway = Gateway::start(FLAGS);
    let session = session(&gateway, "beta");
    let answer = post(&gateway, &format!("{}{session}", bearer("beta")), CALL);
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    let challenge = challenge(&answer);
    assert!(
        challenge.starts_with(r#"Bearer error="insufficient_scope", "#),
        "{challenge}"
    );
    assert!(challenge.contains(r#"scope="mcp:tools""#), "{challenge}");
    assert!(answer.contains(r#"{"jsonrpc":"2.0","id":7,"#), "{answer}");
}

#[test]
fn b01_session_of_somebody_else_is_none() {
    let gateway = Gateway::start(FLAGS);
    let session = session(&gateway, "beta");
    let list = |token: &str| {
        let body = r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#;
        post(&gateway, &format!("{}{session}", bearer(token)), body)
    };
    assert!(list("alpha==").starts_with("HTTP/1.1 404 "));
    assert!(list("beta").starts_with("HTTP/1.1 200 "));
}

#[test]
fn audience_names_the_server_as_clients_know_it() {
    let gateway = Gateway::start(&[
        "--token",
        "t=alice",
        "--audience",
        "https://mcp.example.com/public/mcp",
    ]);
    let url = "https://mcp.example.com/.well-known/oauth-protected-resource/public/mcp";
    let answer = post(&gateway, "", CALL);
    assert_eq!(
        challenge(&answer),
        format!(r#"Bearer resource_metadata="{url}""#)
    );
    for (path, status) in [
        ("/.well-known/oauth-protected-resource/public/mcp", "200"),
        ("/.well-known/oauth-protected-resource", "200"),
        ("/.well-known/oauth-protected-resource/mcp", "404"),
    ] {
        let answer = get(&gateway, path, "Host: mcp.example.com\r\n");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
}

/// A file that is gone with its test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shadowcat-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("a temporary directory");
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // Whether it is there or not, it is in nobody's way.
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn signed_tokens_are_verified_next_to_named_ones() {
    let (signer, other) = (Signer::ed("one"), Signer::ed("one"));
    let jwks = TempFile::new("gateway-jwks", &jwt_support::jwks([&signer]));
    let gateway = Gateway::start(&[
        "--jwks",
        jwks.path(),
        "--issuer",
        ISSUER,
        "--audience",
        AUDIENCE,
        "--token",
        "named=bob",
        "--require-scope",
        "tools/call:count=tools:call",
    ]);
    let good = signer.token(&jwt_support::claims());
    let session = session(&gateway, &good);
    let call = |token: &str| post(&gateway, &format!("{}{session}", bearer(token)), CALL);
    let answer = call(&good);
    assert!(answer.contains("counted to 1"), "{answer}");
    // The session is alice's, whatever token of hers is the last one (B05).
    let fresh = signer.token(&claims_with("jti", "2".into()));
    assert!(call(&fresh).contains("counted to 1"));
    let less = signer.token(&claims_with("scope", "tools:read".into()));
    let answer = call(&less);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
    let bob = signer.token(&claims_with("sub", "bob".into()));
    let answer = call(&bob);
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");

    for token in [
        signer.token(&claims_with("aud", "https://other.example.com".into())),
        signer.token(&claims_with("iss", "https://evil.example.com".into())),
        signer.token(&claims_with("exp", (jwt_support::now() - 61).into())),
        other.token(&jwt_support::claims()),
    ] {
        let answer = call(&token);
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
        let challenge = challenge(&answer);
        assert!(
            challenge.contains(r#"error="invalid_token""#),
            "{challenge}"
        );
    }

    // Bob is known by his other token too, and is another principal there (B03).
    assert!(post(&gateway, &bearer("named"), INITIALIZE).starts_with("HTTP/1.1 200 "));
    let path = "/.well-known/oauth-protected-resource/mcp";
    let document = get(&gateway, path, "Host: mcp.example.com\r\n");
    let server = format!(r#""authorization_servers":["{ISSUER}"]"#);
    assert!(document.contains(&server), "{document}");
}

#[test]
fn without_tokens_nothing_changes() {
    let gateway = Gateway::start(&[]);
    let session = gateway.initialize();
    read_until(&mut gateway.count(&session, 1, "none"), "counted to 1");
    let document = get(
        &gateway,
        "/.well-known/oauth-protected-resource",
        "Host: localhost\r\n",
    );
    assert!(document.starts_with("HTTP/1.1 404 "), "{document}");
}

#[test]
fn senseless_flags_are_refused_and_no_token_is_repeated() {
    // TEST-NET-1: no machine has that address, so nobody listens there.
    let elsewhere = &["--listen", "192.0.2.1:0"];
    let anyone = "anyone who reaches the gateway";
    for (flags, needle) in [
        (
            &["--token", "s3cret"][..],
            "--token number 1: expected TOKEN=",
        ),
        (&["--token", "s3cret="], "--token number 1: the subject"),
        (&["--token", "s3cret=:a"], "--token number 1: the subject"),
        (
            &["--token", "=alice"],
            "--token number 1: the token is empty",
        ),
        (
            &["--token", "s3 cret=alice"],
            "--token number 1: a token is",
        ),
        (
            &["--token", "s3cret=alice:"],
            "--token number 1: a scope is",
        ),
        (
            &["--token", "s3cret=alice:a,,b"],
            "--token number 1: a scope",
        ),
        (
            &["--token", "s3cret=alice", "--token", "s3cret=bob"],
            "--token number 2: the token was added before",
        ),
        (
            &["--token", "s3cret=alice", "--insecure-no-auth"],
            "--insecure-no-auth excludes",
        ),
        (&["--require-scope", "tools/call=x"], "needs a --token"),
        (&["--audience", "https://h/mcp"], "needs a --token"),
        (
            &["--token", "s3cret=a", "--audience", "http://h/mcp"],
            "--audience: the resource",
        ),
        (
            &["--token", "s3cret=a", "--require-scope", "tools/call"],
            "--require-scope tools/call: expected",
        ),
        (
            &["--token", "s3cret=a", "--require-scope", "ping:x=y"],
            "--require-scope ping:x=y: only",
        ),
        (&["--jwks", "keys.json"], "--issuer <URL>"),
        (&["--issuer", ISSUER], "--jwks <URL_OR_FILE>"),
        (
            &[
                "--jwks",
                "/no/such/file",
                "--issuer",
                ISSUER,
                "--audience",
                AUDIENCE,
            ],
            "--jwks /no/such/file: ",
        ),
        (
            &[
                "--jwks",
                "http://h/k",
                "--issuer",
                ISSUER,
                "--audience",
                AUDIENCE,
            ],
            "--jwks http://h/k: ",
        ),
        (
            &[
                "--jwks",
                "https://h/k",
                "--issuer",
                "http://h",
                "--audience",
                AUDIENCE,
            ],
            "http://h: ",
        ),
        (&[], anyone),
        (&["--insecure-no-auth"], "cannot listen on 192.0.2.1:0"),
        (&["--token", "s3cret=a"], "cannot listen on 192.0.2.1:0"),
    ] {
        let output = command().args(elsewhere).args(flags).output();
        let output = output.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{flags:?} was accepted");
        assert!(error.contains(needle), "{flags:?}: {error}");
        assert!(!error.contains("s3"), "{flags:?}: {error}");
    }
}
