//! Which header fields cross the proxy, in both directions (PRX-1, RFC 9110 §7.6.1).

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCEPT_ENCODING, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING,
        CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HOST, ORIGIN, SET_COOKIE, TRANSFER_ENCODING,
        VIA, WWW_AUTHENTICATE,
    },
};

use crate::header::X_ACCEL_BUFFERING;

/// A `Connection` field named a field that is not the sender's to remove (A14).
#[derive(Debug)]
pub(super) struct NamesProtected;

/// Makes a client's header fields the upstream's.
///
/// # Errors
///
/// If `Connection` names a field that a policy may depend on: a hop that took it away would show
/// the upstream another request than the one that was judged.
pub(super) fn to_upstream(
    headers: &mut HeaderMap,
    host: &HeaderValue,
) -> Result<(), NamesProtected> {
    remove_doubtful_length(headers);
    let stays_behind = |name: &HeaderName| {
        // `Expect` has been answered by the server in front of us.
        is_hop_by_hop(name.as_str()) || is_forwarding(name.as_str()) || *name == EXPECT
    };
    if headers.keys().any(stays_behind) {
        let named = connection_named(headers);
        if named.iter().any(is_protected) {
            return Err(NamesProtected);
        }
        remove(headers, &named);
        remove_where(headers, stays_behind);
    }
    headers.insert(HOST, host.clone());
    // What has to be read on the way, or in a replay, must not be compressed (PRX-3).
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // A gateway's duty (RFC 9110 §7.6.3).
    headers.append(VIA, HeaderValue::from_static("1.1 shadowcat"));
    Ok(())
}

/// Makes an upstream's header fields the client's.
pub(super) fn to_client(headers: &mut HeaderMap, is_event_stream: bool) {
    remove_doubtful_length(headers);
    let stays_behind = |name: &HeaderName| is_hop_by_hop(name.as_str());
    if headers.keys().any(stays_behind) {
        let named = connection_named(headers);
        // Nothing here is the upstream's to withhold: what it may not name is simply kept.
        for name in named.iter().filter(|name| !is_protected(name)) {
            headers.remove(name);
        }
        remove_where(headers, stays_behind);
    }
    if is_event_stream {
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
}

/// Takes out of trailers what has a meaning only in a header section (A19).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, |name| {
        is_hop_by_hop(name.as_str()) || is_protected(name)
    });
}

/// Whether the response is a stream of server-sent events (SWF-1).
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return false;
    };
    let essence = value.as_bytes().split(|byte| *byte == b';').next();
    essence.is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Whether the body is encoded although identity was asked for (S18).
pub(super) fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|value| {
        !value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"identity")
    })
}

/// Whether the body was framed in anything but chunks, which is undone by nobody: the field goes
/// no further than this hop (RFC 9112 §6.1).
pub(super) fn is_transfer_coded(headers: &HeaderMap) -> bool {
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

/// Removes a length that is not the body's, because there are chunks, or that the next parser may
/// read as another, because it is a list (A15, RFC 9112 §6.3). The body tells its own.
fn remove_doubtful_length(headers: &mut HeaderMap) {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else {
        return;
    };
    if lengths.next().is_some()
        || !length.as_bytes().iter().all(u8::is_ascii_digit)
        || headers.contains_key(TRANSFER_ENCODING)
    {
        headers.remove(CONTENT_LENGTH);
    }
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

// Compared as text: a chain of comparisons with header constants costs more than the strings.
fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-authentication-info"
    )
}

/// Who the client is, is ours to say: a client's own word is dropped.
fn is_forwarding(name: &str) -> bool {
    matches!(name, "forwarded" | "x-real-ip") || name.starts_with("x-forwarded-")
}

/// Fields that a policy, the routing or the framing depends on.
fn is_protected(name: &HeaderName) -> bool {
    const LISTED: [HeaderName; 9] = [
        AUTHORIZATION,
        COOKIE,
        SET_COOKIE,
        WWW_AUTHENTICATE,
        HOST,
        ORIGIN,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
    ];
    LISTED.contains(name)
        || is_forwarding(name.as_str())
        || name.as_str().starts_with("mcp-")
        || *name == crate::header::LAST_EVENT_ID
}

fn remove(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

/// Removes the fields whose name is `unwanted`, without hashing the names of those that stay.
fn remove_where(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    while let Some(name) = headers.keys().find(|name| unwanted(name)).cloned() {
        headers.remove(name);
    }
}
