//! The interfaces where netlink is refused: by netdevice(7) and `/proc`, neither of which needs
//! netlink.
//!
//! The C library's getifaddrs does not help here: on Linux it uses netlink itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsFd;

use socket2::{Domain, Socket, Type};

use super::{Interface, InterfaceAddress, sys};
use crate::model::InterfaceName;

/// All interfaces, by index.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)
        .or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None))?;
    let ipv4 = sys::ipv4_addresses(socket.as_fd())?;
    let ipv6 = read("if_inet6");
    let links = read("dev");
    let mut table = BTreeMap::new();
    // Where `/proc` can't be read, only the interfaces with an IPv4 address are found.
    for name in names(&links).chain(ipv4.iter().map(|row| interface_of(&row.label))) {
        let Ok(name) = InterfaceName::parse(name) else {
            continue;
        };
        // An interface that was removed meanwhile is skipped.
        let Ok((index, flags)) = sys::link(socket.as_fd(), name.as_str()) else {
            continue;
        };
        if table.len() < Interface::MAX {
            table
                .entry(index)
                .or_insert_with(|| interface(index, name, flags));
        }
    }
    for row in ipv4 {
        let found = table
            .values_mut()
            .find(|interface| interface.name.as_str() == interface_of(&row.label));
        let prefix = row.mask.to_bits().leading_ones() as u8;
        if let Some(interface) =
            found.filter(|found| found.addresses.len() < Interface::MAX_ADDRESSES)
        {
            let broadcast = row.broadcast.filter(|_| interface.broadcast);
            interface.addresses.push(InterfaceAddress {
                broadcast,
                ..InterfaceAddress::new(row.ip.into(), prefix)
            });
        }
    }
    for (index, address) in ipv6.lines().filter_map(ipv6_row) {
        let found = table
            .get_mut(&index)
            .filter(|found| found.addresses.len() < Interface::MAX_ADDRESSES);
        if let Some(interface) = found {
            interface.addresses.push(address);
        }
    }
    Ok(table.into_values().collect())
}

fn interface(index: u32, name: InterfaceName, flags: i32) -> Interface {
    let on = |flag: i32| flags & flag != 0;
    Interface {
        index,
        name,
        up: on(libc::IFF_UP) && on(libc::IFF_RUNNING),
        loopback: on(libc::IFF_LOOPBACK),
        multicast: on(libc::IFF_MULTICAST),
        broadcast: on(libc::IFF_BROADCAST),
        point_to_point: on(libc::IFF_POINTOPOINT),
        kind: None,
        addresses: Vec::new(),
    }
}

/// A table of the kernel; empty if it does not exist, such as `if_inet6` without IPv6.
fn read(table: &str) -> String {
    // The thread's own view, as a thread can be in another network namespace than the process.
    fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default()
}

/// The interfaces' names in `/proc/net/dev`: after two lines of headings, each before a colon.
fn names(table: &str) -> impl Iterator<Item = &str> {
    table
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.rsplit_once(':')?.0.trim()))
}

/// A label is an interface's name, or begins with it and a colon.
fn interface_of(label: &str) -> &str {
    label.split(':').next().unwrap_or_default()
}

/// A row of `/proc/net/if_inet6`: address, index, prefix, scope, flags, all hexadecimal, and the
/// name.
fn ipv6_row(line: &str) -> Option<(u32, InterfaceAddress)> {
    let mut fields = line.split_ascii_whitespace();
    let ip = fields.next().filter(|ip| ip.len() == 32)?;
    let ip = Ipv6Addr::from_bits(u128::from_str_radix(ip, 16).ok()?);
    let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
    let index = number()?;
    let prefix = number()?;
    let _scope = number()?;
    let flags = number()?;
    let on = |flag: u32| flags & flag != 0;
    let is_unchecked = on(libc::IFA_F_TENTATIVE) && !on(libc::IFA_F_OPTIMISTIC);
    let address = InterfaceAddress {
        temporary: on(libc::IFA_F_TEMPORARY),
        deprecated: on(libc::IFA_F_DEPRECATED),
        tentative: is_unchecked || on(libc::IFA_F_DADFAILED),
        ..InterfaceAddress::new(
            IpAddr::V6(ip),
            u8::try_from(prefix).ok().filter(|prefix| *prefix <= 128)?,
        )
    };
    Some((index, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_the_kernels_tables_are_read() {
        let table = "Inter-|   Receive\n face |bytes\n    lo:  1 2 3\n  eth0: 5 6 7\nbroken\n";
        assert_eq!(names(table).collect::<Vec<_>>(), ["lo", "eth0"]);
        assert_eq!(
            (interface_of("eth0:1"), interface_of("eth0")),
            ("eth0", "eth0")
        );
        let (index, address) =
            ipv6_row("fe800000000000000000000000000007 0a 40 20 a0     eth0").unwrap();
        assert_eq!(
            (index, address.ip, address.prefix),
            (10, "fe80::7".parse().unwrap(), 64)
        );
        assert!((address.deprecated, address.temporary, address.tentative) == (true, false, false));
        assert!(
            ipv6_row("fe800000000000000000000000000007 0a 40 20 40 eth0")
                .unwrap()
                .1
                .tentative
        );
        for broken in [
            "",
            "fe80 1 2 3 4 eth0",
            "fe800000000000000000000000000007 0a ff 20 80 eth0",
        ] {
            assert_eq!(ipv6_row(broken), None, "{broken}");
        }
    }
}
