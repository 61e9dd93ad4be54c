use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address leads, as far as it matters whether keys may come from there (SEC-3, B57).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Global,
    /// This machine.
    Loopback,
    /// A network of one's own: private, of a carrier, or unique local.
    Private,
    /// Nowhere that keys come from: metadata services, multicast, documentation, tunnels.
    Never,
}

impl Reach {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => v4(address),
            IpAddr::V6(address) => v6(address),
        }
    }
}

/// By the IANA IPv4 Special-Purpose Address Registry, and what clouds have among other addresses.
const fn v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // Services for machines, with their secrets: of Alibaba, and of Azure.
        [100, 100, 100, 200] | [168, 63, 129, 16] => Reach::Never,
        [127, ..] => Reach::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Reach::Private,
        [0 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Reach::Never,
        _ => Reach::Global,
    }
}

/// By the IANA IPv6 Special-Purpose Address Registry. What carries an IPv4 address is that address, or
/// is not taken.
const fn v6(address: Ipv6Addr) -> Reach {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Loopback,
        // Mapped; and translated by the network (RFC 6052), which is no less that address.
        [0, 0, 0, 0, 0, 0xFFFF, high, low] | [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            v4(Ipv4Addr::new(a, b, c, d))
        }
        // The same among the addresses of one's own: of Amazon, Google and Scaleway.
        [0xFD00, 0xEC2, ..] | [0xFD20, 0xCE, ..] | [0xFD00, 0x42, 0, 0, 0, 0, 0, 0x42] => {
            Reach::Never
        }
        [0xFC00..=0xFDFF, ..] => Reach::Private,
        // Teredo and other protocols' own, documentation, 6to4.
        [0x2001, 0..=0x1FF, ..] | [0x2001, 0xDB8, ..] | [0x2002, ..] | [0x3FFF, 0..=0xFFF, ..] => {
            Reach::Never
        }
        [0x2000..=0x3FFF, ..] => Reach::Global,
        _ => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b57_addresses_by_where_they_lead() {
        for (address, reach) in [
            ("1.1.1.1", Reach::Global),
            ("172.15.255.255", Reach::Global),
            ("172.32.0.0", Reach::Global),
            ("100.63.255.255", Reach::Global),
            ("100.128.0.0", Reach::Global),
            ("192.0.1.0", Reach::Global),
            ("2606:4700::1111", Reach::Global),
            ("::ffff:1.1.1.1", Reach::Global),
            ("127.0.0.1", Reach::Loopback),
            ("127.255.255.254", Reach::Loopback),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("64:ff9b::127.0.0.1", Reach::Loopback),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.100.100.199", Reach::Private),
            ("100.100.100.200", Reach::Never),
            ("::ffff:100.100.100.200", Reach::Never),
            ("168.63.129.15", Reach::Global),
            ("168.63.129.16", Reach::Never),
            ("fd20:ce::254", Reach::Never),
            ("fd00:42::42", Reach::Never),
            ("100.127.255.255", Reach::Private),
            ("fc00::1", Reach::Private),
            ("fdff::1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("64:ff9b::10.0.0.1", Reach::Private),
            ("169.254.169.254", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("64:ff9b::169.254.169.254", Reach::Never),
            ("64:ff9b:1::1", Reach::Never),
            ("0.0.0.0", Reach::Never),
            ("0.1.2.3", Reach::Never),
            ("192.0.0.8", Reach::Never),
            ("192.0.2.1", Reach::Never),
            ("198.18.0.1", Reach::Never),
            ("198.51.100.1", Reach::Never),
            ("203.0.113.1", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("240.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("::", Reach::Never),
            ("::127.0.0.1", Reach::Never),
            ("fe80::1", Reach::Never),
            ("febf::1", Reach::Never),
            ("fec0::1", Reach::Never),
            ("ff02::1", Reach::Never),
            ("2001::1", Reach::Never),
            ("2001:db8::1", Reach::Never),
            ("2002:7f00:1::", Reach::Never),
            ("fd00:ec2::254", Reach::Never),
            ("4000::1", Reach::Never),
        ] {
            let parsed = address.parse().expect("an address");
            assert_eq!(Reach::of(parsed), reach, "{address}");
        }
    }
}
