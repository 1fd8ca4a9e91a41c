//! TCP: the port that a node listens on for sessions or for a legacy protocol, and connections to
//! others.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tracing::debug;

use super::holder::{Holder, tcp_port_holder};

/// Connections that the kernel holds until they are accepted: a fleet that is notified of a new
/// file connects at once.
const BACKLOG: i32 = 512;

/// Why the node can't listen on the TCP port.
#[derive(Debug, thiserror::Error)]
pub enum TcpBindError {
    /// Another program holds the port.
    #[error(
        "listen on {address}: port {port}/tcp is taken{by}: stop it or set listen.port",
        port = .address.port(),
        by = .holder.as_ref().map_or_else(|| " by another program".to_owned(), |holder| format!(" by {holder}"))
    )]
    Taken {
        address: SocketAddr,
        /// The program that holds the port, where that may be read.
        holder: Option<Holder>,
    },
    /// Any other error.
    #[error("listen on {address} (TCP): {source}")]
    Io {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
}

/// Connects within a time limit.
pub async fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let connected = tokio::time::timeout(limit, TcpStream::connect(to))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
        .flatten();
    if let Err(error) = &connected {
        debug!(peer = %to, %error, "the TCP connection failed");
    }
    connected
}

/// Listens on an address and port; `::` stands for both families, and for IPv4 alone on a host
/// without IPv6.
///
/// A client that connects by IPv4 to `::` has an IPv4-mapped address (RFC 4291 §2.5.5.2). The
/// listener does not block.
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
        io::ErrorKind::AddrInUse => TcpBindError::Taken {
            address,
            holder: tcp_port_holder(address.port()),
        },
        _ => TcpBindError::Io { address, source },
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait until the kernel has forgotten the connections of the last run. On
    // Linux this option does not affect another program that listens on the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || matches!(
            error.raw_os_error(),
            Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPFNOSUPPORT)
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn listener_accepts_connections_on_its_port() {
        let listener = bind_tcp(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(connect(address, LIMIT), listener.accept());
        assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
    }

    #[tokio::test]
    async fn unspecified_address_accepts_both_families() {
        let listener = bind_tcp("::".parse().unwrap(), 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        connect((Ipv4Addr::LOCALHOST, port).into(), LIMIT)
            .await
            .unwrap();
        if listener.local_addr().unwrap().is_ipv6() {
            connect(("::1".parse::<IpAddr>().unwrap(), port).into(), LIMIT)
                .await
                .unwrap();
        }
    }

    #[test]
    fn port_in_use_names_its_holder() {
        let listener = bind_tcp("127.0.0.1".parse().unwrap(), 0).unwrap();
        let error = bind_tcp(
            "127.0.0.1".parse().unwrap(),
            listener.local_addr().unwrap().port(),
        )
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("/tcp is taken by PID") && text.contains("listen.port"),
            "{text}"
        );
    }
}
