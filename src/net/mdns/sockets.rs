//! The sockets of one daemon of the crate. The crate does not offer them, and it does not stop
//! reading while packets wait.
//!
//! The sockets are found among this process's open files: they are the ones that were opened while
//! the daemon started. A classic BPF filter (`SO_ATTACH_FILTER`, socket(7)) accepts only packets of
//! an ordinary size, because the memory that the crate needs for a packet grows with the square of
//! its records. Another filter accepts nothing and so silences the sockets: the daemon reads the
//! last waiting packet, and then its commands. A filter does not remove packets that wait already,
//! so a small buffer limits them.

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

/// `BPF_RET | BPF_K`: accepts as many bytes of each packet as the constant says.
const RETURN_CONSTANT: u16 = 0x06;
/// `BPF_LD | BPF_W | BPF_LEN`: the packet's length, with the header of UDP.
const LOAD_LENGTH: u16 = 0x80;
/// `BPF_LD | BPF_H | BPF_ABS`: two bytes of the packet, at an offset from the header of UDP.
const LOAD_HALF_WORD: u16 = 0x28;
/// `BPF_ALU | BPF_ADD | BPF_X`: adds the index register to the accumulator.
const ADD_REGISTER: u16 = 0x0c;
/// `BPF_MISC | BPF_TAX`: copies the accumulator to the index register.
const COPY_TO_REGISTER: u16 = 0x07;
/// `BPF_JMP | BPF_JGT | BPF_K`.
const JUMP_IF_GREATER: u16 = 0x25;
/// The longest packet that is accepted, with the header of UDP: it fits an Ethernet frame without
/// fragments.
const MAX_PACKET: u32 = 1500;
/// The maximum number of records of a packet that is accepted.
const MAX_RECORDS: u32 = 64;
/// The bytes of packets that may wait in a socket. The kernel doubles this number, and counts its
/// own overhead.
const RECEIVE_BUFFER: usize = 16 * 1024;

/// Duplicates of the sockets of multicast DNS that this process holds: an option that is set on a
/// duplicate applies to the socket.
#[derive(Debug, Default)]
pub(super) struct Sockets(Vec<(u64, Socket)>);

impl Sockets {
    /// All such sockets of this process except the ones known already.
    ///
    /// Fails where `/proc` can't be read.
    pub(super) fn opened_since(known: &Self) -> io::Result<Self> {
        let mut found = Vec::new();
        for file in fs::read_dir("/proc/self/fd")? {
            let Ok(file) = file else { continue };
            // A file that was closed meanwhile is skipped.
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
            let is_unknown = |(other, _): &(u64, Socket)| *other != inode;
            if known.0.iter().chain(&found).all(is_unknown)
                && let Some(socket) = duplicate(number, inode)
            {
                found.push((inode, socket));
            }
        }
        Ok(Self(found))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Accepts nothing more from the network; packets that wait can still be read.
    pub(super) fn silence(&self) {
        for (_, socket) in &self.0 {
            // This fails on no Linux; the daemon is ended all the same.
            let _ = socket.attach_filter(&[SockFilter::new(RETURN_CONSTANT, 0, 0, 0)]);
        }
    }

    /// Accepts packets of an ordinary size again, and as many as may wait before the daemon reads a
    /// command.
    pub(super) fn receive_ordinary(&self) {
        for (_, socket) in &self.0 {
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
            // As above: this fails on no Linux.
            let _ = socket.attach_filter(&ordinary());
        }
    }

    /// Accepts only packets to groups that this socket joined, and not to groups that any socket of
    /// the host joined (`IP_MULTICAST_ALL`): otherwise a flood on one interface keeps the daemons
    /// of all interfaces busy.
    pub(super) fn only_own_groups(&self) {
        for (_, socket) in &self.0 {
            // An old kernel lacks it for IPv6.
            let _ = match socket.domain() {
                Ok(Domain::IPV6) => socket.set_multicast_all_v6(false),
                _ => socket.set_multicast_all_v4(false),
            };
        }
    }

    /// Waits until a packet arrives.
    ///
    /// The runtime polls the sockets only during this wait, so the packets of a flood cost it
    /// nothing.
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

/// Accepts a packet that is not too long and whose header does not count too many records (three
/// counts, RFC 1035 §4.1.1).
fn ordinary() -> [SockFilter; 12] {
    const HEADER_OF_UDP: u32 = 8;
    let program = [
        (LOAD_LENGTH, 0, 0, 0),
        (JUMP_IF_GREATER, 8, 0, MAX_PACKET),
        (LOAD_HALF_WORD, 0, 0, HEADER_OF_UDP + 6),
        (COPY_TO_REGISTER, 0, 0, 0),
        (LOAD_HALF_WORD, 0, 0, HEADER_OF_UDP + 8),
        (ADD_REGISTER, 0, 0, 0),
        (COPY_TO_REGISTER, 0, 0, 0),
        (LOAD_HALF_WORD, 0, 0, HEADER_OF_UDP + 10),
        (ADD_REGISTER, 0, 0, 0),
        (JUMP_IF_GREATER, 0, 1, MAX_RECORDS),
        (RETURN_CONSTANT, 0, 0, 0),
        (RETURN_CONSTANT, 0, 0, u32::MAX),
    ];
    program.map(|(code, yes, no, constant)| SockFilter::new(code, yes, no, constant))
}

/// A duplicate of an open file of this process, if it is a UDP socket on the port and still has
/// this inode: its number may have been given to another file meanwhile.
fn duplicate(number: RawFd, inode: u64) -> Option<Socket> {
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

    /// A header with these counts of records, and this many bytes in all.
    fn packet(records: [u16; 3], length: usize) -> Vec<u8> {
        let mut packet = vec![0, 0, 0x84, 0, 0, 0];
        packet.extend(records.iter().flat_map(|count| count.to_be_bytes()));
        packet.resize(length, 0);
        packet
    }

    #[test]
    fn long_packets_and_packets_with_many_records_are_not_received() {
        let to = UdpSocket::bind("127.0.0.1:0").unwrap();
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = Socket::from(to.try_clone().unwrap());
        let sockets = Sockets(vec![(0, socket)]);
        sockets.receive_ordinary();
        let longest = MAX_PACKET as usize - 8;
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
        // On loopback a sent packet arrives at once: the last one shows that no other was accepted
        // before it.
        let received: Vec<_> = (0..3).map(|_| to.recv(&mut buffer).unwrap()).collect();
        assert_eq!(received, [longest, 1201, 12]);
        assert!(SockRef::from(&to).recv_buffer_size().unwrap() <= 2 * RECEIVE_BUFFER);
        sockets.silence();
        from.send_to(&sent[6], to.local_addr().unwrap()).unwrap();
        sockets.receive_ordinary();
        from.send_to(&sent[3], to.local_addr().unwrap()).unwrap();
        assert_eq!(
            to.recv(&mut buffer).unwrap(),
            1201,
            "a packet that arrives while the sockets are silenced is lost"
        );
    }
}
