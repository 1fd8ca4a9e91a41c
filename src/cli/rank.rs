//! Which of a node's addresses suits the asker best.

use std::net::IpAddr;

use crate::model::Scope;

/// The asker: the networks that its interfaces are in.
#[derive(Debug, Clone, Default)]
pub(super) struct Asker {
    networks: Vec<(IpAddr, u8)>,
}

impl Asker {
    /// This machine; knows no network where the interfaces can't be listed.
    pub(super) fn this_machine() -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        Self::new(interfaces.into_iter().map(|interface| match interface.addr {
            if_addrs::IfAddr::V4(v4) => (IpAddr::V4(v4.ip), v4.prefixlen),
            if_addrs::IfAddr::V6(v6) => (IpAddr::V6(v6.ip), v6.prefixlen),
        }))
    }

    /// An asker with these addresses and the lengths of their network prefixes.
    pub(super) fn new(networks: impl IntoIterator<Item = (IpAddr, u8)>) -> Self {
        Self { networks: networks.into_iter().collect() }
    }

    /// Whether the address is on a network of the asker.
    ///
    /// The asker's own addresses don't count: on another node they are of another network that looks the same, such as a
    /// container bridge. Nor do link-local and loopback ones, which look the same on every network.
    pub(super) fn shares_subnet(&self, ip: IpAddr) -> bool {
        matches!(Scope::of(ip), Scope::Private | Scope::Global)
            && self.networks.iter().all(|(own, _)| *own != ip)
            && self.networks.iter().any(|(own, length)| same_prefix(*own, ip, *length))
    }

    /// The place of an address in the order, the best first: on a network of the asker, global (IPv6 first), private,
    /// IPv6 where the asker has none, link-local, loopback. Addresses of one place keep the node's own order.
    pub(super) fn place(&self, ip: IpAddr) -> u8 {
        let without_way = ip.is_ipv6() && !self.has_ipv6();
        match Scope::of(ip) {
            Scope::Private | Scope::Global if self.shares_subnet(ip) => 0,
            Scope::Private | Scope::Global if without_way => 4,
            Scope::Global if ip.is_ipv6() => 1,
            Scope::Global => 2,
            Scope::Private => 3,
            Scope::Link => 5,
            Scope::Loopback => 6,
        }
    }

    fn has_ipv6(&self) -> bool {
        self.networks.iter().any(|(own, _)| own.is_ipv6() && matches!(Scope::of(*own), Scope::Private | Scope::Global))
    }
}

/// Whether two addresses of one family agree in their first `length` bits.
fn same_prefix(a: IpAddr, b: IpAddr, length: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            let differing = a.to_bits() ^ b.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(networks: &[(&str, u8)]) -> Asker {
        Asker::new(networks.iter().map(|(ip, length)| (ip.parse().unwrap(), *length)))
    }

    fn ranked(asker: &Asker, addresses: &[&str]) -> Vec<String> {
        let mut ips: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        ips.sort_by_key(|ip| asker.place(*ip));
        ips.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_on_the_askers_network_comes_first() {
        let addresses = ["169.254.1.1", "10.9.0.5", "203.0.113.7", "192.168.1.20", "2001:db8::7", "127.0.0.1"];
        let home = asker(&[("127.0.0.1", 8), ("192.168.1.4", 24), ("2001:db8:1::4", 64)]);
        assert_eq!(
            ranked(&home, &addresses),
            ["192.168.1.20", "2001:db8::7", "203.0.113.7", "10.9.0.5", "169.254.1.1", "127.0.0.1"]
        );
    }

    #[test]
    fn an_asker_without_ipv6_gets_it_after_ipv4() {
        let asker = asker(&[("192.168.1.4", 24), ("fe80::1", 64)]);
        assert_eq!(ranked(&asker, &["2001:db8::7", "fd00::7", "10.0.0.1"]), ["10.0.0.1", "2001:db8::7", "fd00::7"]);
    }

    #[test]
    fn an_address_that_the_asker_has_itself_is_no_neighbour() {
        let asker = asker(&[("172.17.0.1", 16), ("192.168.1.4", 24)]);
        assert!(!asker.shares_subnet("172.17.0.1".parse().unwrap()));
        assert!(asker.shares_subnet("172.17.0.2".parse().unwrap()));
        assert!(!asker.shares_subnet("fe80::2".parse().unwrap()));
    }

    #[test]
    fn prefixes_of_any_length_compare() {
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert!(same_prefix(ip("10.0.0.1"), ip("192.0.2.1"), 0));
        assert!(!same_prefix(ip("10.0.0.1"), ip("10.0.0.2"), 32));
        assert!(same_prefix(ip("fd00::1"), ip("fd00::1"), 128));
        assert!(!same_prefix(ip("fd00::1"), ip("10.0.0.1"), 0));
    }
}
