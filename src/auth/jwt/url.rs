use std::net::IpAddr;

use http::{Uri, uri::Scheme};

/// Whether an issuer may have that name: an `https` URL without query and fragment (RFC 8414 §2), or a
/// plain `http` one of this machine (AUT-13).
pub(super) fn is_issuer(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else {
        return false;
    };
    let (Some(scheme), Some(host)) = (uri.scheme(), uri.host()) else {
        return false;
    };
    let is_plain = uri.query().is_none() && !text.contains('#') && !has_user(&uri);
    !host.is_empty() && is_plain && (*scheme == Scheme::HTTPS || is_local_http(scheme, host))
}

fn is_local_http(scheme: &Scheme, host: &str) -> bool {
    *scheme == Scheme::HTTP && is_loopback(host)
}

/// Whether a host names this machine by itself.
pub(super) fn is_loopback(host: &str) -> bool {
    match address(host) {
        Some(address) => address.is_loopback(),
        None => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The address that a host is, if it is no name.
pub(super) fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

pub(super) fn has_user(uri: &Uri) -> bool {
    let authority = uri.authority().map(|authority| authority.as_str());
    authority.is_some_and(|authority| authority.contains('@'))
}
