//! Which signed tokens are accepted, and whose they are.

mod jwt_support;

use jwt_support::signer::Signer;
use jwt_support::{
    AUDIENCE, ISSUER, authorizer, claims, claims_with, decide_now, issuer, jwks, keys, now, refusal,
};
use serde_json::{Value, json};
use shadowcat::auth::jwt::{Issuer, JwtAuthorizer};

const MALFORMED: &str = "the token is no signed JWT";
const HEADER: &str = "the header of the token is not valid";
const CRITICAL: &str = "the token has a critical header that is not known here";
const TYPE: &str = "the token is no access token";
const CLAIMS: &str = "the claims of the token are not valid";
const OTHER_ISSUER: &str = "the token is from an issuer that is not accepted";
const OTHER_AUDIENCE: &str = "the token is for another server";
const SUBJECT: &str = "the token says of nobody who it is";
const EXPIRED: &str = "the token has expired";
const NOT_YET: &str = "the token is not valid yet";
const SIGNATURE: &str = "the signature of the token is not valid";

#[test]
fn t12_other_forms_of_tokens_are_refused() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    let token = signer.token(&claims());
    let parts: Vec<_> = token.split('.').collect();
    for other in [
        parts[..2].join("."),
        format!("{token}."),
        format!("{token}.{}", parts[2]),
        format!("{token}.{}.{}", parts[1], parts[2]),
        format!(".{}.{}", parts[1], parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}=="),
        "a".repeat(100),
    ] {
        assert_eq!(
            refusal(decide_now(&authorizer, &other)),
            MALFORMED,
            "{other}"
        );
    }
    let nested = signer.token_of_texts(&signer.header().to_string(), &token);
    assert_eq!(refusal(decide_now(&authorizer, &nested)), CLAIMS);
    let mut header = signer.header();
    header["crit"] = json!(["exp"]);
    let critical = signer.token_of(&header, &claims());
    assert_eq!(refusal(decide_now(&authorizer, &critical)), CRITICAL);
    let long = signer.token(&claims_with("x", "a".repeat(16 * 1024).into()));
    assert_eq!(
        refusal(decide_now(&authorizer, &long)),
        "the token is too long"
    );
}

#[test]
fn t14_claims_that_can_be_read_in_two_ways_are_refused() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    let good = claims().to_string();
    let inside = good.strip_suffix('}').expect("an object");
    let deep = format!(
        r#"{inside},"x":{}{}}}"#,
        "[".repeat(3_000),
        "]".repeat(3_000)
    );
    for text in [
        format!(r#"{inside},"sub":"bob"}}"#),
        format!(r#"{inside},"\u0073ub":"bob"}}"#),
        format!(r#"{inside},"x":{{"y":1,"y":2}}}}"#),
        format!("[{good}]"),
        format!("{good}{good}"),
        inside.to_owned(),
        "null".to_owned(),
        deep,
    ] {
        let token = signer.token_of_texts(&signer.header().to_string(), &text);
        assert_eq!(refusal(decide_now(&authorizer, &token)), CLAIMS);
    }
    let header = r#"{"alg":"EdDSA","alg":"EdDSA","kid":"k","typ":"JWT"}"#;
    let token = signer.token_of_texts(header, &good);
    assert_eq!(refusal(decide_now(&authorizer, &token)), HEADER);
}

/// The cheapest token to make was the dearest to refuse.
#[test]
fn c61_tokens_of_very_many_values_are_refused() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    let many = |count: usize| signer.token(&claims_with("groups", vec!["g"; count].into()));
    let principal = decide_now(&authorizer, &many(1_000)).expect("a good token");
    let claims = principal.claims().expect("a signed token");
    assert_eq!(claims.matches(r#""g""#).count(), 1_000, "all is kept");
    assert_eq!(refusal(decide_now(&authorizer, &many(1_024))), CLAIMS);
    for (count, is_good) in [(128, true), (129, false)] {
        for scopes in [json!("s ".repeat(count)), json!(vec!["s"; count])] {
            let token = signer.token(&claims_with("scope", scopes));
            let decided = decide_now(&authorizer, &token);
            assert_eq!(decided.is_ok(), is_good, "{count}");
        }
    }
    let mut header = signer.header();
    header["x"] = vec!["x"; 1_024].into();
    let token = signer.token_of(&header, &jwt_support::claims());
    assert_eq!(refusal(decide_now(&authorizer, &token)), HEADER);
}

#[test]
fn t16_times_are_judged_by_the_clock_of_the_wall() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    let minute = 60;
    for (name, value, refused) in [
        ("exp", json!(now() - minute - 5), Some(EXPIRED)),
        ("exp", json!(now() - minute + 30), None),
        ("exp", Value::Null, Some(CLAIMS)),
        ("exp", json!("9999999999"), Some(CLAIMS)),
        ("nbf", json!(now() + minute + 30), Some(NOT_YET)),
        ("nbf", json!(now() + minute - 30), None),
        ("nbf", json!("0"), Some(CLAIMS)),
        ("iat", json!(now() + minute + 30), Some(NOT_YET)),
        ("iat", Value::Null, None),
        ("iat", json!([]), Some(CLAIMS)),
    ] {
        let token = signer.token(&claims_with(name, value.clone()));
        let decided = decide_now(&authorizer, &token);
        match refused {
            None => assert!(decided.is_ok(), "{name} {value}"),
            Some(refused) => assert_eq!(refusal(decided), refused, "{name} {value}"),
        }
    }
}

#[test]
fn t17_an_issuer_is_compared_byte_by_byte() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    for iss in [
        json!("https://login.example.com/"),
        json!("https://LOGIN.example.com"),
        json!("HTTPS://login.example.com"),
        json!("https://login.example.com:443"),
        json!("https://user@login.example.com"),
        json!("https://login.example.com.evil.example"),
        json!("https://lоgin.example.com"),
        json!("http://login.example.com"),
        json!(" https://login.example.com"),
        json!(""),
        Value::Null,
    ] {
        let token = signer.token(&claims_with("iss", iss.clone()));
        assert_eq!(
            refusal(decide_now(&authorizer, &token)),
            OTHER_ISSUER,
            "{iss}"
        );
    }
    for iss in [json!([ISSUER]), json!(1)] {
        let token = signer.token(&claims_with("iss", iss.clone()));
        assert_eq!(refusal(decide_now(&authorizer, &token)), CLAIMS, "{iss}");
    }
}

#[test]
fn t18_t19_t21_what_a_token_must_say() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    for (name, value, refused) in [
        ("aud", Value::Null, OTHER_AUDIENCE),
        ("aud", json!([]), OTHER_AUDIENCE),
        ("aud", json!("https://mcp.example.com"), OTHER_AUDIENCE),
        ("aud", json!("https://mcp.example.com/mcp/"), OTHER_AUDIENCE),
        ("aud", json!("https://MCP.example.com/mcp"), OTHER_AUDIENCE),
        ("aud", json!(["a", "b"]), OTHER_AUDIENCE),
        ("aud", json!(1), CLAIMS),
        ("aud", json!([AUDIENCE, 1]), CLAIMS),
        ("sub", Value::Null, SUBJECT),
        ("sub", json!(""), SUBJECT),
        ("sub", json!("   "), SUBJECT),
        ("sub", json!("a".repeat(2_000)), SUBJECT),
        ("sub", json!(7), CLAIMS),
        ("scope", json!(7), CLAIMS),
    ] {
        let token = signer.token(&claims_with(name, value.clone()));
        assert_eq!(
            refusal(decide_now(&authorizer, &token)),
            refused,
            "{name} {value}"
        );
    }
    let token = signer.token(&claims_with("aud", json!(["other", AUDIENCE])));
    assert!(decide_now(&authorizer, &token).is_ok());
    for (typ, name, refused) in [
        (json!("JWT"), "nonce", true),
        (json!("JWT"), "at_hash", true),
        (json!("JWT"), "x", false),
        (json!("logout+jwt"), "x", true),
        (json!("rt+jwt"), "x", true),
        (Value::Null, "x", true),
        (json!("at+jwt"), "nonce", false),
    ] {
        let mut header = signer.header();
        header["typ"] = typ.clone();
        if typ.is_null() {
            header.as_object_mut().expect("an object").remove("typ");
        }
        let decided = decide_now(
            &authorizer,
            &signer.token_of(&header, &claims_with(name, json!("v"))),
        );
        match refused {
            false => assert!(decided.is_ok(), "{typ} {name}"),
            true => assert_eq!(refusal(decided), TYPE, "{typ} {name}"),
        }
    }
}

#[test]
fn t20_scopes_are_whole_words() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    for (name, value, scopes) in [
        ("scope", json!("readwrite"), vec!["readwrite"]),
        ("scope", json!("read,write"), vec!["read,write"]),
        ("scope", Value::Null, vec![]),
    ] {
        let token = signer.token(&claims_with(name, value));
        let principal = decide_now(&authorizer, &token).expect("a good token");
        assert_eq!(principal.scopes().collect::<Vec<_>>(), scopes);
        assert!(!principal.has_scope("read"));
    }
    let mut claims = claims_with("scope", Value::Null);
    claims["scp"] = json!(["read", "write"]);
    let principal = decide_now(&authorizer, &signer.token(&claims)).expect("a good token");
    assert!(principal.has_scope("read") && principal.has_scope("write"));
}

#[test]
fn t22_the_keys_of_one_issuer_do_not_sign_for_another() {
    const OTHER: &str = "https://other.example.com";

    let (ours, theirs) = (Signer::ed("k"), Signer::ed("k"));
    let other = Issuer::new(OTHER, AUDIENCE, keys([&theirs])).expect("valid");
    let authorizer = JwtAuthorizer::new([issuer(keys([&ours])), other]).expect("two of them");
    assert!(decide_now(&authorizer, &ours.token(&claims())).is_ok());
    let theirs_of_theirs = theirs.token(&claims_with("iss", json!(OTHER)));
    let principal = decide_now(&authorizer, &theirs_of_theirs).expect("a good token");
    assert_eq!(principal.issuer(), Some(OTHER));
    let forged = theirs.token(&claims());
    assert_eq!(refusal(decide_now(&authorizer, &forged)), SIGNATURE);
    let forged = ours.token(&claims_with("iss", json!(OTHER)));
    assert_eq!(refusal(decide_now(&authorizer, &forged)), SIGNATURE);
    let twice = JwtAuthorizer::new([issuer(keys([&ours])), issuer(keys([&ours]))]);
    assert!(twice.is_err());
    assert!(JwtAuthorizer::new([]).is_err());
}

#[test]
fn b38_a_verdict_is_of_one_policy() {
    let signer = Signer::ed("k");
    let here = authorizer(keys([&signer]));
    let other = Issuer::new(ISSUER, "https://elsewhere.example", keys([&signer])).expect("valid");
    let elsewhere = JwtAuthorizer::new([other]).expect("valid");
    let token = signer.token(&claims());
    for _ in 0..2 {
        assert!(decide_now(&here, &token).is_ok());
        assert_eq!(refusal(decide_now(&elsewhere, &token)), OTHER_AUDIENCE);
    }
    assert_eq!(here.stats().hits_total, 1);
}

#[test]
fn nothing_of_a_token_is_shown() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    let token = signer.token(&claims());
    let principal = decide_now(&authorizer, &token).expect("a good token");
    let shown = format!("{authorizer:?} {principal:?} {:?}", jwks([&signer]).len());
    for secret in ["alice", "editor", &token[..20]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
