use http::{Uri, uri::PathAndQuery};

/// The parameter that RFC 6750 §2.3 has for a token, and OAuth 2.1 no longer.
const NAME: &[u8] = b"access_token";

/// Takes `access_token` out of the query: it is not used, and must not be seen further in (AUT-2).
#[inline]
pub(super) fn strip(uri: &mut Uri) {
    if uri
        .query()
        .is_some_and(|query| query.split('&').any(is_token))
    {
        strip_from(uri);
    }
}

#[cold]
fn strip_from(uri: &mut Uri) {
    let query = uri.query().unwrap_or_default();
    let mut text = uri.path().to_owned();
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !is_token(pair)) {
        text.push(separator);
        text.push_str(pair);
        separator = '&';
    }
    let mut parts = std::mem::take(uri).into_parts();
    // Less of what was legal is legal too.
    parts.path_and_query = PathAndQuery::from_maybe_shared(bytes::Bytes::from(text)).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Whether a pair of the query has that name, in whatever way it is written.
fn is_token(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default().as_bytes();
    let mut rest = name;
    for expected in NAME {
        let (byte, next) = match rest {
            [b'%', high, low, next @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, next),
                _ => return false,
            },
            [byte, next @ ..] => (*byte, next),
            [] => return false,
        };
        // Some servers do not look at the case.
        if !byte.eq_ignore_ascii_case(expected) {
            return false;
        }
        rest = next;
    }
    rest.is_empty()
}

fn hex(digit: u8) -> Option<u8> {
    let digit = char::from(digit).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aut_2_token_is_taken_out_of_the_query_and_nothing_else_is() {
        for (before, after) in [
            ("/mcp", "/mcp"),
            ("/mcp?", "/mcp?"),
            ("/mcp?a=b&c", "/mcp?a=b&c"),
            ("/mcp?access_token=x", "/mcp"),
            ("/mcp?access_token", "/mcp"),
            ("/mcp?a=%20&access_token=x&access_token=y&c", "/mcp?a=%20&c"),
            (
                "/mcp?access%5Ftoken=x&a=access_token",
                "/mcp?a=access_token",
            ),
            ("/mcp?%61CCESS_TOKEN=x", "/mcp"),
            ("/mcp?my_access_token=x", "/mcp?my_access_token=x"),
            ("/mcp?access_tokens=x", "/mcp?access_tokens=x"),
            (
                "/mcp?access%5=x&access%zztoken=y",
                "/mcp?access%5=x&access%zztoken=y",
            ),
            ("http://host:1/mcp?access_token=x", "http://host:1/mcp"),
            ("http://host?access_token=x&a", "http://host/?a"),
        ] {
            let mut uri: Uri = before.parse().expect("a valid URI");
            strip(&mut uri);
            assert_eq!(uri, after, "{before}");
        }
    }
}
