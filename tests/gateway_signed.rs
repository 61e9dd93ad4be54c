//! The gateway example with signed tokens, as its clients see it on the wire.

mod gateway_process;
mod jwt_support;

use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use gateway_process::{
    Gateway,
    client::{CALL, INITIALIZE, TempFile, answering, bearer, challenge, get, post, session},
};
use jwt_support::{AUDIENCE, ISSUER, claims_with, signer::Signer};

/// Starts one for signed tokens, with more flags.
fn start_signed(signer: &Signer, audience: &str, more: &[&str]) -> Gateway {
    static COUNT: AtomicUsize = AtomicUsize::new(0);

    let nth = COUNT.fetch_add(1, SeqCst);
    // Read before it says that it listens.
    let jwks = TempFile::new(&format!("jwks-{nth}"), &jwt_support::jwks([signer]));
    let flags = ["--jwks", jwks.path(), "--issuer", ISSUER];
    Gateway::start(&[&flags[..], &["--audience", audience], more].concat())
}

#[test]
fn client_is_led_from_a_401_to_a_call() {
    let signer = Signer::ed("one");
    let rules = ["tools/*=tools", "*=mcp", "tools/call:count=count"];
    let rules = rules.map(|rule| ["--require-scope", rule]);
    let gateway = start_signed(&signer, AUDIENCE, rules.as_flattened());
    let answer = post(&gateway, "", CALL);
    assert!(
        answer.starts_with("HTTP/1.1 401 Unauthorized\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\"code\":-31401"), "{answer}");
    let url = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
    // AUT-6, AUT-9: what is of use at all, and not what one tool needs.
    assert_eq!(
        challenge(&answer),
        format!(r#"Bearer scope="tools mcp", resource_metadata="{url}""#)
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
        for member in [
            format!(r#""resource":"{AUDIENCE}""#),
            format!(r#""authorization_servers":["{ISSUER}"]"#),
            r#""scopes_supported":["tools","mcp"]"#.to_owned(),
        ] {
            assert!(document.contains(&member), "{document}");
        }
    }

    // AUT-7: the call needs more, and is told so, and where.
    let token = |scopes: &str| signer.token(&claims_with("scope", scopes.into()));
    let first = token("mcp tools");
    let session = session(&gateway, &first);
    let answer = post(&gateway, &format!("{}{session}", bearer(&first)), CALL);
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{answer}");
    let rest = format!(r#"scope="mcp tools count", resource_metadata="{url}""#);
    assert!(challenge(&answer).ends_with(&rest), "{answer}");
    let second = bearer(&token("mcp tools count"));
    let answer = post(&gateway, &format!("{second}{session}"), CALL);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("counted to 1"), "{answer}");

    // What everything needs, a GET does too.
    let fields = format!("Host: localhost\r\n{}{session}", bearer(&token("tools")));
    let answer = get(&gateway, "/mcp", &fields);
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

/// A client asks for a token for what the document names (RFC 8707), which is not what was written.
#[test]
fn aut_11_audience_is_accepted_as_it_is_published() {
    let signer = Signer::ed("one");
    for (audience, resource) in [
        ("HTTPS://MCP.example.com/mcp", "https://mcp.example.com/mcp"),
        ("https://mcp.example.com/", "https://mcp.example.com"),
    ] {
        let gateway = start_signed(&signer, audience, &[]);
        let path = "/.well-known/oauth-protected-resource";
        let document = get(&gateway, path, "Host: mcp.example.com\r\n");
        let published = format!(r#""resource":"{resource}""#);
        assert!(document.contains(&published), "{document}");
        for (aud, status) in [
            (resource, "200"),
            (audience, "200"),
            ("https://mcp.example.com/other", "401"),
        ] {
            let token = signer.token(&claims_with("aud", aud.into()));
            let answer = post(&gateway, &bearer(&token), INITIALIZE);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{audience} {aud}: {answer}");
        }
    }
}

#[test]
fn keys_are_fetched_before_the_first_token_comes() {
    let signer = Signer::ed("one");
    let jwks = jwt_support::jwks([&signer]);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{jwks}",
        jwks.len()
    );
    let (address, fetched) = answering(vec![answer]);
    let url = format!("http://{address}/keys");
    let flags = ["--issuer", ISSUER, "--audience", AUDIENCE];
    let gateway = Gateway::start(&[&["--jwks", &*url], &flags[..]].concat());
    let limit = Duration::from_secs(10);
    fetched.recv_timeout(limit).expect("nobody asks for keys");
    // There is no second answer.
    let token = signer.token(&jwt_support::claims());
    let answer = post(&gateway, &bearer(&token), INITIALIZE);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn metadata_have_a_head_and_a_preflight() {
    let gateway = start_signed(&Signer::ed("one"), AUDIENCE, &[]);
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

#[test]
fn audience_names_the_server_as_clients_know_it() {
    let audience = "https://mcp.example.com/public/mcp";
    let gateway = start_signed(&Signer::ed("one"), audience, &["--token", "t=alice"]);
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
