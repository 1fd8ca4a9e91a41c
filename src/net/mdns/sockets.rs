//! The sockets of one daemon of the crate, which neither offers them nor stops reading while packets wait.
//!
//! They are found among this process's open files, as those that came while the daemon began. A classic BPF filter that
//! takes nothing (`SO_ATTACH_FILTER`, socket(7)) makes them quiet: the daemon comes to the end of what waits, and so to
//! what it was told.

use std::fs;
use std::future::poll_fn;
use std::io;
use std::net::UdpSocket;
use std::os::fd::RawFd;
use std::task::Poll;

use rustix::fs::fstat;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::PORT;
use crate::net::sys;

/// `BPF_RET | BPF_K`: takes as many bytes of each packet as the constant says.
const RETURN: u16 = 0x06;

/// Sockets of multicast DNS that this process holds, doubled: what is set here is set there.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<(u64, Socket)>);

impl Sockets {
    /// All of this process but the ones known already.
    ///
    /// Fails where `/proc` can't be read.
    pub(super) fn beyond(known: &Self) -> io::Result<Self> {
        let mut found = Vec::new();
        for file in fs::read_dir("/proc/self/fd")? {
            let Ok(file) = file else { continue };
            // One that was closed meanwhile is left out.
            let Ok(target) = fs::read_link(file.path()) else { continue };
            let inode =
                target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
            let number = file.file_name().to_str().and_then(|number| number.parse().ok());
            let (Some(inode), Some(number)) = (inode, number) else { continue };
            let is_new = |(other, _): &(u64, Socket)| *other != inode;
            if known.0.iter().chain(&found).all(is_new)
                && let Some(socket) = doubled(number, inode)
            {
                found.push((inode, socket));
            }
        }
        Ok(Self(found))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes nothing more from the network; what waits can still be read.
    pub(super) fn silence(&self) {
        for (_, socket) in &self.0 {
            // It fails on no Linux; the daemon is told to end all the same.
            let _ = socket.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)]);
        }
    }

    /// Takes all again.
    pub(super) fn hear(&self) {
        for (_, socket) in &self.0 {
            // There is none to be taken off where none could be set.
            let _ = socket.detach_filter();
        }
    }

    /// Takes what comes to groups that this socket joined, and not what any socket of the host did (`IP_MULTICAST_ALL`):
    /// else a flood on one interface keeps the daemons of all busy.
    pub(super) fn only_own_groups(&self) {
        for (_, socket) in &self.0 {
            // An old kernel lacks it for IPv6.
            let _ = match socket.domain() {
                Ok(Domain::IPV6) => socket.set_multicast_all_v6(false),
                _ => socket.set_multicast_all_v4(false),
            };
        }
    }

    /// Waits until something comes.
    ///
    /// It is listened only for as long as this waits: a packet of a flood costs the runtime nothing.
    pub(super) async fn arrived(&self) -> io::Result<()> {
        let listen =
            |(_, socket): &(u64, Socket)| tokio::net::UdpSocket::from_std(UdpSocket::from(socket.try_clone()?));
        let sockets = self.0.iter().map(listen).collect::<io::Result<Vec<_>>>()?;
        poll_fn(|context| {
            let ready = sockets.iter().any(|socket| socket.poll_recv_ready(context).is_ready());
            if ready { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }
}

/// An open file of this process once more, if it is a UDP socket on the port and still the one of this inode: its number
/// may have been given to another file meanwhile.
fn doubled(number: RawFd, inode: u64) -> Option<Socket> {
    let file = sys::duplicate(number).ok()?;
    if fstat(&file).ok()?.st_ino != inode {
        return None;
    }
    let seen = SockRef::from(&file);
    let is_udp = matches!(seen.r#type(), Ok(Type::DGRAM)) && matches!(seen.protocol(), Ok(Some(Protocol::UDP)));
    let port = seen.local_addr().ok()?.as_socket()?.port();
    (is_udp && port == PORT).then(|| Socket::from(file))
}
