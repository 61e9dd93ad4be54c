//! Which keys are accepted.

mod jwt_support;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jwt_support::signer::{Signer, encode};
use jwt_support::{authorizer, claims, decide_now, hold, jwks, pass, refusal, until};
use serde_json::{Value, json};
use shadowcat::auth::jwt::{Algorithm, Issuer, JwksUrl, JwtAuthorizer, JwtErrorKind, Keys};

/// Why a document is refused.
#[track_caller]
fn refused(document: &str) -> String {
    let error = Keys::from_jwks(document).expect_err("it is refused");
    assert_eq!(error.kind(), JwtErrorKind::Keys);
    error.source().expect("a reason").to_string()
}

fn with(mut jwk: Value, name: &str, value: Value) -> Value {
    jwk[name] = value;
    jwk
}

#[test]
fn t23_documents_that_are_refused() {
    const NO_SET: &str = "the document is no JSON Web Key Set";
    const NONE: &str = "no key of the document can verify tokens";

    let key = Signer::ed("k").jwk();
    let many: Vec<_> = (0..129)
        .map(|nth| Signer::ed(&nth.to_string()).jwk())
        .collect();
    let large = format!(r#"{{"keys":[{key}],"x":"{}"}}"#, " ".repeat(256 * 1024));
    for (document, reason) in [
        (String::new(), NO_SET),
        ("{}".to_owned(), NO_SET),
        ("[]".to_owned(), NO_SET),
        ("<!doctype html><title>Sign in</title>".to_owned(), NO_SET),
        (json!({"keys": {}}).to_string(), NO_SET),
        (json!({"keys": ["k"]}).to_string(), NO_SET),
        (key.to_string(), NO_SET),
        (format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#), NO_SET),
        (format!(r#"{{"keys":[{key}]}}{{}}"#), NO_SET),
        (json!({"keys": []}).to_string(), NONE),
        (
            json!({"keys": [key, key]}).to_string(),
            "two keys of the document have one name",
        ),
        (
            json!({"keys": many}).to_string(),
            "the document has more than 128 keys",
        ),
        (large, "the document is larger than 256 KiB"),
    ] {
        assert_eq!(refused(&document), reason, "{document:.80}");
    }
    let most: Vec<_> = many.into_iter().take(128).collect();
    assert!(Keys::from_jwks(&json!({"keys": most}).to_string()).is_ok());
}

#[test]
fn t23_keys_that_are_refused() {
    let rsa = Signer::new(Algorithm::Rs256, "k").bare_jwk();
    let ec = Signer::new(Algorithm::Es256, "k").jwk();
    let ed = Signer::ed("k").jwk();
    let number = |bytes: usize| {
        let mut number = vec![0xFF; bytes];
        number[0] = 0x80;
        json!(encode(number))
    };
    let mut shorter = vec![0xFF; 256];
    shorter[0] = 0x7F;
    let bad = [
        json!({"kty": "oct", "k": "AAAA", "alg": "HS256", "kid": "k"}),
        with(ed.clone(), "d", json!("AAAA")),
        with(rsa.clone(), "d", json!("AAAA")),
        with(rsa.clone(), "p", json!("AAAA")),
        with(ed.clone(), "use", json!("enc")),
        with(ed.clone(), "use", json!(1)),
        with(ed.clone(), "key_ops", json!(["sign"])),
        with(ed.clone(), "key_ops", json!("verify")),
        with(ed.clone(), "alg", json!("ES256")),
        with(ed.clone(), "alg", json!("HS256")),
        with(ed.clone(), "alg", json!("none")),
        with(ed.clone(), "kid", json!(1)),
        with(ed.clone(), "kid", json!("")),
        with(ed.clone(), "kty", json!("EC")),
        with(ed.clone(), "crv", json!("Ed448")),
        with(ed.clone(), "crv", json!("X25519")),
        with(ed.clone(), "x", json!(encode([1; 31]))),
        with(ed, "x", json!("not base64!")),
        with(ec.clone(), "crv", json!("secp256k1")),
        with(ec.clone(), "crv", json!("P-384")),
        with(ec.clone(), "crv", Value::Null),
        // No point of the curve.
        with(ec.clone(), "x", json!(encode([1; 32]))),
        with(ec.clone(), "y", json!(encode([0; 33]))),
        with(ec, "y", Value::Null),
        with(rsa.clone(), "n", number(64)),
        with(rsa.clone(), "n", json!(encode(shorter))),
        with(rsa.clone(), "n", number(1025)),
        with(rsa.clone(), "n", number(2048)),
        with(rsa.clone(), "n", json!("")),
        with(rsa.clone(), "n", json!(encode([0x80; 256]))),
        with(rsa.clone(), "e", json!(encode([1]))),
        with(rsa.clone(), "e", json!(encode([0]))),
        with(rsa.clone(), "e", json!(encode([4]))),
        with(rsa.clone(), "e", json!(encode([0xFF; 256]))),
        with(rsa, "alg", json!("ES256")),
    ];
    let good = Signer::ed("good");
    for key in bad {
        // Alone, it is none.
        let alone = Keys::from_jwks(&json!({"keys": [key]}).to_string());
        let issuer = alone.and_then(|keys| Issuer::new("https://a", "b", keys));
        let made = issuer.and_then(|issuer| JwtAuthorizer::new([issuer]));
        assert!(made.is_err(), "{key}");
        // And it does not harm others.
        let both = Keys::from_jwks(&json!({"keys": [key, good.jwk()]}).to_string());
        let authorizer = authorizer(both.expect("a good key"));
        assert_eq!(authorizer.stats().keys, 1, "{key}");
        assert!(decide_now(&authorizer, &good.token(&claims())).is_ok());
    }
}

#[test]
fn t23_sizes_of_rsa_keys_at_their_limits() {
    let bits = |bits: usize| {
        let mut number = vec![0xFF; bits / 8];
        number[0] = 0x80;
        json!({"keys": [{"kty": "RSA", "e": "AQAB", "n": encode(number)}]}).to_string()
    };
    assert!(Keys::from_jwks(&bits(2048)).is_ok());
    assert!(Keys::from_jwks(&bits(8192)).is_ok());
    assert!(Keys::from_jwks(&bits(2040)).is_err());
    assert!(Keys::from_jwks(&bits(8200)).is_err());
}

#[test]
fn one_public_key_in_pem() {
    let (one, two) = (Signer::ed("1"), Signer::new(Algorithm::Rs256, "2"));
    assert!(Keys::from_pem(&one.pem()).is_ok());
    let both = format!("{}{}", one.pem(), two.pem());
    let private = one.pem().replace("PUBLIC", "PRIVATE");
    let broken = one.pem().replace("MCow", "MCox");
    for text in ["", "x", &both, &private, &broken, &jwks([&one])] {
        let error = Keys::from_pem(text).expect_err("it is refused");
        assert_eq!(error.kind(), JwtErrorKind::Keys, "{text}");
    }
}

#[test]
fn keys_that_are_for_none_of_the_algorithms_are_refused() {
    let keys = jwt_support::keys([&Signer::ed("k")]);
    let issuer = jwt_support::issuer(keys).with_algorithms([Algorithm::Rs256]);
    let error = JwtAuthorizer::new([issuer.expect("one")]).expect_err("no key");
    assert_eq!(error.kind(), JwtErrorKind::Keys);
}

/// A file that is gone when this is dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shadowcat-{}-{name}", std::process::id()));
        fs::write(&path, text).expect("written");
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone = fs::remove_file(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn c68_a_file_is_read_again_when_a_key_is_unknown() {
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let file = File::new("rotated", &jwks([&old]));
    let authorizer = authorizer(Keys::from_file(&file.0).expect("keys"));
    assert!(decide_now(&authorizer, &old.token(&claims())).is_ok());

    fs::write(&file.0, jwks([&new])).expect("written");
    let found = jwt_support::decide(&authorizer, &new.token(&claims())).await;
    assert!(found.is_ok());
    assert_eq!(authorizer.stats().fetches_total, 1);
    // The verdict of the key that is gone went with it (T27).
    let gone = refusal(decide_now(&authorizer, &old.token(&claims())));
    assert_eq!(gone, "the token is signed with a key that is not known");

    // What is no good changes nothing.
    fs::write(&file.0, "{}").expect("written");
    tokio::time::advance(JwksUrl::COOLDOWN).await;
    let unknown = jwt_support::decide(&authorizer, &old.token(&claims())).await;
    assert!(unknown.is_err());
    assert_eq!(authorizer.stats().fetches_total, 2);
    assert!(decide_now(&authorizer, &new.token(&claims())).is_ok());
}

#[tokio::test(start_paused = true)]
async fn t27_a_file_is_read_again_from_time_to_time() {
    let _held = hold();
    let (old, new) = (Signer::ed("old"), Signer::ed("new"));
    let file = File::new("withdrawn", &jwks([&old, &new]));
    let authorizer = authorizer(Keys::from_file(&file.0).expect("keys"));
    let token = old.token(&claims());
    fs::write(&file.0, jwks([&new])).expect("written");
    pass(JwksUrl::DEFAULT_REFRESH - Duration::from_millis(1)).await;
    assert!(decide_now(&authorizer, &token).is_ok());
    assert_eq!(authorizer.stats().fetches_total, 0);
    pass(Duration::from_millis(1)).await;
    assert!(decide_now(&authorizer, &token).is_ok(), "not noticed yet");
    until(|| authorizer.stats().keys == 1).await;
    let gone = refusal(decide_now(&authorizer, &token));
    assert_eq!(gone, "the token is signed with a key that is not known");
    assert_eq!(authorizer.stats().fetches_total, 1);
}

#[test]
fn a_file_is_a_set_or_pem_or_refused_at_once() {
    let signer = Signer::ed("k");
    let pem = File::new("pem", &signer.pem());
    let authorizer = authorizer(Keys::from_file(&pem.0).expect("a key"));
    assert!(decide_now(&authorizer, &signer.token(&claims())).is_ok());
    let other = File::new("other", "hello");
    let error = Keys::from_file(&other.0).expect_err("no keys");
    assert_eq!(error.kind(), JwtErrorKind::Keys);
    let large = File::new("large", &" ".repeat(1024 * 1024));
    let error = Keys::from_file(&large.0).expect_err("too large");
    assert_eq!(
        error.source().expect("why").to_string(),
        "the document is larger than 256 KiB"
    );
    let error = Keys::from_file("/does/not/exist").expect_err("no file");
    assert_eq!(error.kind(), JwtErrorKind::File);
}

/// Whoever opens a pipe waits for somebody to write to it.
#[cfg(unix)]
#[test]
fn a_file_that_may_never_end_is_none() {
    let pipe = File::new("pipe", "");
    fs::remove_file(&pipe.0).expect("removed");
    let made = std::process::Command::new("mkfifo").arg(&pipe.0).status();
    assert!(made.expect("a POSIX system").success());
    let (said, heard) = mpsc::channel();
    let path = pipe.0.clone();
    thread::spawn(move || said.send(Keys::from_file(path).map(drop)));
    let read = heard.recv_timeout(Duration::from_secs(10));
    let error = read.expect("it hangs").expect_err("no file");
    assert_eq!(error.kind(), JwtErrorKind::File);
}

#[test]
fn b57_urls_that_are_refused_at_once() {
    for url in [
        "",
        "keys",
        "/keys",
        "file:///etc/passwd",
        "ftp://login.example.com/keys",
        "http://login.example.com/keys",
        "https://",
        "https://user:secret@login.example.com/keys",
        "https://login.example.com/keys#part",
        "https://127.0.0.1/keys",
        "https://127.1.2.3/keys",
        "https://[::1]/keys",
        "https://[::ffff:127.0.0.1]/keys",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/keys",
        "https://[fe80::1]/keys",
        "https://0.0.0.0/keys",
        "https://224.0.0.1/keys",
    ] {
        let error = JwksUrl::new(url).map(drop).expect_err(url);
        assert_eq!(error.kind(), JwtErrorKind::Url, "{url}");
    }
    for url in [
        "https://login.example.com/keys",
        "http://login.example.com/keys",
        "http://10.0.0.1/keys",
        "http://127.0.0.1.example.com/keys",
        "http://user@127.0.0.1/keys",
    ] {
        let error = JwksUrl::loopback(url).map(drop).expect_err(url);
        assert_eq!(error.kind(), JwtErrorKind::Url, "{url}");
    }
    for url in [
        "https://login.example.com/keys",
        "https://10.0.0.1:8443/keys",
        "https://1.1.1.1",
    ] {
        assert!(JwksUrl::new(url).is_ok(), "{url}");
    }
    for url in [
        "http://127.0.0.1:1/keys",
        "https://localhost/keys",
        "http://[::1]:1/keys",
    ] {
        assert!(JwksUrl::loopback(url).is_ok(), "{url}");
    }
}
