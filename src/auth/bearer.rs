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

/// Takes a request's credentials out: they are for nobody further in (AUT-12).
#[inline]
pub(super) fn take(headers: &mut HeaderMap) -> Result<HeaderValue, NoToken> {
    // Nearly no request has any field twice, and then nothing need be looked up for it.
    let is_repeated = headers.len() > headers.keys_len()
        && headers.get_all(AUTHORIZATION).iter().nth(1).is_some();
    let credentials = headers.remove(AUTHORIZATION);
    if is_repeated {
        return Err(NoToken::Repeated);
    }
    credentials.ok_or(NoToken::Absent)
}

/// The bearer token in credentials (RFC 6750 §2.1).
#[inline]
pub(super) fn token(credentials: &HeaderValue) -> Result<&[u8], NoToken> {
    const SCHEME: &[u8] = b"Bearer";

    let rest = match credentials.as_bytes().split_at_checked(SCHEME.len()) {
        // As nearly all write it, or in any other case.
        Some((scheme, rest)) if scheme == SCHEME || scheme.eq_ignore_ascii_case(SCHEME) => rest,
        _ => return Err(NoToken::OtherScheme),
    };
    let token = match rest {
        // Exactly one space, where RFC 9110 would take several: no client sends them, and not every
        // hop reads them alike (T02).
        [b' ', token @ ..] if !token.is_empty() => token,
        _ => return Err(NoToken::OtherScheme),
    };
    if is_b64token(token) {
        Ok(token)
    } else {
        Err(NoToken::Malformed)
    }
}

/// At least one of the characters that tokens have, with `=` at the end only.
#[inline]
pub(super) fn is_b64token(token: &[u8]) -> bool {
    let mut text = token;
    while let [rest @ .., b'='] = text {
        text = rest;
    }
    // Without an early exit, which is what lets it become vector instructions.
    let strange = text.iter().fold(0, |any, byte| any | is_strange(*byte));
    !text.is_empty() && strange == 0
}

/// Zero for a character that tokens have.
#[inline]
const fn is_strange(byte: u8) -> u8 {
    let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    // Of `-./0123456789` all are legal.
    let is_digit = byte.wrapping_sub(b'-') < 13;
    let is_mark = (byte == b'_') | (byte == b'~') | (byte == b'+');
    !(is_letter | is_digit | is_mark) as u8
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
        headers.append("accept", HeaderValue::from_static("a"));
        let taken = take(&mut headers);
        assert!(!headers.contains_key(AUTHORIZATION));
        taken.and_then(|credentials| {
            let token = token(&credentials)?.to_owned();
            Ok(String::from_utf8(token).expect("ASCII"))
        })
    }

    #[test]
    fn t02_tokens_have_the_characters_of_rfc_6750() {
        for byte in 0..=u8::MAX {
            let expected = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_b64token(&[byte]), expected, "{byte:#x}");
            assert_eq!(is_b64token(&[b'a', byte, b'a']), expected, "{byte:#x}");
        }
        for len in [15, 16, 17, 31, 32, 33, 40] {
            let token = vec![b'a'; len];
            assert!(is_b64token(&token), "{len}");
            for at in 0..len {
                let mut token = token.clone();
                token[at] = b' ';
                assert!(!is_b64token(&token), "{at} of {len}");
            }
        }
        for (len, padding) in (14..40).flat_map(|len| [(len, 1), (len, 2)]) {
            let token = [vec![b'a'; len], vec![b'='; padding]].concat();
            assert!(is_b64token(&token), "{len} and {padding}");
            assert!(
                !is_b64token(&[token.as_slice(), b"a"].concat()),
                "{len} and {padding}"
            );
        }
        for (token, expected) in [("", false), ("=", false), ("a=", true), ("a==", true)] {
            assert_eq!(is_b64token(token.as_bytes()), expected, "{token:?}");
        }
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
