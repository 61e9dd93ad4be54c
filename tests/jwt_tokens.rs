//! Which signed tokens are accepted, and whose they are.

mod jwt_support;

use std::time::{Duration, SystemTime};

use jwt_support::signer::{Signer, encode};
use jwt_support::{
    AUDIENCE, ISSUER, authorizer, claims, claims_with, decide_now, issuer, jwks, keys, now, refusal,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use shadowcat::auth::jwt::{Algorithm, Issuer, JwtAuthorizer, Keys};

const MALFORMED: &str = "the token is no signed JWT";
const HEADER: &str = "the header of the token is not valid";
const CRITICAL: &str = "the token has a critical header that is not known here";
const ALGORITHM: &str = "the token is signed with an algorithm that is not accepted";
const TYPE: &str = "the token is no access token";
const CLAIMS: &str = "the claims of the token are not valid";
const OTHER_ISSUER: &str = "the token is from an issuer that is not accepted";
const OTHER_AUDIENCE: &str = "the token is for another server";
const SUBJECT: &str = "the token says of nobody who it is";
const EXPIRED: &str = "the token has expired";
const NOT_YET: &str = "the token is not valid yet";
const UNKNOWN_KEY: &str = "the token is signed with a key that is not known";
const SIGNATURE: &str = "the signature of the token is not valid";

#[test]
fn each_algorithm_is_accepted_and_says_who_it_is() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(*algorithm, "k");
        let claims = claims();
        let token = signer.token(&claims);
        let principal = decide_now(&authorizer(keys([&signer])), &token).expect("a good token");
        assert_eq!(principal.issuer(), Some(ISSUER), "{algorithm}");
        assert_eq!(principal.subject(), "alice");
        assert_eq!(principal.client(), Some("editor"));
        let scopes: Vec<_> = principal.scopes().collect();
        assert_eq!(scopes, ["tools:read", "tools:call"]);
        let exp = Duration::from_secs(claims["exp"].as_u64().expect("a number"));
        assert_eq!(principal.expires_at(), Some(SystemTime::UNIX_EPOCH + exp));
        assert_eq!(principal.claims(), Some(&*claims.to_string()));
    }
}

#[test]
fn ed25519_has_two_names() {
    let signer = Signer::ed("k");
    let authorizer = authorizer(keys([&signer]));
    let mut header = signer.header();
    header["alg"] = "Ed25519".into();
    let token = signer.token_of(&header, &claims());
    assert!(decide_now(&authorizer, &token).is_ok());
}

#[test]
fn keys_in_pem_verify_whatever_key_a_token_names() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(*algorithm, "whatever");
        let keys = Keys::from_pem(&signer.pem()).expect("a key");
        let authorizer = authorizer(keys);
        let token = signer.token(&claims());
        assert!(decide_now(&authorizer, &token).is_ok(), "{algorithm}");
    }
}

#[test]
fn t06_a_public_key_is_no_secret() {
    let signer = Signer::new(Algorithm::Rs256, "k");
    let authorizer = authorizer(keys([&signer]));
    let modulus = signer.bare_jwk()["n"]
        .as_str()
        .expect("a string")
        .to_owned();
    for secret in [
        signer.pem().into_bytes(),
        signer.public_key(),
        modulus.into_bytes(),
    ] {
        for (name, digest) in [
            ("HS256", aws_lc_rs::hmac::HMAC_SHA256),
            ("HS512", aws_lc_rs::hmac::HMAC_SHA512),
        ] {
            let header = json!({"alg": name, "kid": "k", "typ": "JWT"}).to_string();
            let message = format!("{}.{}", encode(header), encode(claims().to_string()));
            let key = aws_lc_rs::hmac::Key::new(digest, &secret);
            let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
            let token = format!("{message}.{}", encode(tag));
            assert_eq!(refusal(decide_now(&authorizer, &token)), ALGORITHM);
        }
    }
    for name in ["none", "None", "NONE", ""] {
        let header = json!({"alg": name, "kid": "k", "typ": "JWT"}).to_string();
        let message = format!("{}.{}", encode(header), encode(claims().to_string()));
        assert_eq!(
            refusal(decide_now(&authorizer, &format!("{message}."))),
            MALFORMED
        );
        let token = format!("{message}.{}", encode("x"));
        assert_eq!(refusal(decide_now(&authorizer, &token)), ALGORITHM);
    }
}

#[test]
fn t07_a_key_is_used_with_no_other_algorithm_than_its_own() {
    for own in Algorithm::ALL {
        let signer = Signer::new(*own, "k");
        let authorizer = authorizer(keys([&signer]));
        for other in Algorithm::ALL.iter().filter(|other| *other != own) {
            let mut header = signer.header();
            header["alg"] = other.name().into();
            let message = format!(
                "{}.{}",
                encode(header.to_string()),
                encode(claims().to_string())
            );
            // Signed as it says, if the key can do that.
            let is_rsa = |algorithm: &Algorithm| {
                algorithm.name().ends_with(['6', '4', '2']) && !algorithm.name().starts_with('E')
            };
            let how = if is_rsa(own) && is_rsa(other) {
                *other
            } else {
                *own
            };
            let token = format!("{message}.{}", encode(signer.sign(how, message.as_bytes())));
            let refused = refusal(decide_now(&authorizer, &token));
            assert_eq!(refused, ALGORITHM, "{own} as {other}");
        }
    }
}

#[test]
fn t07_without_an_alg_a_key_does_what_is_on_the_list() {
    let signer = Signer::new(Algorithm::Rs256, "k");
    let set = json!({"keys": [signer.bare_jwk()]}).to_string();
    let issuer = issuer(Keys::from_jwks(&set).expect("a key"));
    let issuer = issuer
        .with_algorithms([Algorithm::Rs256, Algorithm::Ps384])
        .expect("two");
    let authorizer = JwtAuthorizer::new([issuer]).expect("valid");
    for (algorithm, accepted) in [
        (Algorithm::Rs256, true),
        (Algorithm::Ps384, true),
        (Algorithm::Rs384, false),
        (Algorithm::Ps256, false),
    ] {
        let token = Signer::new(algorithm, "k").token(&claims());
        let decided = decide_now(&authorizer, &token);
        assert_eq!(decided.is_ok(), accepted, "{algorithm}");
    }
}

#[test]
fn t08_signatures_that_are_none() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(*algorithm, "k");
        let authorizer = authorizer(keys([&signer]));
        let token = signer.token(&claims());
        let (message, _) = token.rsplit_once('.').expect("three parts");
        let good = signer.sign(*algorithm, message.as_bytes());
        let half = good.len() / 2;
        let mut one_and_zero = vec![0; good.len()];
        one_and_zero[half - 1] = 1;
        for bad in [
            vec![0; good.len()],
            vec![0xFF; good.len()],
            one_and_zero,
            [&good[..half], &vec![0; half]].concat(),
            [&vec![0; half], &good[half..]].concat(),
            good[..good.len() - 1].to_vec(),
            good[1..].to_vec(),
            [&good, &[0][..]].concat(),
            [&[0][..], &good].concat(),
            der(&good),
            vec![0],
        ] {
            let token = format!("{message}.{}", encode(&bad));
            assert_eq!(
                refusal(decide_now(&authorizer, &token)),
                SIGNATURE,
                "{algorithm}"
            );
        }
        assert!(decide_now(&authorizer, &token).is_ok(), "{algorithm}");
    }
}

/// r and s as two integers in a sequence, as X.509 has them.
fn der(raw: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let mut number = number.to_vec();
        number.insert(0, 0);
        let mut encoded = vec![2, number.len() as u8];
        encoded.append(&mut number);
        encoded
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    let integers = [integer(r), integer(s)].concat();
    [&[0x30, integers.len() as u8], &*integers].concat()
}

#[test]
fn t09_a_key_is_found_by_its_exact_name() {
    let (one, two) = (Signer::ed("one"), Signer::ed("two"));
    let authorizer = authorizer(keys([&one, &two]));
    assert!(decide_now(&authorizer, &one.token(&claims())).is_ok());
    assert!(decide_now(&authorizer, &two.token(&claims())).is_ok());
    let mut header = one.header();
    for (kid, refused) in [
        (Value::Null, HEADER),
        (json!(1), HEADER),
        (json!(["one"]), HEADER),
        (json!(""), HEADER),
        (json!("one\0"), HEADER),
        (json!("a".repeat(8 * 1024)), HEADER),
        (json!("two"), SIGNATURE),
        (json!("ONE"), UNKNOWN_KEY),
        (json!("one "), UNKNOWN_KEY),
        (json!("../one"), UNKNOWN_KEY),
        (json!("' OR 1=1 --"), UNKNOWN_KEY),
        (json!("http://127.0.0.1:1/one"), UNKNOWN_KEY),
    ] {
        header["kid"] = kid;
        let token = one.token_of(&header, &claims());
        assert_eq!(
            refusal(decide_now(&authorizer, &token)),
            refused,
            "{header}"
        );
    }
    // Of several keys, none is meant by a token that does not say which.
    header.as_object_mut().expect("an object").remove("kid");
    let token = one.token_of(&header, &claims());
    assert_eq!(refusal(decide_now(&authorizer, &token)), UNKNOWN_KEY);
    // The only one there is, is.
    assert!(decide_now(&jwt_support::authorizer(keys([&one])), &token).is_ok());
}

#[test]
fn t10_where_a_token_says_that_its_key_is_makes_no_difference() {
    let (ours, theirs) = (Signer::ed("k"), Signer::ed("k"));
    let authorizer = authorizer(keys([&ours]));
    for (name, value) in [
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/certificate")),
        ("x5c", json!(["MIIB"])),
        ("jwk", theirs.jwk()),
    ] {
        let mut header = ours.header();
        header[name] = value;
        let good = ours.token_of(&header, &claims());
        assert!(decide_now(&authorizer, &good).is_ok(), "{name}");
        let bad = theirs.token_of(&header, &claims());
        assert_eq!(refusal(decide_now(&authorizer, &bad)), SIGNATURE, "{name}");
    }
}

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

proptest! {
    /// AU-2.
    #[test]
    fn changing_any_byte_of_a_good_token_makes_it_a_bad_one(
        nth in 0..Algorithm::ALL.len(),
        place in any::<prop::sample::Index>(),
        byte in 0x21..0x7Fu8,
    ) {
        thread_local! {
            static GOOD: Vec<(JwtAuthorizer, String)> = Algorithm::ALL.iter().map(|algorithm| {
                let signer = Signer::new(*algorithm, "k");
                (authorizer(keys([&signer])), signer.token(&claims()))
            }).collect();
        }
        GOOD.with(|good| {
            let (authorizer, token) = &good[nth];
            let mut bytes = token.clone().into_bytes();
            let place = place.index(bytes.len());
            prop_assume!(bytes[place] != byte);
            bytes[place] = byte;
            let changed = String::from_utf8(bytes).expect("ASCII");
            prop_assert!(decide_now(authorizer, &changed).is_err(), "{changed}");
            prop_assert!(decide_now(authorizer, token).is_ok());
            Ok(())
        })?;
    }
}
