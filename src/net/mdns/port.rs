//! Checks of this host: whether the port of multicast DNS can be shared, and whether the kernel
//! holds its groups.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

use super::PORT;
use crate::net::holder::udp_port_holder;
use crate::net::{Family, kernel_groups};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);

/// Whether port 5353 can be shared with the program that holds it; the crate would not report the
/// failure.
pub fn shareable() -> Result<(), String> {
    for ip in [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        match bind_shared(ip) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let holder = udp_port_holder(PORT)
                    .map_or_else(|| "another program".to_owned(), |holder| holder.to_string());
                return Err(format!(
                    "share port {PORT}/udp with {holder}, which does not share it: stop it, or let it share the port"
                ));
            }
            // A family that the host lacks is no obstacle for the other one.
            Err(error) => debug!(%ip, %error, "multicast DNS lacks an address family"),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn bind_shared(ip: IpAddr) -> io::Result<()> {
    let address = SocketAddr::new(ip, PORT);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())
}

/// Whether the kernel holds the groups of multicast DNS on an interface that uses it from these
/// addresses; true where the kernel does not say.
///
/// A daemon does not notice that it lost a group, because a socket keeps its memberships when the
/// kernel has dropped them.
pub fn kernel_holds_groups(interface: u32, addresses: &[IpAddr]) -> bool {
    let groups = [
        (Family::Ipv4, IpAddr::V4(GROUP_V4)),
        (Family::Ipv6, IpAddr::V6(GROUP_V6)),
    ];
    groups
        .into_iter()
        .filter(|(_, group)| addresses.iter().any(|ip| ip.is_ipv4() == group.is_ipv4()))
        .all(|(family, group)| {
            kernel_groups::joined(family).is_none_or(|joined| joined.contains(&(interface, group)))
        })
}
