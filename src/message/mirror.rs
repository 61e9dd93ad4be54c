//! The headers that repeat what the body says, for hops that do not read it (HDR-1).

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use http::{HeaderMap, HeaderValue};

use super::Fault;
use crate::{
    header::{LAST_EVENT_ID, MCP_METHOD, MCP_NAME, MCP_PROTOCOL_VERSION, MCP_SESSION_ID},
    jsonrpc::Envelope,
};

/// What the mirrored headers say other than the message, if anything.
///
/// A header that is there has to agree, in any revision: a hop may have gone by it, or a later one
/// will (HDR-15). One that is not there is missed only if `is_required`. Which `Mcp-Param-*` mirror
/// what, only the tool's schema says: those pass (HDR-7, HDR-11).
pub(super) fn disagreement(
    headers: &HeaderMap,
    message: &Envelope<'_>,
    is_required: bool,
) -> Option<Fault> {
    let agrees = match (headers.get(MCP_METHOD), message.method()) {
        (Some(header), Some(method)) => is_literally(trimmed(header), &method),
        (Some(_), None) => false,
        (None, _) => !is_required,
    };
    if !agrees {
        return Some(Fault::HeaderMismatch(MCP_METHOD_NAME));
    }
    let header = headers.get(MCP_NAME);
    let agrees = match (header, message.name_raw()) {
        // A call that does not say what it calls is the server's to refuse.
        (None, None | Some(b"null")) => true,
        (None, Some(_)) => !is_required,
        (Some(header), _) => match message.name() {
            Some(name) => mirrors(trimmed(header), &name),
            // Where the method has no name that anybody knows of, nobody can compare it.
            None => !message.is_named(),
        },
    };
    (!agrees).then_some(Fault::HeaderMismatch(MCP_NAME_NAME))
}

/// The fault of mirrored headers over a body that has nothing to mirror: a batch.
pub(super) fn unmirrored(headers: &HeaderMap) -> Option<Fault> {
    let names = [(MCP_METHOD, MCP_METHOD_NAME), (MCP_NAME, MCP_NAME_NAME)];
    let (_, name) = names
        .into_iter()
        .find(|(header, _)| headers.contains_key(header))?;
    Some(Fault::HeaderMismatch(name))
}

/// A header of MCP that came more than once (AMB-31): two hops may read two values.
///
/// Not the version header, which has a fault of its own.
pub(super) fn duplicate(headers: &HeaderMap) -> Option<Fault> {
    // Nearly always it ends here: no header came more than once.
    if headers.len() == headers.keys_len() {
        return None;
    }
    let is_ours = |name: &&http::HeaderName| {
        (name.as_str().starts_with("mcp-") && **name != MCP_PROTOCOL_VERSION)
            || **name == LAST_EVENT_ID
    };
    let is_repeated = |name: &&http::HeaderName| headers.get_all(*name).iter().nth(1).is_some();
    let name = headers.keys().filter(is_ours).find(is_repeated)?;
    Some(Fault::DuplicateHeader(match name {
        name if *name == MCP_METHOD => MCP_METHOD_NAME,
        name if *name == MCP_NAME => MCP_NAME_NAME,
        name if *name == MCP_SESSION_ID => "mcp-session-id",
        name if *name == LAST_EVENT_ID => "last-event-id",
        _ => "mcp-*",
    }))
}

const MCP_METHOD_NAME: &str = "mcp-method";
const MCP_NAME_NAME: &str = "mcp-name";

/// The value without optional white space, which an HTTP/2 stack may have left there (HDR-3).
fn trimmed(header: &HeaderValue) -> &[u8] {
    header.as_bytes().trim_ascii()
}

/// Whether a header stands for `text`: literally, or in base64 between the two ends of a sentinel
/// (HDR-4, HDR-5).
fn mirrors(header: &[u8], text: &str) -> bool {
    match sentinel(header) {
        Some(encoded) => decodes_to(encoded, text.as_bytes()),
        None => is_literally(header, text),
    }
}

/// Other bytes have to be encoded, even where they would be equal, because not every hop lets them
/// through (HDR-6). A method that has some cannot be mirrored.
fn is_literally(header: &[u8], text: &str) -> bool {
    header.is_ascii() && header == text.as_bytes()
}

/// What a sentinel holds. Half of one, or one in another case, is a literal.
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
            assert_eq!(mirrors(header.as_bytes(), text), expected, "{header}");
        }
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
