use std::net::{Ipv4Addr, Ipv6Addr};

/// A host, and a port if there is one, as they stand in a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    pub(super) host: Host<'a>,
    pub(super) port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Host<'a> {
    /// A name or an IPv4 address, in any case.
    Name(&'a [u8]),
    /// An address has many spellings, so it is compared as what it is.
    V6(Ipv6Addr),
}

impl<'a> Authority<'a> {
    /// `None` for whatever is none, such as one with a user name (A16).
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        Self::split(text).filter(|authority| authority.host.is_valid())
    }

    /// Splits what may be an authority. What equals a host that is one needs no further look at its
    /// bytes.
    ///
    /// Always inlined: what comes out would pass through memory, and is looked at at once.
    #[inline(always)]
    pub(super) fn split(text: &'a [u8]) -> Option<Self> {
        let (host, port) = if text.first() == Some(&b'[') {
            let (address, port) = v6(text)?;
            (Host::V6(address), port)
        } else {
            let end = text.iter().position(|byte| *byte == b':');
            let (name, port) = text.split_at_checked(end.unwrap_or(text.len()))?;
            (Host::Name(name), port)
        };
        let port = match port {
            // RFC 3986 allows a colon with nothing behind it.
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(number(digits)?),
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// The port, unless it is one that a URL leaves out. A `Host` does not tell the scheme.
    pub(super) fn explicit_port(&self) -> Option<u16> {
        self.port.filter(|port| !matches!(port, 80 | 443))
    }

    /// Whether both mean the same host and port.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.explicit_port() == other.explicit_port()
            && self.host.without_dot().is_same(other.host.without_dot())
    }
}

impl Host<'_> {
    /// Whether it consists of what hosts do; a name in another script is sent in its ASCII form.
    pub(super) fn is_valid(self) -> bool {
        let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        match self {
            Self::Name(name) => !name.is_empty() && name.iter().all(is_valid),
            Self::V6(_) => true,
        }
    }

    /// Without the dot that ends a name in DNS.
    #[inline]
    pub(super) fn without_dot(self) -> Self {
        match self {
            Self::Name(name) => Self::Name(name.strip_suffix(b".").unwrap_or(name)),
            Self::V6(_) => self,
        }
    }

    /// Whether it is a name or an address of the machine itself, and of no other.
    #[inline]
    pub(super) fn is_loopback(self) -> bool {
        match self {
            // The usual ones first: nearly every request has one of these.
            Self::Name(name) => {
                name == b"127.0.0.1"
                    || name.eq_ignore_ascii_case(b"localhost")
                    || is_loopback_v4(name)
            }
            Self::V6(address) => address.is_loopback(),
        }
    }

    #[inline]
    pub(super) fn is_same(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(ours), Host::Name(theirs)) => ours.eq_ignore_ascii_case(theirs),
            (Self::V6(ours), Host::V6(theirs)) => ours == theirs,
            _ => false,
        }
    }
}

/// The address in brackets that `text` begins with, and what follows it.
#[inline(never)]
fn v6(text: &[u8]) -> Option<(Ipv6Addr, &[u8])> {
    let end = text.iter().position(|byte| *byte == b']')?;
    let (address, rest) = text.split_at_checked(end + 1)?;
    let address = address.strip_prefix(b"[")?.strip_suffix(b"]")?;
    Some((str::from_utf8(address).ok()?.parse().ok()?, rest))
}

/// Four decimal numbers, and none of the other spellings that some resolvers take.
fn is_loopback_v4(name: &[u8]) -> bool {
    let address = str::from_utf8(name).ok().map(str::parse::<Ipv4Addr>);
    matches!(address, Some(Ok(address)) if address.is_loopback())
}

/// Digits and nothing else: the parser of numbers would take a sign, too.
#[inline]
fn number(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0_u16, |number, digit| {
        let digit = digit.wrapping_sub(b'0');
        let shifted = number.checked_mul(10).filter(|_| digit < 10)?;
        shifted.checked_add(digit.into())
    })
}
