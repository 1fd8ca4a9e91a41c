//! An interface and its addresses as the kernel reports them. Pure.

use std::net::{IpAddr, Ipv4Addr};

use super::Family;
use crate::model::{InterfaceName, Scope};

/// A network interface with its addresses, as the kernel reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it; a new number each time the interface is created.
    pub index: u32,
    pub name: InterfaceName,
    /// Whether it is switched on and has a carrier (`IFF_UP` and `IFF_RUNNING`).
    pub up: bool,
    pub loopback: bool,
    /// Whether it supports multicast.
    pub multicast: bool,
    /// Whether it supports IPv4 broadcast.
    pub broadcast: bool,
    /// Whether it connects to exactly one peer and has no broadcast (a tunnel, PPP).
    pub point_to_point: bool,
    /// The kernel's kind of a virtual interface (`bridge`, `veth`, `wireguard`); `None` for
    /// hardware or if unknown.
    pub kind: Option<Box<str>>,
    /// The addresses in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    pub ip: IpAddr,
    /// The length of the network prefix, in bits.
    pub prefix: u8,
    /// The directed broadcast address that was configured; `None` for IPv6 and where none was
    /// configured.
    pub broadcast: Option<Ipv4Addr>,
    /// A privacy address that will be replaced (RFC 8981); never set on IPv4.
    pub temporary: bool,
    /// Whether its preferred lifetime is over: new connections avoid it (RFC 4862 §5.5.4).
    pub deprecated: bool,
    /// Whether it is not usable: duplicate address detection runs, or found a duplicate (RFC 4862
    /// §5.4).
    pub tentative: bool,
}

impl Interface {
    /// The maximum number of interfaces that are read: a Kubernetes node has a few hundred.
    pub const MAX: usize = 4096;
    /// The maximum number of addresses of one interface that are read.
    pub const MAX_ADDRESSES: usize = 256;

    /// Whether it has an address of a family.
    pub fn has(&self, family: Family) -> bool {
        self.addresses
            .iter()
            .any(|address| Family::of(address.ip) == family)
    }
}

impl InterfaceAddress {
    /// An ordinary address without a broadcast address.
    pub fn new(ip: IpAddr, prefix: u8) -> Self {
        Self {
            ip,
            prefix,
            broadcast: None,
            temporary: false,
            deprecated: false,
            tentative: false,
        }
    }

    /// Whether it can be the source of packets.
    pub fn usable(&self) -> bool {
        !self.tentative && !self.ip.is_unspecified() && !self.ip.is_multicast()
    }

    /// Whether it is valid on one link only.
    pub fn link_local(&self) -> bool {
        Scope::of(self.ip) == Scope::Link
    }

    /// Whether another address is in the network of this one.
    pub fn reaches(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }

    /// The broadcast address of its IPv4 network: the configured one, otherwise the last address of
    /// the network.
    ///
    /// `None` for IPv6 and for networks of one or two addresses (RFC 3021).
    pub fn directed_broadcast(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(ip) = self.ip else { return None };
        if self.prefix >= 31 {
            return None;
        }
        let configured = self
            .broadcast
            .filter(|broadcast| !broadcast.is_unspecified() && *broadcast != ip);
        Some(
            configured
                .unwrap_or_else(|| Ipv4Addr::from_bits(ip.to_bits() | (u32::MAX >> self.prefix))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directed_broadcast_is_the_last_of_the_network() {
        for (ip, prefix, expected) in [
            ("192.168.1.7", 24, Some("192.168.1.255")),
            ("10.1.2.3", 8, Some("10.255.255.255")),
            ("10.1.2.3", 0, Some("255.255.255.255")),
            ("10.1.2.4", 30, Some("10.1.2.7")),
            ("10.1.2.3", 31, None),
            ("10.1.2.3", 32, None),
            ("10.1.2.3", 255, None),
            ("fd00::1", 64, None),
        ] {
            let address = InterfaceAddress::new(ip.parse().unwrap(), prefix);
            let expected = expected.map(|text| text.parse::<Ipv4Addr>().unwrap());
            assert_eq!(address.directed_broadcast(), expected, "{ip}/{prefix}");
        }
    }

    #[test]
    fn address_reaches_only_its_own_network() {
        for (own, prefix, other, reached) in [
            ("10.1.2.3", 24, "10.1.2.200", true),
            ("10.1.2.3", 24, "10.1.3.1", false),
            ("10.1.2.3", 32, "10.1.2.3", true),
            ("10.1.2.3", 0, "192.0.2.1", true),
            ("fd00::1", 64, "fd00::2", true),
            ("fd00::1", 64, "10.1.2.3", false),
        ] {
            let address = InterfaceAddress::new(own.parse().unwrap(), prefix);
            assert_eq!(
                address.reaches(other.parse().unwrap()),
                reached,
                "{own}/{prefix} {other}"
            );
        }
    }

    #[test]
    fn configured_broadcast_address_has_precedence() {
        let mut address = InterfaceAddress::new("192.168.1.7".parse().unwrap(), 24);
        address.broadcast = Some(Ipv4Addr::new(192, 168, 1, 127));
        assert_eq!(address.directed_broadcast(), address.broadcast);
        address.broadcast = Some(Ipv4Addr::UNSPECIFIED);
        assert_eq!(
            address.directed_broadcast(),
            Some(Ipv4Addr::new(192, 168, 1, 255))
        );
    }
}
