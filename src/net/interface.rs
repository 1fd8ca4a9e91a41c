//! What the kernel says of an interface. Pure.

use std::net::{IpAddr, Ipv4Addr};

use super::Family;
use crate::model::{InterfaceName, Scope};

/// A network interface with its addresses, as the kernel reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// The kernel's number for it; a new one each time it is made.
    pub index: u32,
    /// Its name.
    pub name: InterfaceName,
    /// Whether it is switched on and has a carrier (`IFF_UP` and `IFF_RUNNING`).
    pub up: bool,
    /// Whether it is the host itself.
    pub loopback: bool,
    /// Whether it carries multicast.
    pub multicast: bool,
    /// Whether it carries IPv4 broadcast.
    pub broadcast: bool,
    /// Whether it has one other end and no broadcast (a tunnel, PPP).
    pub point_to_point: bool,
    /// The kernel's word for a virtual interface (`bridge`, `veth`, `wireguard`); `None` for hardware or if unknown.
    pub kind: Option<Box<str>>,
    /// Its addresses in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// One address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network prefix.
    pub prefix: u8,
    /// The directed broadcast address that was set on it; `None` on IPv6 and where none was set.
    pub broadcast: Option<Ipv4Addr>,
    /// A privacy address that will be replaced (RFC 8981); never set on IPv4.
    pub temporary: bool,
    /// Past its preferred lifetime: new connections avoid it (RFC 4862 §5.5.4).
    pub deprecated: bool,
    /// Not usable: duplicate address detection runs, or found a duplicate (RFC 4862 §5.4).
    pub tentative: bool,
}

impl Interface {
    /// The most interfaces that are looked at: a Kubernetes node has a few hundred.
    pub const MAX: usize = 4096;
    /// The most addresses of one interface that are looked at.
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

    /// Whether packets may leave from it.
    pub fn usable(&self) -> bool {
        !self.tentative && !self.ip.is_unspecified() && !self.ip.is_multicast()
    }

    /// Whether it reaches one link only.
    pub fn link_local(&self) -> bool {
        Scope::of(self.ip) == Scope::Link
    }

    /// Whether another address lies in the network of this one.
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

    /// The address that reaches everybody in its IPv4 network: the one that was set, else the last of the network.
    ///
    /// `None` for IPv6 and for networks of one or two addresses (RFC 3021).
    pub fn directed_broadcast(&self) -> Option<Ipv4Addr> {
        let IpAddr::V4(ip) = self.ip else { return None };
        if self.prefix >= 31 {
            return None;
        }
        let set = self
            .broadcast
            .filter(|set| !set.is_unspecified() && *set != ip);
        Some(set.unwrap_or_else(|| Ipv4Addr::from_bits(ip.to_bits() | (u32::MAX >> self.prefix))))
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
    fn an_address_reaches_its_own_network_alone() {
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
    fn set_broadcast_address_wins() {
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
