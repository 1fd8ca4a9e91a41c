//! System calls that no safe crate offers: datagrams in batches with packet information, readiness
//! of a foreign socket, interfaces without netlink, a duplicate of an open file by its number, and
//! one glibc call.
//!
//! This is the only module with `unsafe`. Its functions are safe; no pointer outlives the call that
//! made it.

#![allow(
    unsafe_code,
    reason = "recvmmsg, sendmmsg, setsockopt, netdevice ioctls, fcntl by number, AsyncFd::register and \
              __nss_configure_lookup have no safe wrapper"
)]

use std::io;
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::{
    c_int, c_void, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, sockaddr_in, sockaddr_in6,
    socklen_t,
};
use tokio::io::unix::AsyncFd;

/// Datagrams per system call: with more, the saving per datagram is no longer measurable, and the
/// stack use grows.
pub(super) const BATCH: usize = 32;

/// Room for one packet information of either family: 40 bytes are needed.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 64]);

const _: () = {
    // SAFETY: CMSG_SPACE is arithmetic on its argument.
    let needed = unsafe { libc::CMSG_SPACE(mem::size_of::<in6_pktinfo>() as u32) as usize };
    assert!(
        needed <= mem::size_of::<Control>()
            && mem::align_of::<cmsghdr>() <= mem::align_of::<Control>()
    );
    assert!(mem::size_of::<sockaddr_in>() <= mem::size_of::<sockaddr_in6>());
    assert!(mem::align_of::<sockaddr_in>() <= mem::align_of::<sockaddr_in6>());
};

/// One datagram that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// The number of its bytes in the buffer.
    pub(super) length: usize,
    /// Whether it was longer than the buffer.
    pub(super) truncated: bool,
    pub(super) from: SocketAddr,
    /// The destination in its header; `None` if the kernel did not report it.
    pub(super) to: Option<IpAddr>,
    /// The address of this host to answer from; `None` if the kernel did not report it.
    pub(super) local: Option<IpAddr>,
    /// The interface; 0 if the kernel did not report it.
    pub(super) interface: u32,
}

/// One datagram to be sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing<'a> {
    pub(super) to: SocketAddr,
    /// The source address and interface; an unspecified address or index 0 leaves that choice to
    /// the kernel.
    pub(super) source: Option<(IpAddr, u32)>,
    pub(super) bytes: &'a [u8],
}

/// Receives the datagrams that wait, at most one for each buffer and at most [`BATCH`], without
/// blocking.
///
/// `each` is called with the buffer's place and the datagram in it. A datagram of an address family
/// that this program does not know is skipped. Returns how many datagrams were read from the
/// socket.
pub(super) fn receive<const N: usize>(
    socket: BorrowedFd<'_>,
    buffers: &mut [[u8; N]],
    mut each: impl FnMut(usize, Received),
) -> io::Result<usize> {
    let wanted = buffers.len().min(BATCH);
    // SAFETY: all four are plain data of the kernel's interface, for which zero bytes are valid
    // values.
    let (mut names, mut vectors, mut headers): (
        [sockaddr_in6; BATCH],
        [iovec; BATCH],
        [mmsghdr; BATCH],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    let mut controls = [Control([0; 64]); BATCH];
    for (place, buffer) in buffers.iter_mut().take(wanted).enumerate() {
        vectors[place] = iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: N,
        };
        let header = &mut headers[place].msg_hdr;
        header.msg_name = (&raw mut names[place]).cast();
        header.msg_namelen = mem::size_of::<sockaddr_in6>() as socklen_t;
        header.msg_iov = &raw mut vectors[place];
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut controls[place]).cast();
        header.msg_controllen = mem::size_of::<Control>() as _;
    }
    // SAFETY: the first `wanted` headers point at `names`, `vectors`, `controls` and `buffers`, all
    // of which live past the call and are not touched during it; each length given is the size of
    // what it belongs to.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            wanted as u32,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut::<libc::timespec>(),
        )
    };
    let count = usize::try_from(count)
        .map_err(|_| io::Error::last_os_error())?
        .min(wanted);
    for place in 0..count {
        let header = &headers[place];
        let Some(from) = address(&names[place], header.msg_hdr.msg_namelen) else {
            continue;
        };
        let mut received = Received {
            length: (header.msg_len as usize).min(N),
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            from,
            to: None,
            local: None,
            interface: 0,
        };
        packet_information(&header.msg_hdr, &mut received);
        each(place, received);
    }
    Ok(count)
}

/// Reads the packet information of a header that `recvmmsg` has just filled.
fn packet_information(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: `msg_control` points at a live `Control`, and the kernel set `msg_controllen` to what
    // it wrote there.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole, aligned header within the
        // control buffer.
        let message = unsafe { &*next };
        // SAFETY: CMSG_LEN is arithmetic on its argument; so is CMSG_DATA, and the data lies behind
        // the header.
        let (base, data) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_DATA(next)) };
        let length = (message.cmsg_len as usize).saturating_sub(base);
        match (message.cmsg_level, message.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if length >= mem::size_of::<in_pktinfo>() => {
                // SAFETY: the length was checked; the value is plain data and read unaligned.
                let info = unsafe { data.cast::<in_pktinfo>().read_unaligned() };
                received.to = Some(ipv4(info.ipi_addr).into());
                received.local = Some(ipv4(info.ipi_spec_dst).into());
                received.interface = u32::try_from(info.ipi_ifindex).unwrap_or_default();
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if length >= mem::size_of::<in6_pktinfo>() => {
                // SAFETY: as above.
                let info = unsafe { data.cast::<in6_pktinfo>().read_unaligned() };
                let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                received.to = Some(to.into());
                received.local = (!to.is_multicast()).then_some(to.into());
                received.interface = info.ipi6_ifindex as _;
            }
            _ => {}
        }
        // SAFETY: `next` is a header of this control buffer.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

/// Sends as many of the messages as the socket accepts, at most [`BATCH`], without blocking.
///
/// Returns how many were sent, at least one; an error belongs to the first message, and none was
/// sent.
pub(super) fn send<'a>(
    socket: BorrowedFd<'_>,
    messages: impl Iterator<Item = Outgoing<'a>>,
) -> io::Result<usize> {
    // SAFETY: all three are plain data of the kernel's interface, for which zero bytes are valid
    // values.
    let (mut names, mut vectors, mut headers): (
        [sockaddr_in6; BATCH],
        [iovec; BATCH],
        [mmsghdr; BATCH],
    ) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
    let mut controls = [Control([0; 64]); BATCH];
    let mut wanted = 0;
    for message in messages.take(BATCH) {
        let header = &mut headers[wanted].msg_hdr;
        header.msg_namelen = write_address(message.to, &mut names[wanted]);
        header.msg_name = (&raw mut names[wanted]).cast();
        vectors[wanted] = iovec {
            iov_base: message.bytes.as_ptr().cast_mut().cast(),
            iov_len: message.bytes.len(),
        };
        header.msg_iov = &raw mut vectors[wanted];
        header.msg_iovlen = 1;
        if let Some((source, interface)) = message.source {
            header.msg_control = (&raw mut controls[wanted]).cast();
            header.msg_controllen = mem::size_of::<Control>() as _;
            header.msg_controllen = write_source(header, source, interface) as _;
        }
        wanted += 1;
    }
    if wanted == 0 {
        return Ok(0);
    }
    // SAFETY: the first `wanted` headers point at `names`, `vectors`, `controls` and the messages'
    // bytes, all of which live past the call; the kernel only reads the bytes, so casting away
    // their constness is sound.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            wanted as u32,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Writes one packet information into the header's control buffer and returns its length.
fn write_source(header: &libc::msghdr, source: IpAddr, interface: u32) -> usize {
    match source {
        IpAddr::V4(source) => {
            let info = in_pktinfo {
                ipi_ifindex: c_int::try_from(interface).unwrap_or_default(),
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(source.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            write_control(header, libc::IPPROTO_IP, libc::IP_PKTINFO, info)
        }
        IpAddr::V6(source) => {
            let address = libc::in6_addr {
                s6_addr: source.octets(),
            };
            let info = in6_pktinfo {
                ipi6_addr: address,
                ipi6_ifindex: interface as _,
            };
            write_control(header, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info)
        }
    }
}

/// `T` is one of the two packet informations, which the compile-time check above found to fit into
/// [`Control`].
fn write_control<T: Copy>(header: &libc::msghdr, level: c_int, kind: c_int, value: T) -> usize {
    let size = mem::size_of::<T>() as u32;
    // SAFETY: `msg_control` points at a whole, aligned and live `Control`, `msg_controllen` is its
    // size, so there is a first header with room for `T` behind it; CMSG_LEN and CMSG_SPACE are
    // arithmetic.
    unsafe {
        let first = libc::CMSG_FIRSTHDR(header);
        (*first).cmsg_level = level;
        (*first).cmsg_type = kind;
        (*first).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(first).cast::<T>().write_unaligned(value);
        libc::CMSG_SPACE(size) as usize
    }
}

/// Sets an integer option of a socket.
pub(super) fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let size = mem::size_of::<c_int>() as socklen_t;
    let value: *const c_void = (&raw const value).cast();
    // SAFETY: `value` points at an integer that lives past the call, and `size` is its size.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, size) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The maximum number of rows that [`ipv4_addresses`] returns: far more than a machine has.
const MAX_ROWS: usize = 1 << 16;

/// An IPv4 address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ipv4Row {
    /// The interface's name, or the address's label, which begins with that name and a colon.
    pub(super) label: String,
    pub(super) ip: Ipv4Addr,
    pub(super) mask: Ipv4Addr,
    /// `None` if none was set.
    pub(super) broadcast: Option<Ipv4Addr>,
}

/// Every IPv4 address, by netdevice(7), which works where netlink is refused.
pub(super) fn ipv4_addresses(socket: BorrowedFd<'_>) -> io::Result<Vec<Ipv4Row>> {
    const ROW: usize = mem::size_of::<libc::ifreq>();
    let list = |rows: &mut [libc::ifreq]| {
        let room = c_int::try_from(mem::size_of_val(rows)).map_err(io::Error::other)?;
        // Without a buffer the kernel returns the length that it needs.
        let start = if rows.is_empty() {
            ptr::null_mut()
        } else {
            rows.as_mut_ptr()
        };
        let mut list = libc::ifconf {
            ifc_len: room,
            ifc_ifcu: libc::__c_anonymous_ifc_ifcu { ifcu_req: start },
        };
        // SAFETY: SIOCGIFCONF reads and writes one `ifconf`, and writes at most `ifc_len` bytes
        // where that points: the rows, which live past the call, or nowhere.
        let result =
            unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFCONF as _, &raw mut list) };
        if result == 0 {
            Ok(usize::try_from(list.ifc_len).unwrap_or(0) / ROW)
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // Some more rows, for addresses that are added meanwhile.
    let room = list(&mut [])?.saturating_add(8).min(MAX_ROWS);
    // SAFETY: zero bytes are a valid value of this plain data of the kernel's interface.
    let mut rows = vec![unsafe { mem::zeroed::<libc::ifreq>() }; room];
    let count = list(&mut rows)?;
    rows.truncate(count);
    let mut found = Vec::with_capacity(rows.len());
    for row in &mut rows {
        let Some(ip) = ipv4_of(row) else { continue };
        // An address that was removed meanwhile is skipped.
        let Some(mask) = ipv4_request(socket, libc::SIOCGIFNETMASK as _, row, ip) else {
            continue;
        };
        let broadcast = ipv4_request(socket, libc::SIOCGIFBRDADDR as _, row, ip);
        let broadcast = broadcast.filter(|broadcast| !broadcast.is_unspecified());
        found.push(Ipv4Row {
            label: name_of(row),
            ip,
            mask,
            broadcast,
        });
    }
    Ok(found)
}

/// An interface's index and its `IFF_*` flags, as above.
pub(super) fn link(socket: BorrowedFd<'_>, name: &str) -> io::Result<(u32, c_int)> {
    // SAFETY: zero bytes are a valid value of this plain data of the kernel's interface.
    let mut row: libc::ifreq = unsafe { mem::zeroed() };
    // Its last byte stays zero.
    if name.len() >= row.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (place, byte) in row.ifr_name.iter_mut().zip(name.bytes()) {
        *place = byte as _;
    }
    interface_request(socket, libc::SIOCGIFINDEX as _, &mut row)?;
    // SAFETY: the call wrote this member; any bytes are a valid integer.
    let index = unsafe { row.ifr_ifru.ifru_ifindex };
    interface_request(socket, libc::SIOCGIFFLAGS as _, &mut row)?;
    // SAFETY: as above.
    let flags = unsafe { row.ifr_ifru.ifru_flags };
    Ok((
        u32::try_from(index).map_err(io::Error::other)?,
        c_int::from(flags.cast_unsigned()),
    ))
}

/// `request` must be a request of netdevice(7) that reads and writes one `ifreq`.
fn interface_request(
    socket: BorrowedFd<'_>,
    request: libc::c_ulong,
    row: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: such a request reads and writes one whole `ifreq`, and the kernel keeps no pointer to
    // it.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), request as _, ptr::from_mut(row)) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn name_of(row: &libc::ifreq) -> String {
    let bytes: Vec<u8> = row
        .ifr_name
        .iter()
        .map(|byte| *byte as u8)
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn ipv4_of(row: &libc::ifreq) -> Option<Ipv4Addr> {
    // SAFETY: the kernel wrote an address there, or zeros stand there; any bytes are a valid value.
    let address = unsafe { row.ifr_ifru.ifru_addr };
    if c_int::from(address.sa_family) != libc::AF_INET {
        return None;
    }
    // SAFETY: both are plain data of one size, and the family says which it is.
    let address: sockaddr_in = unsafe { mem::transmute::<libc::sockaddr, sockaddr_in>(address) };
    Some(ipv4(address.sin_addr))
}

/// A property of one address: several addresses may have the label in the row.
fn ipv4_request(
    socket: BorrowedFd<'_>,
    request: libc::c_ulong,
    row: &mut libc::ifreq,
    ip: Ipv4Addr,
) -> Option<Ipv4Addr> {
    // SAFETY: zero bytes are a valid value of this plain data; both types have one size.
    let address = unsafe {
        let mut address: sockaddr_in = mem::zeroed();
        address.sin_family = libc::AF_INET as _;
        address.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
        mem::transmute::<sockaddr_in, libc::sockaddr>(address)
    };
    row.ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_addr: address };
    interface_request(socket, request, row).ok()?;
    ipv4_of(row)
}

/// Makes name look-ups use `/etc/hosts` and DNS, whatever the host's `nsswitch.conf` says.
///
/// A static glibc would otherwise load the host's modules, and with them the host's libc. Call it
/// once at the start of `main`, before any thread starts. With another libc than glibc it does
/// nothing.
pub fn configure_name_lookup() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(
                database: *const libc::c_char,
                service: *const libc::c_char,
            ) -> c_int;
        }
        // SAFETY: both are C strings that live for ever; glibc copies what it needs. It fails only
        // on a wrong text.
        let _ = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    }
}

/// Makes the readiness of a netlink socket awaitable. Must be called within a tokio runtime.
pub(super) fn ready(socket: netlink_sys::Socket) -> io::Result<AsyncFd<netlink_sys::Socket>> {
    // SAFETY: the socket owns its descriptor, gives the same one each time, and closes it only when
    // it is dropped.
    unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)
}

/// Duplicates an open file of this process, by its number.
///
/// Fails if no file has that number. The number may belong to another file than the caller expects:
/// check the duplicate.
pub(super) fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl takes any number, and this command touches no memory and not the file of that
    // number, closed or not.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so this is a new descriptor, which no other owner has.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

fn ipv4(address: libc::in_addr) -> Ipv4Addr {
    Ipv4Addr::from(address.s_addr.to_ne_bytes())
}

fn address(name: &sockaddr_in6, length: socklen_t) -> Option<SocketAddr> {
    match c_int::from(name.sin6_family) {
        libc::AF_INET6 if length as usize >= mem::size_of::<sockaddr_in6>() => {
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(
                SocketAddrV6::new(
                    ip,
                    u16::from_be(name.sin6_port),
                    name.sin6_flowinfo,
                    name.sin6_scope_id,
                )
                .into(),
            )
        }
        libc::AF_INET if length as usize >= mem::size_of::<sockaddr_in>() => {
            // SAFETY: the family says what it is; size and alignment of the greater type were
            // compared above.
            let name = unsafe { &*ptr::from_ref(name).cast::<sockaddr_in>() };
            Some(SocketAddrV4::new(ipv4(name.sin_addr), u16::from_be(name.sin_port)).into())
        }
        _ => None,
    }
}

fn write_address(address: SocketAddr, name: &mut sockaddr_in6) -> socklen_t {
    match address {
        SocketAddr::V6(address) => {
            name.sin6_family = libc::AF_INET6 as _;
            name.sin6_port = address.port().to_be();
            name.sin6_flowinfo = address.flowinfo();
            name.sin6_addr = libc::in6_addr {
                s6_addr: address.ip().octets(),
            };
            name.sin6_scope_id = address.scope_id();
            mem::size_of::<sockaddr_in6>() as socklen_t
        }
        SocketAddr::V4(address) => {
            // SAFETY: the greater type lends its room; size and alignment were compared above, and
            // any bytes are a valid value of both.
            let name = unsafe { &mut *ptr::from_mut(name).cast::<sockaddr_in>() };
            name.sin_family = libc::AF_INET as _;
            name.sin_port = address.port().to_be();
            name.sin_addr = libc::in_addr {
                s_addr: u32::from_ne_bytes(address.ip().octets()),
            };
            mem::size_of::<sockaddr_in>() as socklen_t
        }
    }
}
