use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{Algorithm, fault::Fault, pick::pick};

/// The longest token: 16 KiB.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// The longest name of a key.
pub(super) const MAX_KID_BYTES: usize = 256;

/// What is read of a header.
const NAMES: &[&str] = &["alg", "b64", "crit", "kid", "typ"];

/// A signed token in compact form (RFC 7515 §7.1), taken apart and not believed.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    pub(super) typ: Option<Box<str>>,
    /// What is signed.
    pub(super) message: &'a str,
    pub(super) payload: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// Where a key is to be found, it may say or not (`jku`, `x5u`, `x5c`, `jwk`): nobody reads that
    /// (T10).
    pub(super) fn parse(text: &'a str) -> Result<Self, Fault> {
        let (message, signature) = text.rsplit_once('.').ok_or(Fault::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Fault::Malformed)?;
        // A dot is none of base64's characters, so there are three parts or an error (T12).
        let header = decode(header)?;
        let payload = decode(payload)?;
        let signature = decode(signature)?;
        let (header, _) = pick(&header, NAMES).ok_or(Fault::Header)?;
        // No extension is understood here (RFC 7515 §4.1.11), and `b64` would be one.
        if header.has("crit") || header.has("b64") {
            return Err(Fault::Critical);
        }
        let string = |name| header.string(name).map_err(|_| Fault::Header);
        let algorithm = string("alg")?.ok_or(Fault::Header)?;
        let algorithm = Algorithm::from_name(algorithm).ok_or(Fault::Algorithm)?;
        let kid = string("kid")?;
        if kid.is_some_and(|kid| !is_kid(kid)) {
            return Err(Fault::Header);
        }
        let typ = string("typ")?.map(Into::into);
        let kid = kid.map(Into::into);
        Ok(Self {
            algorithm,
            kid,
            typ,
            message,
            payload,
            signature,
        })
    }
}

/// Whether a key may have that name.
pub(super) fn is_kid(kid: &str) -> bool {
    !kid.is_empty() && kid.len() <= MAX_KID_BYTES && !kid.contains(char::is_control)
}

/// What is not canonical is refused, so that no two texts are one token.
fn decode(part: &str) -> Result<Vec<u8>, Fault> {
    if part.is_empty() {
        return Err(Fault::Malformed);
    }
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| Fault::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!(
            "{}.{}.{}",
            encode(header),
            encode("{}"),
            encode("signature")
        )
    }

    #[test]
    fn takes_a_token_apart() {
        let text = token(r#"{"alg":"RS256","kid":"a","typ":"JWT","jku":"https://evil.example"}"#);
        let token = Token::parse(&text).expect("it is one");
        assert_eq!(token.algorithm, Algorithm::Rs256);
        assert_eq!(
            (token.kid.as_deref(), token.typ.as_deref()),
            (Some("a"), Some("JWT"))
        );
        assert_eq!(
            (&*token.payload, &*token.signature),
            (&b"{}"[..], &b"signature"[..])
        );
        assert_eq!(
            text.strip_prefix(token.message).map(|rest| &rest[..1]),
            Some(".")
        );
    }

    #[test]
    fn t12_other_than_three_parts_are_refused() {
        let whole = token(r#"{"alg":"RS256"}"#);
        let [header, payload, signature] = whole.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts")
        };
        for text in [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            header.to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!(".{payload}.{signature}"),
            format!("{header}..{signature}"),
            format!("{whole}."),
            format!(".{whole}"),
            format!("{whole}.{signature}"),
            format!("{whole}.{signature}.{signature}"),
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}.{signature} "),
        ] {
            let fault = Token::parse(&text).map(drop);
            assert_eq!(fault, Err(Fault::Malformed), "{text}");
        }
    }

    #[test]
    fn t09_t10_t14_headers_that_are_refused() {
        let long = format!(
            r#"{{"alg":"RS256","kid":"{}"}}"#,
            "a".repeat(MAX_KID_BYTES + 1)
        );
        for (header, fault) in [
            ("[]", Fault::Header),
            ("x", Fault::Header),
            ("{}", Fault::Header),
            (r#"{"alg":null}"#, Fault::Header),
            (r#"{"alg":"RS256","alg":"RS256"}"#, Fault::Header),
            (r#"{"alg":"RS256","\u0061lg":"none"}"#, Fault::Header),
            (r#"{"alg":"RS256","kid":1}"#, Fault::Header),
            (r#"{"alg":"RS256","kid":""}"#, Fault::Header),
            (r#"{"alg":"RS256","kid":"a\u0000"}"#, Fault::Header),
            (&long, Fault::Header),
            (r#"{"alg":"RS256","typ":["JWT"]}"#, Fault::Header),
            (r#"{"alg":"none"}"#, Fault::Algorithm),
            (r#"{"alg":"None"}"#, Fault::Algorithm),
            (r#"{"alg":"HS256"}"#, Fault::Algorithm),
            (r#"{"alg":"RSA-OAEP","enc":"A128GCM"}"#, Fault::Algorithm),
            (r#"{"alg":"RS256","crit":["exp"]}"#, Fault::Critical),
            (r#"{"alg":"RS256","crit":[]}"#, Fault::Critical),
            (r#"{"alg":"RS256","b64":false}"#, Fault::Critical),
        ] {
            let refused = Token::parse(&token(header)).map(drop);
            assert_eq!(refused, Err(fault), "{header}");
        }
    }
}
