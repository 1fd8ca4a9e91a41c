//! The interfaces where the kernel gives no events: by getifaddrs, and `/sys/class/net` for the flags.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;

use if_addrs::IfAddr;

use super::{Interface, InterfaceAddress};
use crate::model::InterfaceName;

/// All interfaces that have an address, by index.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut table = BTreeMap::new();
    for found in if_addrs::get_if_addrs()? {
        let (Some(index), Ok(name)) = (found.index, InterfaceName::parse(&found.name)) else { continue };
        if table.len() >= Interface::MAX && !table.contains_key(&index) {
            continue;
        }
        let interface = table.entry(index).or_insert_with(|| {
            let known = flags(name);
            // Where `/sys` is shut, an interface counts as an ordinary one: sending to it shows the truth.
            let on = |flag: i32, otherwise: bool| known.map_or(otherwise, |flags| flags & flag as u32 != 0);
            let plain = !found.is_p2p && !found.is_loopback();
            Interface {
                index,
                name,
                up: on(libc::IFF_UP, true) && found.is_oper_up(),
                loopback: on(libc::IFF_LOOPBACK, found.is_loopback()),
                multicast: on(libc::IFF_MULTICAST, plain),
                broadcast: on(libc::IFF_BROADCAST, plain),
                point_to_point: on(libc::IFF_POINTOPOINT, found.is_p2p),
                kind: None,
                addresses: Vec::new(),
            }
        });
        if interface.addresses.len() < Interface::MAX_ADDRESSES {
            interface.addresses.push(address(&found.addr));
        }
    }
    Ok(table.into_values().collect())
}

fn address(found: &IfAddr) -> InterfaceAddress {
    match found {
        IfAddr::V4(v4) => {
            InterfaceAddress { broadcast: v4.broadcast, ..InterfaceAddress::new(IpAddr::V4(v4.ip), v4.prefixlen) }
        }
        IfAddr::V6(v6) => InterfaceAddress::new(IpAddr::V6(v6.ip), v6.prefixlen),
    }
}

/// The interface's `IFF_*` flags; `None` if they can't be read.
fn flags(name: InterfaceName) -> Option<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/flags")).ok()?;
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}
