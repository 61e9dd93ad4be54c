use std::{error::Error, fmt, net::IpAddr, str::FromStr};

/// A network of addresses, such as `10.0.0.0/8`, `2001:db8::/32`, or `127.0.0.1`, which is one alone.
///
/// One of IPv4 addresses that are written as IPv6 ones, such as `::ffff:10.0.0.0/104`, is the network of
/// those IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// The addresses that begin with the first `bits` of `address`.
    ///
    /// # Errors
    ///
    /// If it has not as many, or if later ones are set: then somebody has meant something else.
    pub fn new(address: IpAddr, bits: u8) -> Result<Self, NetworkError> {
        let len = if address.is_ipv4() { 32 } else { 128 };
        let rest = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        if bits > len || rest.checked_shl(bits.into()).unwrap_or(0) != 0 {
            return Err(NetworkError(()));
        }
        // What is asked for is compared in the one form that it has.
        Ok(match (address.to_canonical(), bits.checked_sub(96)) {
            (IpAddr::V4(mapped), Some(bits)) if address.is_ipv6() => Self {
                address: mapped.into(),
                bits,
            },
            _ => Self { address, bits },
        })
    }

    /// Whether an address is in it. An IPv4 address that is written as one of IPv6 is that IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                u128::from(ours.to_bits() ^ theirs.to_bits()) << 96
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours.to_bits() ^ theirs.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= self.bits.into()
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self { address, bits }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = NetworkError(());
        match text.split_once('/') {
            None => text.parse().map(IpAddr::into).map_err(|_| wrong),
            Some((address, bits)) => {
                let address = address.parse().map_err(|_| wrong)?;
                let is_number = bits.bytes().all(|byte| byte.is_ascii_digit());
                let bits = bits.parse().ok().filter(|_| is_number).ok_or(wrong)?;
                Self::new(address, bits)
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// A text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkError(());

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected the first address of a network, a slash, and a number of bits")
    }
}

impl Error for NetworkError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_begins_like_them() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.0.0.1", "::10.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::1"),
            ("::1", "::1", "::2"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            // IPv4 addresses and networks that are written as those of IPv6.
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("::ffff:10.0.0.1/128", "::ffff:10.0.0.1", "10.0.0.2"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:0:0/96", "203.0.113.9", "::ffff"),
        ] {
            let network: Network = network.parse().expect("a network");
            assert!(network.contains(inside.parse().expect("an address")));
            assert!(!network.contains(outside.parse().expect("an address")));
            assert_eq!(network.to_string().parse(), Ok(network));
        }
    }

    #[test]
    fn what_is_no_network_is_not_read() {
        for text in [
            "",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.1/8",
            "010.0.0.0/8",
            "10/8",
            "2001:db8::/129",
            "2001:db8::1/64",
            "::1/256",
            "localhost",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
