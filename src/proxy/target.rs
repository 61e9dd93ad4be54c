use std::{error::Error, fmt, iter};

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery, Scheme},
};

/// Where requests go: one endpoint, fixed when the proxy is built (B58).
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The whole URL, to connect to.
    url: Uri,
    /// Path and query only, as they stand in the request line.
    path: Uri,
    host: HeaderValue,
}

/// The URL of an upstream cannot be used.
#[derive(Debug)]
pub struct UpstreamUrlError {
    kind: UpstreamUrlErrorKind,
}

/// What is wrong with the URL of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamUrlErrorKind {
    /// It is not an absolute URL.
    NotAbsolute,
    /// Its scheme is not `http`.
    Scheme,
    /// It carries a user name or a password: upstream credentials do not belong into a URL.
    UserInfo,
}

impl UpstreamUrlError {
    /// What is wrong.
    #[must_use]
    pub const fn kind(&self) -> UpstreamUrlErrorKind {
        self.kind
    }
}

impl fmt::Display for UpstreamUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            UpstreamUrlErrorKind::NotAbsolute => "the upstream must be an absolute URL",
            UpstreamUrlErrorKind::Scheme => "the upstream's scheme must be http",
            UpstreamUrlErrorKind::UserInfo => "the upstream's URL must not hold credentials",
        })
    }
}

impl Error for UpstreamUrlError {}

impl Target {
    pub(super) fn new(uri: &Uri) -> Result<Self, UpstreamUrlError> {
        let fail = |kind| Err(UpstreamUrlError { kind });
        let (Some(scheme), Some(authority)) = (uri.scheme(), uri.authority()) else {
            return fail(UpstreamUrlErrorKind::NotAbsolute);
        };
        if *scheme != Scheme::HTTP {
            return fail(UpstreamUrlErrorKind::Scheme);
        }
        if authority.as_str().contains('@') {
            return fail(UpstreamUrlErrorKind::UserInfo);
        }
        let Ok(host) = host_field(authority) else {
            return fail(UpstreamUrlErrorKind::NotAbsolute);
        };
        Ok(Self {
            url: uri.clone(),
            path: uri
                .path_and_query()
                .map_or_else(Uri::default, |path| path.clone().into()),
            host,
        })
    }

    pub(super) const fn url(&self) -> &Uri {
        &self.url
    }

    pub(super) const fn host(&self) -> &HeaderValue {
        &self.host
    }

    /// The upstream's path and query, with the query of a request to `original`.
    ///
    /// The path is always the upstream's own (B59). If the upstream's URL has a query, it stands
    /// alone: a caller must not be able to add to what the operator configured.
    pub(super) fn path_for(&self, original: &Uri) -> Uri {
        let (Some(query), None) = (original.query(), self.path.query()) else {
            return self.path.clone();
        };
        let mut path_and_query = String::with_capacity(self.path.path().len() + 1 + query.len());
        path_and_query.push_str(self.path.path());
        let mut separator = '?';
        for pair in query.split('&').filter(|pair| !is_token(pair)) {
            path_and_query.push(separator);
            path_and_query.push_str(pair);
            separator = '&';
        }
        // Both came out of valid URIs, so this cannot fail; if it did, the query would be left out.
        PathAndQuery::try_from(path_and_query).map_or_else(|_| self.path.clone(), Uri::from)
    }
}

/// An access token in a query is never used, and never passed on (AUT-2).
fn is_token(pair: &str) -> bool {
    let mut name = pair.split('=').next().unwrap_or_default().bytes();
    // Compared as the upstream reads it: percent-decoded.
    let decoded = iter::from_fn(|| match name.next()? {
        b'%' => {
            let mut digit = || (name.next()? as char).to_digit(16);
            let byte = digit()? * 16 + digit()?;
            u8::try_from(byte).ok()
        }
        byte => Some(byte),
    });
    decoded.eq(*b"access_token")
}

/// The `Host` of requests to `authority`; the scheme's own port is left out.
fn host_field(authority: &Authority) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    if authority.port_u16() == Some(80) {
        HeaderValue::from_str(authority.host())
    } else {
        HeaderValue::from_str(authority.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &'static str) -> Result<Target, UpstreamUrlErrorKind> {
        Target::new(&Uri::from_static(url)).map_err(|error| error.kind())
    }

    fn mapped(upstream: &'static str, request: &'static str) -> String {
        let target = target(upstream).expect("a usable upstream");
        target.path_for(&Uri::from_static(request)).to_string()
    }

    #[test]
    fn path_is_always_the_upstreams() {
        assert_eq!(mapped("http://up:1/a/mcp", "/mcp"), "/a/mcp");
        assert_eq!(mapped("http://up:1", "/mcp/../x"), "/");
        assert_eq!(
            mapped("http://up:1/mcp", "http://evil.example/other"),
            "/mcp"
        );
    }

    #[test]
    fn query_of_the_request_goes_along_without_tokens() {
        assert_eq!(mapped("http://up/mcp", "/?a=1&b"), "/mcp?a=1&b");
        assert_eq!(
            mapped("http://up/mcp", "/?access_token=s&a=1&access_token"),
            "/mcp?a=1"
        );
        assert_eq!(
            mapped(
                "http://up/mcp",
                "/?a=%&%61ccess%5ftoken=s&access_tokens=2&%zz"
            ),
            "/mcp?a=%&access_tokens=2&%zz"
        );
        assert_eq!(mapped("http://up/mcp", "/?access_token=s"), "/mcp");
        assert_eq!(mapped("http://up/mcp", "/?"), "/mcp?");
    }

    #[test]
    fn query_of_the_upstream_stands_alone() {
        assert_eq!(
            mapped("http://up/mcp?project=a", "/mcp?project=b"),
            "/mcp?project=a"
        );
    }

    #[test]
    fn unusable_urls_are_refused_when_built() {
        use UpstreamUrlErrorKind::{NotAbsolute, Scheme, UserInfo};
        for (url, kind) in [
            ("/mcp", NotAbsolute),
            ("up:80", NotAbsolute),
            ("ftp://up/mcp", Scheme),
            ("https://up/mcp", Scheme),
            ("http://user:password@up/mcp", UserInfo),
        ] {
            assert_eq!(target(url).err(), Some(kind), "{url}");
        }
    }

    #[test]
    fn host_leaves_out_the_default_port() {
        for (url, host) in [
            ("http://up.example/mcp", "up.example"),
            ("http://up.example:80/mcp", "up.example"),
            ("http://[::1]:8080/mcp", "[::1]:8080"),
        ] {
            assert_eq!(target(url).expect(url).host(), host);
        }
    }
}
