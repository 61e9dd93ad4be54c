//! Whether a body is what is read here, before a byte of it is (JRP-12).

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE},
};

use crate::{
    jsonrpc::{ErrorObject, code},
    refusal::Refusal,
};

/// The refusal of a body that is no JSON, or is compressed.
///
/// A page of another site can have a browser POST text and forms without asking first, but not
/// JSON: this is what stops it, next to the check of its origin (B47).
pub(super) fn refusal(headers: &HeaderMap) -> Option<Refusal> {
    if !is_json(headers) {
        return Some(unsupported(
            "the content type has to be application/json",
            ACCEPT,
            "application/json",
        ));
    }
    // A few bytes of it can become any number (A23).
    if !is_identity(headers) {
        return Some(unsupported(
            "compressed request bodies are not read",
            ACCEPT_ENCODING,
            "identity",
        ));
    }
    None
}

/// Exactly one `application/json`, in UTF-8 if it says (A24). Two hops may take two types to be the
/// one that counts.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let value = value.as_bytes();
    // What nearly every client sends.
    if value == b"application/json" {
        return true;
    }
    // A comma may begin a second type.
    if !value.is_ascii() || value.contains(&b',') {
        return false;
    }
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let essence = parts.next().unwrap_or_default();
    essence.eq_ignore_ascii_case(b"application/json") && parts.all(is_harmless)
}

/// Whether a parameter says nothing of another charset than the one that JSON has.
fn is_harmless(parameter: &[u8]) -> bool {
    const CHARSET: &[u8] = b"charset";

    let Some((name, value)) = parameter.split_at_checked(CHARSET.len()) else {
        return true;
    };
    if !name.eq_ignore_ascii_case(CHARSET) {
        return true;
    }
    let value = value.trim_ascii_start().strip_prefix(b"=");
    let value = value.unwrap_or_default().trim_ascii();
    let quoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    quoted.unwrap_or(value).eq_ignore_ascii_case(b"utf-8")
}

fn is_identity(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Says what would be read (RFC 9110 §15.5.16). No message was read, so nobody's id is known.
fn unsupported(why: &'static str, field: HeaderName, accepted: &'static str) -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ErrorObject::new(code::UNSUPPORTED_MEDIA_TYPE, why),
    )
    .with_header(field, HeaderValue::from_static(accepted))
}
