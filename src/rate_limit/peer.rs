use std::{
    net::{IpAddr, Ipv6Addr},
    ops::ControlFlow::{Break, Continue},
    sync::Arc,
};

use super::{Caller, KeyError, Network, RateKey, forwarded};
use crate::peer::PeerAddr;

/// An account per address of a client; of an IPv6 address it is the network that counts, by default the
/// first 64 bits, because everybody has that many addresses at least (R03).
///
/// It goes by the [`PeerAddr`] that whoever accepts connections puts into the requests; without it, they
/// get 500. Behind a proxy that address is the proxy's, and says nothing: then say
/// [which proxies](Self::with_trusted_proxies) there are, or if their addresses are not known
/// [how many](Self::with_trusted_hops). What clients say about themselves never counts.
#[derive(Clone, Debug)]
#[must_use]
pub struct ByPeer {
    trust: Trust,
    field: ForwardedField,
    ipv6_mask: u128,
}

#[derive(Clone, Debug)]
enum Trust {
    Nobody,
    /// As many as there are in front, the peer included.
    Hops(usize),
    Networks(Arc<[Network]>),
}

/// Where a proxy says for whom it asks. One is believed, and the other one is whatever a client wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedField {
    /// `X-Forwarded-For`, which nearly all proxies write.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ByPeer {
    /// Goes by the other end of the connection.
    pub const fn new() -> Self {
        Self {
            trust: Trust::Nobody,
            field: ForwardedField::XForwardedFor,
            ipv6_mask: mask(64),
        }
    }

    /// Believes the last `hops` proxies, each of which adds the address that it was asked from: the
    /// client's is the one that the first of them has added.
    ///
    /// Nobody must be able to get past one of them, because then the client writes what is counted: where
    /// their addresses are known, [say those](Self::with_trusted_proxies), and whoever comes past them is
    /// a client. If there are not as many addresses, the first one counts.
    pub fn with_trusted_hops(self, hops: usize) -> Self {
        Self {
            trust: Trust::Hops(hops),
            ..self
        }
    }

    /// Believes proxies with an address in one of these networks: the client is the last one with
    /// another address.
    ///
    /// Whoever connects from elsewhere is a client, whatever it writes.
    pub fn with_trusted_proxies(self, networks: impl IntoIterator<Item = Network>) -> Self {
        Self {
            trust: Trust::Networks(networks.into_iter().collect()),
            ..self
        }
    }

    /// The field that the proxies write.
    pub const fn with_field(mut self, field: ForwardedField) -> Self {
        self.field = field;
        self
    }

    /// How many bits of an IPv6 address count; 128 at most.
    pub const fn with_ipv6_prefix(mut self, bits: u8) -> Self {
        self.ipv6_mask = mask(bits);
        self
    }

    /// The address of the client: the last one that nobody trusted has written. What is no address is
    /// nobody's, and then it is the peer that counts (R02).
    fn client(&self, caller: Caller<'_>, peer: IpAddr) -> IpAddr {
        let peer = peer.to_canonical();
        let is_trusted = |hop: usize, address: IpAddr| match &self.trust {
            Trust::Nobody => false,
            Trust::Hops(hops) => hop < *hops,
            Trust::Networks(networks) => networks.iter().any(|one| one.contains(address)),
        };
        if !is_trusted(0, peer) {
            return peer;
        }
        let (mut client, mut hop) = (peer, 0);
        _ = forwarded::visit_from_last(caller.headers(), self.field, |written| {
            hop += 1;
            client = written.unwrap_or(peer);
            let goes_on = written.is_some() && is_trusted(hop, client);
            if goes_on { Continue(()) } else { Break(()) }
        });
        client
    }
}

impl Default for ByPeer {
    fn default() -> Self {
        Self::new()
    }
}

impl RateKey for ByPeer {
    type Key<'a> = IpAddr;

    fn key(&self, caller: Caller<'_>) -> Result<IpAddr, KeyError> {
        let peer = caller.extensions().get::<PeerAddr>();
        let peer = peer.ok_or_else(|| {
            KeyError::missing("PeerAddr: whoever accepts connections has to insert it")
        })?;
        Ok(match self.client(caller, peer.ip()) {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & self.ipv6_mask).into(),
            address => address,
        })
    }
}

/// The first `bits` of an IPv6 address.
const fn mask(bits: u8) -> u128 {
    match bits {
        0 => 0,
        1..=127 => u128::MAX << (128 - bits),
        _ => u128::MAX,
    }
}
