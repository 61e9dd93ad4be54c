use std::net::Ipv6Addr;

use http::{
    HeaderMap, HeaderValue, Uri,
    header::{HOST, ORIGIN},
};

use super::{
    authority::{Authority, Host},
    error::{ConfigError, ConfigErrorKind},
    reason::Reason,
};

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub(super) struct Allowed {
    pub(super) loopback: bool,
    pub(super) requires_origin: bool,
    hosts: Vec<ListedHost>,
    origins: Vec<ListedOrigin>,
    /// `null`, and the origins of schemes whose parts mean nothing here.
    opaque: Vec<Box<[u8]>>,
}

#[derive(Clone, Debug)]
struct ListedHost {
    host: Listed,
    port: Option<u16>,
}

#[derive(Clone, Debug)]
struct ListedOrigin {
    scheme: Scheme,
    host: Listed,
    port: u16,
}

/// A host that somebody has listed.
#[derive(Clone, Debug)]
enum Listed {
    Name(Box<[u8]>),
    V6(Ipv6Addr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Allowed {
    pub(super) fn add_host(&mut self, text: &str) -> Result<(), ConfigError> {
        let error = ConfigError::new(ConfigErrorKind::Host);
        let authority = Authority::parse(text.as_bytes()).ok_or(error)?;
        self.hosts.push(ListedHost {
            host: Listed::new(authority.host.without_dot()),
            port: authority.explicit_port(),
        });
        Ok(())
    }

    pub(super) fn add_origin(&mut self, text: &str) -> Result<(), ConfigError> {
        let error = ConfigError::new(ConfigErrorKind::Origin);
        match Scheme::split(text.as_bytes()) {
            Some((scheme, rest)) => {
                let authority = Authority::parse(rest).ok_or(error)?;
                self.origins.push(ListedOrigin {
                    scheme,
                    host: Listed::new(authority.host),
                    port: authority.port.unwrap_or(scheme.default_port()),
                });
            }
            None if text == "null" || is_opaque(text) => self.opaque.push(text.as_bytes().into()),
            None => return Err(error),
        }
        Ok(())
    }

    /// Judges a request; whether it has an `Origin`, if it may pass.
    #[inline]
    pub(super) fn judge(&self, uri: &Uri, headers: &HeaderMap) -> Result<bool, Reason> {
        let fields = Fields::of(headers);
        let authority = fields.authority(uri)?;
        if !self.has_host(&authority) {
            return Err(if authority.host.is_valid() {
                Reason::ForeignHost
            } else {
                Reason::MalformedHost
            });
        }
        match fields.origin {
            _ if fields.is_origin_repeated => Err(Reason::RepeatedOrigin),
            None if self.requires_origin => Err(Reason::NoOrigin),
            None => Ok(false),
            Some(origin) if self.has_origin(origin.as_bytes()) => Ok(true),
            Some(_) => Err(Reason::ForeignOrigin),
        }
    }

    #[inline]
    fn has_host(&self, authority: &Authority<'_>) -> bool {
        let host = authority.host.without_dot();
        let port = authority.explicit_port();
        let is_it = |listed: &ListedHost| listed.port == port && listed.host.is(host);
        (self.loopback && host.is_loopback()) || self.hosts.iter().any(is_it)
    }

    fn has_origin(&self, text: &[u8]) -> bool {
        let Some((scheme, rest)) = Scheme::split(text) else {
            return self.opaque.iter().any(|opaque| **opaque == *text);
        };
        let Some(Authority { host, port }) = Authority::split(rest) else {
            return false;
        };
        let port = port.unwrap_or(scheme.default_port());
        let is_it = |listed: &ListedOrigin| {
            listed.scheme == scheme && listed.port == port && listed.host.is(host)
        };
        (self.loopback && host.is_loopback()) || self.origins.iter().any(is_it)
    }
}

/// The two fields that are judged, found in one pass: to look one name up costs as much as to look
/// at a dozen.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a HeaderValue>,
    is_host_repeated: bool,
    origin: Option<&'a HeaderValue>,
    is_origin_repeated: bool,
}

impl<'a> Fields<'a> {
    #[inline]
    fn of(headers: &'a HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            if *name == HOST {
                fields.is_host_repeated |= fields.host.replace(value).is_some();
            } else if *name == ORIGIN {
                fields.is_origin_repeated |= fields.origin.replace(value).is_some();
            }
        }
        fields
    }

    /// The one host that a request means.
    #[inline]
    fn authority(&self, uri: &'a Uri) -> Result<Authority<'a>, Reason> {
        if self.is_host_repeated {
            return Err(Reason::AmbiguousHost);
        }
        let host = self.host.map(HeaderValue::as_bytes);
        let uri = uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        let one = uri.or(host).ok_or(Reason::NoHost)?;
        let authority = Authority::split(one).ok_or(Reason::MalformedHost)?;
        if let (Some(_), Some(host)) = (uri, host) {
            let host = Authority::split(host).ok_or(Reason::MalformedHost)?;
            if !authority.is_same(&host) {
                return Err(Reason::AmbiguousHost);
            }
        }
        Ok(authority)
    }
}

/// Whether `text` is an origin of another scheme than HTTP's.
fn is_opaque(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme)
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic())
        && !rest.contains(['/', '*', ','])
}

impl Scheme {
    /// Takes one of HTTP's schemes off.
    #[inline]
    fn split(text: &[u8]) -> Option<(Self, &[u8])> {
        for (scheme, prefix) in [(Self::Http, "http://"), (Self::Https, "https://")] {
            if let Some((start, rest)) = text.split_at_checked(prefix.len())
                && start.eq_ignore_ascii_case(prefix.as_bytes())
            {
                return Some((scheme, rest));
            }
        }
        None
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Listed {
    fn new(host: Host<'_>) -> Self {
        match host {
            Host::Name(name) => Self::Name(name.to_ascii_lowercase().into()),
            Host::V6(address) => Self::V6(address),
        }
    }

    #[inline]
    fn is(&self, host: Host<'_>) -> bool {
        host.is_same(match self {
            Self::Name(name) => Host::Name(name),
            Self::V6(address) => Host::V6(*address),
        })
    }
}
