//! The headers that repeat what the body says, for hops that do not read it (HDR-1).

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use http::HeaderValue;

use super::{
    Fault,
    fields::{self, Fields},
};
use crate::{
    jsonrpc::Envelope,
    protocol::{is_client_notification, is_client_request},
};

/// What the mirrored headers say other than the message, if anything.
///
/// A header that is there has to agree, in any revision: a hop may have gone by it, or a later one
/// will (HDR-15). One that is not there is missed only if `is_required`. Which `Mcp-Param-*` mirror
/// what, only the tool's schema says: those pass (HDR-7, HDR-11).
#[inline]
pub(super) fn disagreement(
    fields: &Fields<'_>,
    message: &Envelope<'_>,
    method: Option<&[u8]>,
    is_required: bool,
) -> Option<Fault> {
    let agrees = match (fields.method, method) {
        (Some(header), Some(method)) => is_literally(trimmed(header), method),
        (Some(_), None) => false,
        (None, _) => !is_required,
    };
    if !agrees {
        return Some(Fault::HeaderMismatch(fields::METHOD));
    }
    let agrees = match (
        fields.name,
        method.and_then(|method| message.name_raw(method)),
    ) {
        (None, None) => true,
        // A method that nobody knows may have a name that nobody can compare. Of one that is known
        // to have none, or of no method, a header has nothing to mirror, but a hop may go by it.
        (Some(_), None) => method.is_some_and(|method| {
            let is_known = is_client_request(method) || is_client_notification(method);
            !is_known
        }),
        // A call that does not say what it calls is the server's to refuse.
        (None, Some(b"" | b"null")) => true,
        (None, Some(_)) => !is_required,
        (Some(header), Some(raw)) => {
            Envelope::bytes(raw).is_some_and(|name| mirrors(trimmed(header), &name))
        }
    };
    (!agrees).then_some(Fault::HeaderMismatch(fields::NAME))
}

/// The fault of mirrored headers over a body that has nothing to mirror: a batch.
pub(super) fn unmirrored(fields: &Fields<'_>) -> Option<Fault> {
    match (fields.method, fields.name) {
        (Some(_), _) => Some(Fault::HeaderMismatch(fields::METHOD)),
        (None, Some(_)) => Some(Fault::HeaderMismatch(fields::NAME)),
        (None, None) => None,
    }
}

/// A name as its header has it (HDR-4). `None` is for no name, and for one that no header can carry.
#[cfg(feature = "intercept")]
pub(crate) fn mirrored(name: &[u8]) -> Option<HeaderValue> {
    let is_literal = name.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && name.trim_ascii() == name
        && sentinel(name).is_none();
    if is_literal {
        return HeaderValue::from_bytes(name).ok();
    }
    HeaderValue::from_str(&format!("=?base64?{}?=", STANDARD.encode(name))).ok()
}

/// The value without optional white space, which an HTTP/2 stack may have left there (HDR-3).
#[inline]
fn trimmed(header: &HeaderValue) -> &[u8] {
    header.as_bytes().trim_ascii()
}

/// Whether a header stands for `text`: literally, or in base64 between the two ends of a sentinel
/// (HDR-4, HDR-5).
#[inline]
fn mirrors(header: &[u8], text: &[u8]) -> bool {
    match sentinel(header) {
        Some(encoded) => decodes_to(encoded, text),
        None => is_literally(header, text),
    }
}

/// Other bytes have to be encoded, even where they would be equal, because not every hop lets them
/// through (HDR-6). A method that has some cannot be mirrored.
#[inline]
fn is_literally(header: &[u8], text: &[u8]) -> bool {
    header.is_ascii() && header == text
}

/// What a sentinel holds. Half of one, or one in another case, is a literal.
#[inline]
fn sentinel(header: &[u8]) -> Option<&[u8]> {
    header.strip_prefix(b"=?base64?")?.strip_suffix(b"?=")
}

/// Whether `encoded` is the canonical base64 of `text`: the whole alphabet, all of the padding, and
/// no stray bits. Compared as it is decoded, so a header of any length needs no memory; and since
/// `text` is UTF-8, what equals it is too.
fn decodes_to(encoded: &[u8], mut text: &[u8]) -> bool {
    const CHUNK: usize = 256;

    let mut decoded = [0; CHUNK / 4 * 3];
    let mut chunks = encoded.chunks(CHUNK).peekable();
    while let Some(chunk) = chunks.next() {
        // Padding belongs at the end, and only there.
        let engine = if chunks.peek().is_some() {
            STANDARD_NO_PAD.decode_slice(chunk, &mut decoded)
        } else {
            STANDARD.decode_slice(chunk, &mut decoded)
        };
        let Some(rest) = engine
            .ok()
            .and_then(|len| text.strip_prefix(decoded.get(..len)?))
        else {
            return false;
        };
        text = rest;
    }
    text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the requirements, section 2.8.
    #[test]
    fn hdr_vectors() {
        for (header, text, expected) in [
            ("foo", "foo", true),
            ("=?base64?SGVsbG8=?=", "Hello", true),
            ("=?base64?SGVsbG8?=", "Hello", false),
            ("=?base64?SGVs!!!bG8=?=", "Hello", false),
            ("SGVsbG8=", "SGVsbG8=", true),
            ("SGVsbG8=", "Hello", false),
            ("=?base64?SGVsbG8=", "=?base64?SGVsbG8=", true),
            ("=?BASE64?SGVsbG8=?=", "=?BASE64?SGVsbG8=?=", true),
            ("=?BASE64?SGVsbG8=?=", "Hello", false),
            (
                "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=",
                "=?base64?literal?=",
                true,
            ),
            ("=?base64?literal?=", "=?base64?literal?=", false),
            ("", "", true),
            ("=?base64??=", "", true),
            ("=?base64?=", "=?base64?=", true),
            ("us west 1", "us west 1", true),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", "Hello, 世界", true),
            ("Hello, 世界", "Hello, 世界", false),
            ("True", "true", false),
            // Bits that no text needs, one padding too many, white space, the other alphabet.
            ("=?base64?SGVsbG9=?=", "Hello", false),
            ("=?base64?SGVsbG8==?=", "Hello", false),
            ("=?base64? SGVsbG8=?=", "Hello", false),
            ("=?base64?Pz8-?=", "??>", false),
            ("=?base64?Pz8+?=", "??>", true),
            // Not UTF-8, so no text equals it.
            ("=?base64?/w==?=", "\u{ff}", false),
        ] {
            assert_eq!(
                mirrors(header.as_bytes(), text.as_bytes()),
                expected,
                "{header}"
            );
        }
    }

    #[cfg(feature = "intercept")]
    #[test]
    fn hdr_4_a_mirrored_name_stands_for_that_name() {
        for name in [
            "",
            "foo",
            "us west 1",
            " us",
            "Hello, 世界",
            "a\nb",
            "=?base64?SGVsbG8=?=",
            "=?base64?SGVsbG8=",
            "=?base64?=",
            "\u{7f}",
        ] {
            let header = mirrored(name.as_bytes()).expect("a header");
            assert!(mirrors(trimmed(&header), name.as_bytes()), "{name:?}");
        }
        assert_eq!(mirrored(b"us west 1").expect("a header"), "us west 1");
    }

    #[test]
    fn text_of_any_length_is_compared_whole() {
        for len in (0..1000).step_by(7).chain([191, 192, 193, 384]) {
            let text = "é".repeat(len / 2) + &"x".repeat(len % 2);
            let encoded = STANDARD.encode(&text);
            assert!(decodes_to(encoded.as_bytes(), text.as_bytes()), "{len}");
            let longer = format!("{text}x");
            assert!(!decodes_to(encoded.as_bytes(), longer.as_bytes()));
            if let Some(shorter) = text.as_bytes().split_last() {
                assert!(!decodes_to(encoded.as_bytes(), shorter.1));
            }
            // Padding in the middle.
            let twice = format!("{}{encoded}", STANDARD.encode("x".repeat(191)));
            let both = format!("{}{text}", "x".repeat(191));
            assert_eq!(
                decodes_to(twice.as_bytes(), both.as_bytes()),
                len == 0,
                "{len}"
            );
        }
    }
}
