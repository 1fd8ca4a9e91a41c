//! The sockets of one daemon of the crate, which neither offers them nor stops reading while packets wait.
//!
//! They are found among this process's open files, as those that came while the daemon began. A classic BPF filter
//! (`SO_ATTACH_FILTER`, socket(7)) takes only packets of an ordinary size: what the crate holds of a packet grows with the
//! square of its records. Another one takes nothing and makes them quiet: the daemon comes to the end of what waits, and so
//! to what it was told. What waits meanwhile is bounded by a small buffer, as no filter takes that back.

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
/// `BPF_LD | BPF_W | BPF_LEN`: the packet's length, with the header of UDP.
const LENGTH: u16 = 0x80;
/// `BPF_LD | BPF_H | BPF_ABS`: two bytes of the packet, at a place counted from the header of UDP.
const LOAD: u16 = 0x28;
/// `BPF_ALU | BPF_ADD | BPF_X`: adds the other register.
const ADD: u16 = 0x0c;
/// The other register gets what this one holds: `BPF_MISC | BPF_TAX`.
const KEEP: u16 = 0x07;
/// `BPF_JMP | BPF_JGT | BPF_K`.
const GREATER: u16 = 0x25;
/// The longest packet that is taken, with the header of UDP: what an Ethernet frame carries, and no longer one in pieces.
const LONGEST: u32 = 1500;
/// The most records of a packet that is taken.
const RECORDS: u32 = 64;
/// Bytes of packets that may wait in a socket. The kernel takes it twice, and counts what it needs itself.
const WAITING: usize = 16 * 1024;

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
            let Ok(target) = fs::read_link(file.path()) else {
                continue;
            };
            let inode = target.to_str().and_then(|target| {
                target
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()
            });
            let number = file
                .file_name()
                .to_str()
                .and_then(|number| number.parse().ok());
            let (Some(inode), Some(number)) = (inode, number) else {
                continue;
            };
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

    /// Takes packets of an ordinary size again, and as many as the daemon may have before it hears that it is silenced.
    pub(super) fn hear(&self) {
        for (_, socket) in &self.0 {
            let _ = socket.set_recv_buffer_size(WAITING);
            // As above: it fails on no Linux.
            let _ = socket.attach_filter(&ordinary());
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
        let listen = |(_, socket): &(u64, Socket)| {
            tokio::net::UdpSocket::from_std(UdpSocket::from(socket.try_clone()?))
        };
        let sockets = self.0.iter().map(listen).collect::<io::Result<Vec<_>>>()?;
        poll_fn(|context| {
            let ready = sockets
                .iter()
                .any(|socket| socket.poll_recv_ready(context).is_ready());
            if ready {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// Takes a packet that is neither too long nor says that it has too many records (RFC 1035 §4.1.1: three numbers of them).
fn ordinary() -> [SockFilter; 12] {
    const HEADER_OF_UDP: u32 = 8;
    let program = [
        (LENGTH, 0, 0, 0),
        (GREATER, 8, 0, LONGEST),
        (LOAD, 0, 0, HEADER_OF_UDP + 6),
        (KEEP, 0, 0, 0),
        (LOAD, 0, 0, HEADER_OF_UDP + 8),
        (ADD, 0, 0, 0),
        (KEEP, 0, 0, 0),
        (LOAD, 0, 0, HEADER_OF_UDP + 10),
        (ADD, 0, 0, 0),
        (GREATER, 0, 1, RECORDS),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, u32::MAX),
    ];
    program.map(|(code, yes, no, constant)| SockFilter::new(code, yes, no, constant))
}

/// An open file of this process once more, if it is a UDP socket on the port and still the one of this inode: its number
/// may have been given to another file meanwhile.
fn doubled(number: RawFd, inode: u64) -> Option<Socket> {
    let file = sys::duplicate(number).ok()?;
    if fstat(&file).ok()?.st_ino != inode {
        return None;
    }
    let seen = SockRef::from(&file);
    let is_udp = matches!(seen.r#type(), Ok(Type::DGRAM))
        && matches!(seen.protocol(), Ok(Some(Protocol::UDP)));
    let port = seen.local_addr().ok()?.as_socket()?.port();
    (is_udp && port == PORT).then(|| Socket::from(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with these numbers of records, and as many bytes in all.
    fn packet(records: [u16; 3], length: usize) -> Vec<u8> {
        let mut packet = vec![0, 0, 0x84, 0, 0, 0];
        packet.extend(records.iter().flat_map(|count| count.to_be_bytes()));
        packet.resize(length, 0);
        packet
    }

    #[test]
    fn packets_that_are_long_or_full_of_records_are_not_taken() {
        let (to, from) = (
            UdpSocket::bind("127.0.0.1:0").unwrap(),
            UdpSocket::bind("127.0.0.1:0").unwrap(),
        );
        let socket = Socket::from(to.try_clone().unwrap());
        let sockets = Sockets(vec![(0, socket)]);
        sockets.hear();
        let longest = LONGEST as usize - 8;
        let sent = [
            packet([64, 0, 0], longest),
            packet([65, 0, 0], 1200),
            packet([1, 0, 0], longest + 1),
            packet([30, 4, 30], 1201),
            packet([30, 5, 30], 1202),
            packet([0xffff, 0xffff, 2], 1203),
            packet([0; 3], 12),
        ];
        for packet in &sent {
            from.send_to(packet, to.local_addr().unwrap()).unwrap();
        }
        let mut buffer = [0; 2048];
        // On loopback what was sent is there: the last one tells that no other comes before it.
        let taken: Vec<_> = (0..3).map(|_| to.recv(&mut buffer).unwrap()).collect();
        assert_eq!(taken, [longest, 1201, 12]);
        assert!(SockRef::from(&to).recv_buffer_size().unwrap() <= 2 * WAITING);
        sockets.silence();
        from.send_to(&sent[6], to.local_addr().unwrap()).unwrap();
        sockets.hear();
        from.send_to(&sent[3], to.local_addr().unwrap()).unwrap();
        assert_eq!(
            to.recv(&mut buffer).unwrap(),
            1201,
            "what came in the silence is lost"
        );
    }
}
