//! Which signatures are accepted: by which keys, with which algorithms.

mod jwt_support;

use std::time::{Duration, SystemTime};

use jwt_support::signer::{Signer, encode};
use jwt_support::{ISSUER, authorizer, claims, decide_now, issuer, keys, refusal};
use proptest::prelude::*;
use serde_json::{Value, json};
use shadowcat::auth::jwt::{Algorithm, JwtAuthorizer, Keys};

const MALFORMED: &str = "the token is no signed JWT";
const HEADER: &str = "the header of the token is not valid";
const ALGORITHM: &str = "the token is signed with an algorithm that is not accepted";
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
