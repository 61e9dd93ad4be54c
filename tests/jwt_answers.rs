//! From where keys are fetched, and which answers are taken for keys.

mod jwt_support;

use std::error::Error;
use std::sync::Arc;

use jwt_support::issuer::{Answer, KeyServer, ok};
use jwt_support::signer::Signer;
use jwt_support::{authorizer, claims, decide, jwks};
use shadowcat::auth::jwt::{JwksUrl, JwtErrorKind};

fn at(server: &KeyServer) -> JwksUrl {
    JwksUrl::loopback(&server.url()).expect("a URL of this machine")
}

/// Why there are no keys, in the words of whoever fetched them.
async fn failure(answer: Answer) -> JwtErrorKind {
    let server = KeyServer::start(answer).await;
    let authorizer = authorizer(at(&server));
    let error = authorizer.fetch_keys().await.expect_err("no keys");
    assert_eq!(server.requests(), 1);
    assert_eq!(authorizer.stats().keys, 0);
    error.kind()
}

#[tokio::test]
async fn t23_b57_answers_that_are_no_keys() {
    let set = jwks([&Signer::ed("k")]);
    let other = KeyServer::start(Answer::Document(set.clone())).await;
    for status in [
        "301 Moved",
        "302 Found",
        "303 See",
        "307 There",
        "308 There",
    ] {
        let redirect = format!(
            "HTTP/1.1 {status}\r\nlocation: {}\r\ncontent-length: {}\r\n\r\n{set}",
            other.url(),
            set.len(),
        );
        assert_eq!(
            failure(Answer::Raw(redirect.into_bytes())).await,
            JwtErrorKind::Fetch
        );
    }
    assert_eq!(other.requests(), 0, "redirects are not followed");
    for status in [
        "201 Created",
        "204 Nothing",
        "206 Part",
        "404 Not Found",
        "503 Later",
    ] {
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{set}",
            set.len()
        );
        assert_eq!(
            failure(Answer::Raw(answer.into_bytes())).await,
            JwtErrorKind::Fetch
        );
    }
    let html = Answer::Document("<!doctype html>".to_owned());
    assert_eq!(failure(html).await, JwtErrorKind::Keys);
    let cut = Answer::Raw(ok(&set)[..100].to_vec());
    assert_eq!(failure(cut).await, JwtErrorKind::Fetch);
    let smuggled = Answer::Raw(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec(),
    );
    assert_eq!(failure(smuggled).await, JwtErrorKind::Fetch);
}

#[tokio::test]
async fn t23_ten_megabytes_are_not_read() {
    let padding = " ".repeat(10 * 1024 * 1024);
    assert_eq!(
        failure(Answer::Document(padding.clone())).await,
        JwtErrorKind::Keys
    );
    // Also if nobody says how much it is, and it never ends.
    let endless = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{padding}").into_bytes();
    assert_eq!(failure(Answer::Stall(endless)).await, JwtErrorKind::Keys);
    let chunk = format!("40000\r\n{}\r\n", " ".repeat(0x40000));
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunked = format!("{head}{chunk}{chunk}").into_bytes();
    assert_eq!(failure(Answer::Stall(chunked)).await, JwtErrorKind::Keys);
    let long_head = format!("HTTP/1.1 200 OK\r\nx: {padding}").into_bytes();
    assert_eq!(failure(Answer::Stall(long_head)).await, JwtErrorKind::Fetch);
}

#[tokio::test]
async fn b57_a_name_that_leads_to_this_machine_is_not_connected_to() {
    let server = KeyServer::start(Answer::Document(jwks([&Signer::ed("k")]))).await;
    let port = server.port;
    // The last two are 127.0.0.1 to the system's resolver, and to no parser of ours.
    for host in ["localhost", "2130706433", "0x7f000001"] {
        let url = JwksUrl::new(&format!("https://{host}:{port}/keys")).expect("a name");
        let authorizer = authorizer(url.allow_private_addresses());
        let error = authorizer.fetch_keys().await.expect_err("not allowed");
        assert_eq!(error.kind(), JwtErrorKind::Url, "{host}");
    }
    let url = JwksUrl::new("https://10.255.255.1/keys").expect("it may be allowed");
    let error = authorizer(url).fetch_keys().await.expect_err("not allowed");
    assert_eq!(error.kind(), JwtErrorKind::Url, "without a connection");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_server_is_known_by_its_certificate() {
    let signer = Signer::ed("k");
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("one");
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("another");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = certified
        .signing_key
        .serialize_der()
        .try_into()
        .expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let server = KeyServer::start_tls(Answer::Document(jwks([&signer])), acceptor).await;

    let url = |host: &str| {
        JwksUrl::loopback(&format!("https://{host}:{}/keys", server.port)).expect("a URL")
    };
    let trusting = url("localhost")
        .with_root_certificates(&certified.cert.pem())
        .expect("a root");
    let trusted = authorizer(trusting);
    assert!(decide(&trusted, &signer.token(&claims())).await.is_ok());
    assert_eq!(server.requests(), 1);

    let mistrusting = url("localhost")
        .with_root_certificates(&other.cert.pem())
        .expect("a root");
    let error = authorizer(mistrusting)
        .fetch_keys()
        .await
        .expect_err("unknown");
    assert_eq!(error.kind(), JwtErrorKind::Fetch);
    let misnamed = url("127.0.0.1")
        .with_root_certificates(&certified.cert.pem())
        .expect("a root");
    let error = authorizer(misnamed)
        .fetch_keys()
        .await
        .expect_err("another name");
    assert_eq!(error.kind(), JwtErrorKind::Fetch);
    assert_eq!(server.requests(), 1);

    for pem in [
        "",
        "x",
        "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
    ] {
        let error = url("localhost")
            .with_root_certificates(pem)
            .expect_err("no root");
        assert_eq!(error.kind(), JwtErrorKind::Certificates);
    }
}

#[tokio::test]
async fn what_keeps_keys_away_is_told_to_the_operator_only() {
    let answer = Answer::Raw(
        b"HTTP/1.1 418 Teapot
content-length: 0

"
        .to_vec(),
    );
    let server = KeyServer::start(answer).await;
    let authorizer = authorizer(at(&server));
    let error = authorizer.fetch_keys().await.expect_err("no keys");
    let source = error.source().expect("a reason").to_string();
    assert_eq!(source, "the answer was 418 I'm a teapot");
    let token = Signer::ed("k").token(&claims());
    let rejection = decide(&authorizer, &token).await.expect_err("no keys");
    assert_eq!(rejection.to_string(), "tokens cannot be verified just now");
}
