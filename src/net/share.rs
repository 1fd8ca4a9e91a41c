//! Whether a port can be shared with the programs that hold it.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Type};

use super::BindError;

/// Binds an IPv4 port as programs do that share it (mDNS), and lets go of it at once.
///
/// Fails with [`BindError::Taken`] where a program holds it that does not share.
pub fn can_share(port: u16) -> Result<(), BindError> {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let bind = || {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())
    };
    bind().map_err(|source| BindError::new(address, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(shared: bool) -> (socket2::Socket, u16) {
        let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
        socket.set_reuse_address(shared).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, port)
    }

    #[test]
    fn a_port_is_shared_with_who_shares_it_and_with_nobody_else() {
        let (_shares, port) = bound(true);
        assert!(can_share(port).is_ok());
        let (_keeps, port) = bound(false);
        let Err(BindError::Taken { holder: Some(holder), .. }) = can_share(port) else { panic!("shared") };
        assert_eq!(holder.pid, std::process::id());
    }
}
