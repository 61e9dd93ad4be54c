//! URLs that clients are sent to: from configuration only, never from a request (AUT-11, AUT-13).

use std::net::IpAddr;

use http::Uri;

use super::{ConfigError, ConfigErrorKind};

/// A URL that was checked, in the form that it is written in.
pub(super) struct Checked {
    /// Scheme and authority in lower case.
    pub(super) origin: String,
    /// Empty if it is only `/`.
    pub(super) path: String,
    pub(super) has_query: bool,
}

/// Reads an absolute URL without user information and fragment, by `https`, or by `http` of this
/// machine where that is allowed.
pub(super) fn check(text: &str, allows_loopback: bool) -> Option<Checked> {
    // A parser that leaves a fragment out would let it pass.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains(['#', '"', '\\']) {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let host = authority.host();
    if authority.as_str().contains('@') || host.is_empty() {
        return None;
    }
    let is_secure = scheme.eq_ignore_ascii_case("https");
    let is_local = scheme.eq_ignore_ascii_case("http") && is_loopback(host);
    if !(is_secure || is_local && allows_loopback) {
        return None;
    }
    let path = uri.path();
    Some(Checked {
        origin: format!("{scheme}://{authority}").to_ascii_lowercase(),
        path: if path == "/" { "" } else { path }.to_owned(),
        has_query: uri.query().is_some(),
    })
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
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok()
}

/// Checks where metadata are that somebody else serves.
pub(super) fn check_metadata(text: &str) -> Result<(), ConfigError> {
    match check(text, true) {
        Some(_) => Ok(()),
        None => Err(ConfigError::new(ConfigErrorKind::MetadataUrl)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aut_13_https_or_this_machine_where_allowed() {
        for (text, secure, local) in [
            ("https://h", true, true),
            ("HTTPS://H.example:8443/mcp", true, true),
            ("http://localhost:1/mcp", false, true),
            ("http://127.0.0.9", false, true),
            ("http://[::1]:8080/mcp", false, true),
            ("http://h/mcp", false, false),
            ("http://127.0.0.1.evil.example", false, false),
            ("http://localhost.evil.example", false, false),
            ("ftp://localhost", false, false),
            ("https://u:p@h/mcp", false, false),
            ("https://h/mcp#x", false, false),
            ("https://h/m\"cp", false, false),
            ("https://h/m cp", false, false),
            ("//h/mcp", false, false),
            ("/mcp", false, false),
            ("h", false, false),
            ("", false, false),
        ] {
            assert_eq!(check(text, false).is_some(), secure, "{text:?}");
            assert_eq!(check(text, true).is_some(), local, "{text:?}");
        }
    }

    #[test]
    fn aut_11_scheme_and_host_are_lower_case_and_a_root_has_no_slash() {
        let checked = check("HTTPS://H.Example:8443/MCP?x", false).expect("valid");
        assert_eq!(checked.origin, "https://h.example:8443");
        assert_eq!(checked.path, "/MCP");
        assert!(checked.has_query);
        for text in ["https://h", "https://h/"] {
            let checked = check(text, false).expect("valid");
            assert_eq!((&*checked.origin, &*checked.path), ("https://h", ""));
        }
    }
}
