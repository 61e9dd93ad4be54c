use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

/// Why a request has no bearer token that can be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// There are no credentials at all.
    Absent,
    /// There are some, but no bearer token.
    OtherScheme,
    /// There is more than one `Authorization`: two hops may go by two of them (AUT-5).
    Repeated,
    /// What is there for a token is none.
    Malformed,
}

/// The one bearer token of a request (RFC 6750 §2.1).
pub(super) fn token(headers: &HeaderMap) -> Result<&str, NoToken> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(NoToken::Absent),
        (Some(value), None) => parse(value),
        (Some(_), Some(_)) => Err(NoToken::Repeated),
    }
}

fn parse(value: &HeaderValue) -> Result<&str, NoToken> {
    const SCHEME: &[u8] = b"bearer";

    let Some((scheme, rest)) = value.as_bytes().split_at_checked(SCHEME.len()) else {
        return Err(NoToken::OtherScheme);
    };
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(NoToken::OtherScheme);
    }
    let token = match rest {
        // Exactly one space, where RFC 9110 would take several: no client sends them, and not every
        // hop reads them alike (T02).
        [b' ', token @ ..] if !token.is_empty() => token,
        _ => return Err(NoToken::OtherScheme),
    };
    if !is_b64token(token) {
        return Err(NoToken::Malformed);
    }
    std::str::from_utf8(token).map_err(|_| NoToken::Malformed)
}

/// At least one of the characters that tokens have, with `=` at the end only.
pub(super) fn is_b64token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = &token[..token.len() - padding];
    !text.is_empty() && text.iter().all(|byte| is_token_char(*byte))
}

const fn is_token_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(values: &[&str]) -> Result<String, NoToken> {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a legal field");
            headers.append(AUTHORIZATION, value);
        }
        token(&headers).map(str::to_owned)
    }

    #[test]
    fn t02_one_scheme_one_space_one_token() {
        use NoToken::{Absent, Malformed, OtherScheme, Repeated};

        assert_eq!(parsed(&[]), Err(Absent));
        for value in ["Bearer abc", "bearer abc", "BEARER abc", "bEARER abc"] {
            assert_eq!(parsed(&[value]).as_deref(), Ok("abc"), "{value:?}");
        }
        let all = "aZ09-._~+/==";
        assert_eq!(parsed(&[&format!("Bearer {all}")]).as_deref(), Ok(all));
        for value in [
            "",
            "Basic YTpi",
            "abc",
            "Bearer",
            "Bearer ",
            "Bearerabc",
            "Bear",
            "DPoP a",
        ] {
            assert_eq!(parsed(&[value]), Err(OtherScheme), "{value:?}");
        }
        for value in [
            "Bearer  abc",
            "Bearer abc ",
            "Bearer abc def",
            "Bearer abc,",
            "Bearer abc, Bearer def",
            "Bearer \"abc\"",
            "Bearer a=b",
            "Bearer =",
            "Bearer abc;x",
            "Bearer ä",
            "Bearer \u{a0}abc",
        ] {
            assert_eq!(parsed(&[value]), Err(Malformed), "{value:?}");
        }
        for pair in [
            ["Bearer a", "Bearer a"],
            ["Bearer a", "Basic b"],
            ["", "Bearer a"],
        ] {
            assert_eq!(parsed(&pair), Err(Repeated), "{pair:?}");
        }
    }
}
