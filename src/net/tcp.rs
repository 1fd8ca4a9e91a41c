//! The TCP socket that sessions come in by.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::holder::{Holder, tcp_port_holder};

/// Connections that the kernel holds until they are accepted: a fleet that was told of a new file comes at once.
const BACKLOG: i32 = 512;

/// Why the TCP port can't be had.
#[derive(Debug, thiserror::Error)]
pub enum TcpBindError {
    /// Another program holds the port.
    #[error(
        "listen on {address}: port {port}/tcp is taken{by}: stop it or set listen.port",
        port = .address.port(),
        by = .holder.as_ref().map_or_else(|| " by another program".to_owned(), |holder| format!(" by {holder}"))
    )]
    Taken {
        /// The address that was asked for.
        address: SocketAddr,
        /// Who holds the port, where that may be read.
        holder: Option<Holder>,
    },
    /// Anything else.
    #[error("listen on {address} (TCP): {source}")]
    Io {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Listens on an address and port; `::` stands for both families, and for IPv4 alone on a host without IPv6.
pub fn bind_tcp(address: IpAddr, port: u16) -> Result<TcpListener, TcpBindError> {
    let wanted = SocketAddr::new(address, port);
    match listen(wanted) {
        Ok(listener) => Ok(listener),
        Err(error) if lacks_ipv6(&error) && address.is_unspecified() => {
            let wanted = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            listen(wanted).map_err(|source| failed(wanted, source))
        }
        Err(source) => Err(failed(wanted, source)),
    }
}

fn failed(address: SocketAddr, source: io::Error) -> TcpBindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => TcpBindError::Taken { address, holder: tcp_port_holder(address.port()) },
        _ => TcpBindError::Io { address, source },
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait until the connections of the last run have left the kernel. On Linux this takes the port
    // from nobody who listens.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn the_unspecified_address_takes_both_families() {
        let listener = bind_tcp("::".parse().unwrap(), 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            TcpStream::connect(("::1", port)).unwrap();
        }
    }

    #[test]
    fn a_taken_port_names_its_holder() {
        let listener = bind_tcp("127.0.0.1".parse().unwrap(), 0).unwrap();
        let error = bind_tcp("127.0.0.1".parse().unwrap(), listener.local_addr().unwrap().port()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/tcp is taken by PID") && text.contains("listen.port"), "{text}");
    }
}
