//! TCP listeners and connections.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 128;

/// Listens on one port: for `::` on each family that the host has, at least one; for any other address on that alone.
///
/// Must be called within a tokio runtime.
pub fn listen(address: IpAddr, port: u16) -> io::Result<Vec<TcpListener>> {
    if address != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Ok(vec![open((address, port).into())?]);
    }
    let ipv6 = match open((Ipv6Addr::UNSPECIFIED, port).into()) {
        Err(error) if is_missing_family(&error) => None,
        other => Some(other?),
    };
    // Where any port will do, both families get the same.
    let port = ipv6.as_ref().and_then(|listener| listener.local_addr().ok()).map_or(port, |address| address.port());
    let ipv4 = match open((Ipv4Addr::UNSPECIFIED, port).into()) {
        Err(error) if is_missing_family(&error) && ipv6.is_some() => None,
        other => Some(other?),
    };
    Ok(ipv6.into_iter().chain(ipv4).collect())
}

/// Connects within a limit.
pub async fn connect(to: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    tokio::time::timeout(limit, TcpStream::connect(to)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn is_missing_family(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable
        || matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EPFNOSUPPORT))
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of a server that was stopped a moment ago must not keep the next one from its port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn listener_takes_connections_on_its_port() {
        let listeners = listen(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listeners[0].local_addr().unwrap();
        let (client, accepted) = tokio::join!(connect(address, LIMIT), listeners[0].accept());
        assert_eq!(accepted.unwrap().1, client.unwrap().local_addr().unwrap());
        let taken = listen(Ipv4Addr::LOCALHOST.into(), address.port()).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }
}
