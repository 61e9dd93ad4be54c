//! The gateway example with auth, as its clients see it on the wire.

mod gateway_process;

use gateway_process::{
    Gateway,
    client::{CALL, INITIALIZE, answering, bearer, challenge, get, post, session},
    command, read_until,
};

/// Who signs tokens, where that matters.
const ISSUER: &str = "https://login.example.com";
const AUDIENCE: &str = "https://mcp.example.com/mcp";

/// Alice may use tools, bob may not; a token may end in `=`.
const FLAGS: &[&str] = &[
    "--token",
    "alpha===alice:mcp:tools,mcp:read",
    "--token",
    "beta=bob",
    "--require-scope",
    "tools/call:count=mcp:tools",
];

/// Nobody gives such tokens out, and clients that were sent to look for who does have found nobody.
#[test]
fn tokens_that_were_named_have_no_metadata() {
    let gateway = Gateway::start(FLAGS);
    assert_eq!(challenge(&post(&gateway, "", CALL)), "Bearer");
    for path in [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource",
    ] {
        let answer = get(&gateway, path, "Host: localhost\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
    let session = session(&gateway, "alpha==");
    let answer = post(&gateway, &format!("{}{session}", bearer("alpha==")), CALL);
    assert!(answer.contains("counted to 1"), "{answer}");
}

/// What an upstream thinks of us was the client's business, and who it is sent to, too.
#[test]
fn b50_challenges_of_the_upstream_are_not_passed_on() {
    let answer = |status: &str| {
        format!(
            "HTTP/1.1 {status}\r\nwww-authenticate: Bearer error=\"insufficient_scope\", \
             resource_metadata=\"https://evil.example\"\r\nconnection: close\r\n\
             content-length: 0\r\n\r\n"
        )
    };
    let answers = ["401 Unauthorized", "403 Forbidden"].map(answer);
    let (upstream, _) = answering(answers.into());
    let url = format!("http://{upstream}/mcp");
    let gateway = Gateway::start(&["--upstream", &url, "--token", "t=alice"]);
    let ping = r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#;
    let body = ping.replace(r#""ping""#, r#""initialize","params":{}"#);
    for status in ["502 Bad Gateway", "403 Forbidden"] {
        let answer = post(&gateway, &bearer("t"), &body);
        let expected = format!("HTTP/1.1 {status}\r\n");
        assert!(answer.starts_with(&expected), "{answer}");
        assert!(!answer.contains("www-authenticate: "), "{answer}");
        if status.starts_with("502") {
            // PRX-12: it is the answer to that request.
            let error = r#"{"jsonrpc":"2.0","id":"p","error":{"code":-31502,"#;
            assert!(answer.contains(error), "{answer}");
        }
    }
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
        ("Authorization: Basic YTpi\r\n".to_owned(), "401", "Bearer"),
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
    assert_eq!(challenge(&refused), "Bearer");
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

/// A page of this machine may call, and no page of others; neither has a token to send with that.
#[test]
fn aut_1_preflight_is_not_asked_for_a_token_where_no_origin_is_listed() {
    let gateway = Gateway::start(FLAGS);
    for origin in ["http://localhost:5173", "https://other.example"] {
        let preflight = gateway.exchange(&format!(
            "OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
        ));
        assert!(preflight.starts_with("HTTP/1.1 200 OK\r\n"), "{preflight}");
        // It may not read what it is answered, and so a browser does not let it call.
        assert!(
            !preflight.contains("access-control-allow-origin"),
            "{preflight}"
        );
    }
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
        (&["--audience", "https://h/mcp"], "--jwks <URL_OR_FILE>"),
        (
            &["--token", "s3cret=a", "--audience", "https://h/mcp"],
            "--jwks <URL_OR_FILE>",
        ),
        (
            &[
                "--jwks",
                "k",
                "--issuer",
                ISSUER,
                "--audience",
                "http://h/mcp",
            ],
            "--audience: the resource",
        ),
        (
            &["--token", "s3cret=a", "--require-scope", "ping=*"],
            "--require-scope ping=*: a scope is",
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
            "--issuer: an authorization server",
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
