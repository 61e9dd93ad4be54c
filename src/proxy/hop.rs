//! Which header fields cross the proxy, in both directions (PRX-1, RFC 9110 §7.6.1).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST,
        TRANSFER_ENCODING, VIA,
    },
};

use super::failure::Failure;
use crate::header::X_ACCEL_BUFFERING;

/// What a header section needs, found in one pass.
#[derive(Clone, Copy)]
struct Survey {
    /// There is a field that does not cross.
    has_private: bool,
    /// The body's length is said more than once, or not in plain digits.
    has_doubtful_length: bool,
}

impl Survey {
    fn of(headers: &HeaderMap, is_private: impl Fn(&str) -> bool) -> Self {
        let mut survey = Self {
            has_private: false,
            has_doubtful_length: false,
        };
        let mut lengths = 0;
        for (name, value) in headers {
            if *name == CONTENT_LENGTH {
                lengths += 1;
                survey.has_doubtful_length |=
                    lengths > 1 || !value.as_bytes().iter().all(u8::is_ascii_digit);
            } else {
                survey.has_private |= is_private(name.as_str());
            }
        }
        survey
    }
}

/// Makes a client's header fields the upstream's.
///
/// # Errors
///
/// If `Connection` names a field that a policy may depend on: a hop that took it away would show
/// the upstream another request than the one that was judged. And if the body's transfer coding
/// is one that nobody here undoes.
pub(super) fn to_upstream(headers: &mut HeaderMap, host: &HeaderValue) -> Result<(), Failure> {
    // `Expect` has been answered by the server in front of us.
    let is_private = |name: &str| match name.as_bytes().first() {
        Some(b'f' | b'x') => is_forwarding(name),
        Some(b'e') => name == "expect",
        _ => is_hop_by_hop(name),
    };
    let survey = Survey::of(headers, is_private);
    if survey.has_private {
        if is_transfer_coded(headers) {
            return Err(Failure::RequestCoding);
        }
        let named = connection_named(headers);
        if named.iter().any(|name| is_protected(name.as_str())) {
            return Err(Failure::NamesProtected);
        }
        remove(headers, &named);
    }
    remove_surveyed(headers, survey, is_private);
    headers.insert(HOST, host.clone());
    // What has to be read on the way, or in a replay, must not be compressed (PRX-3).
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // A gateway's duty (RFC 9110 §7.6.3).
    headers.append(VIA, HeaderValue::from_static("1.1 shadowcat"));
    Ok(())
}

/// Makes an upstream's header fields the client's.
///
/// # Errors
///
/// If the body is in a coding that nobody asked for, or that nobody here undoes.
pub(super) fn to_client(headers: &mut HeaderMap, is_event_stream: bool) -> Result<(), Failure> {
    let is_private = is_hop_by_hop;
    let survey = Survey::of(headers, is_private);
    if survey.has_private {
        if is_transfer_coded(headers) {
            return Err(Failure::ResponseCoding);
        }
        // Nothing here is the upstream's to withhold: what it may not name is simply kept.
        let mut named = connection_named(headers);
        named.retain(|name| !is_protected(name.as_str()));
        remove(headers, &named);
    }
    remove_surveyed(headers, survey, is_private);
    if is_event_stream {
        if is_encoded(headers) {
            return Err(Failure::Encoded);
        }
        // A proxy in front of us must neither hold events back nor recompress them (SSE-13).
        headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
        if !headers.contains_key(CACHE_CONTROL) {
            headers.insert(
                CACHE_CONTROL,
                HeaderValue::from_static("no-cache, no-transform"),
            );
        }
        headers.remove(CONTENT_LENGTH);
    }
    Ok(())
}

/// Removes what does not cross, and a length that is not the body's, because there are chunks, or
/// that the next parser may read as another, because it is a list (A15, RFC 9112 §6.3). The body
/// tells its own.
fn remove_surveyed(headers: &mut HeaderMap, survey: Survey, is_private: impl Fn(&str) -> bool) {
    if survey.has_doubtful_length || (survey.has_private && headers.contains_key(TRANSFER_ENCODING))
    {
        headers.remove(CONTENT_LENGTH);
    }
    if survey.has_private {
        remove_where(headers, is_private);
    }
}

/// Takes out of trailers what has a meaning only in a header section (A19).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| is_hop_by_hop(name) || is_protected(name));
}

/// Whether the body is encoded although identity was asked for (S18).
fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

/// Whether the body was framed in anything but chunks, which is undone by nobody: the field goes
/// no further than this hop (RFC 9112 §6.1).
fn is_transfer_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return false;
    };
    codings.next().is_some()
        || !coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
}

/// The fields that `Connection` names. Allocates only if it names any.
fn connection_named(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| {
            !option.eq_ignore_ascii_case(b"close") && !option.eq_ignore_ascii_case(b"keep-alive")
        })
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .collect()
}

// Every field of every message is looked at, and nearly all of them stay: the first letter sorts
// out most of those.
fn is_hop_by_hop(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'c') => name == "connection",
        Some(b'h') => name == "http2-settings",
        Some(b'k') => name == "keep-alive",
        Some(b'p') => name.starts_with("proxy-"),
        Some(b't') => matches!(name, "te" | "trailer" | "transfer-encoding"),
        Some(b'u') => name == "upgrade",
        _ => false,
    }
}

/// Who the client is, is ours to say: a client's own word is dropped.
fn is_forwarding(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'f') => name == "forwarded",
        Some(b'x') => name == "x-real-ip" || name.starts_with("x-forwarded-"),
        _ => false,
    }
}

/// Fields that a policy, the routing or the framing depends on.
fn is_protected(name: &str) -> bool {
    matches!(
        name,
        "authorization"
            | "cookie"
            | "set-cookie"
            | "www-authenticate"
            | "host"
            | "origin"
            | "last-event-id"
            | "content-length"
            | "content-type"
            | "content-encoding"
    ) || name.starts_with("mcp-")
        || is_forwarding(name)
}

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// Removes the fields whose name is `unwanted`, without hashing the names of those that stay.
fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name.as_str())).cloned() {
        headers.remove(name);
    }
}
