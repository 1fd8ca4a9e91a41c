//! The fields of a node that a renewal changes, and the renewal times in the form of the store.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::model::{Lease, NodeId, State, Timestamp};

/// The fields of a node that a renewal reads and writes: two cache lines.
#[repr(align(64))]
pub(super) struct Hot {
    pub(super) id: NodeId,
    pub(super) epoch: u64,
    /// The sequence number of the last full record or goodbye.
    pub(super) base: u64,
    /// The sequence number of the last accepted message.
    pub(super) sequence: u64,
    /// When the lease ends, in ms by the monotonic clock.
    pub(super) expires: i64,
    pub(super) source: Source,
    pub(super) lease: Lease,
    pub(super) presence: Presence,
    pub(super) has_key: bool,
    pub(super) dirty: bool,
    pub(super) renewal_key: [u8; 32],
}

const _: () = assert!(
    size_of::<Hot>() == 128,
    "a million nodes: each byte is a megabyte"
);

/// Whether a slot is in use, and the state of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Free,
    Present,
    Expired,
    Left,
}

impl Presence {
    pub(super) fn state(self) -> State {
        match self {
            Self::Present => State::Present,
            Self::Left => State::Left,
            Self::Expired | Self::Free => State::Expired,
        }
    }

    pub(super) fn of(state: State) -> Self {
        match state {
            State::Present => Self::Present,
            State::Expired => Self::Expired,
            State::Left => Self::Left,
        }
    }
}

impl Hot {
    pub(super) fn free() -> Self {
        Self {
            id: NodeId([0; 32]),
            epoch: 0,
            base: 0,
            sequence: 0,
            expires: 0,
            source: Source {
                ip: [0; 16],
                scope: 0,
                port: 0,
            },
            lease: Lease::ZERO,
            presence: Presence::Free,
            has_key: false,
            dirty: false,
            renewal_key: [0; 32],
        }
    }
}

/// A socket address in 24 bytes instead of 32, with the zone of a link-local address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) ip: [u8; 16],
    scope: u32,
    port: u16,
}

impl Source {
    pub(super) fn of(address: SocketAddr) -> Self {
        let scope = match address {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(v6) => v6.scope_id(),
        };
        Self {
            ip: packed(address.ip()),
            scope,
            port: address.port(),
        }
    }

    pub(super) fn address(self) -> SocketAddr {
        match unpacked(self.ip) {
            IpAddr::V4(v4) => SocketAddr::new(IpAddr::V4(v4), self.port),
            IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, self.port, 0, self.scope)),
        }
    }
}

/// An address as 16 bytes, IPv4 as IPv4-mapped (RFC 4291 §2.5.5.2).
pub(super) fn packed(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

pub(super) fn unpacked(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// The renewal times of all slots as the bytes that the store keeps, with a bit for each page that
/// is not stored yet. A flush copies pages and computes nothing.
///
/// An entry is the slot's tag (2 bytes), the time when the node was last seen (6 bytes, ms since
/// 1970), and the difference of its sequence number and the base (4 bytes), each with the low byte
/// first.
#[derive(Default)]
#[allow(
    clippy::vec_box,
    reason = "pages in place would be copied whenever the table grows, at 100,000 nodes a megabyte"
)]
pub(super) struct SeenImage {
    pages: Vec<Box<[u8; SeenImage::PAGE_BYTES]>>,
    dirty: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SeenEntry {
    pub(crate) tag: u16,
    pub(crate) last_seen: Timestamp,
    pub(crate) past_base: u32,
}

impl SeenEntry {
    pub(crate) const BYTES: usize = 12;

    /// Reads an entry out of a page.
    pub(crate) fn read(page: &[u8], index: usize) -> Option<Self> {
        let [t0, t1, s0, s1, s2, s3, s4, s5, b0, b1, b2, b3] = *page
            .get(index * Self::BYTES..)?
            .first_chunk::<{ Self::BYTES }>()?;
        Some(Self {
            tag: u16::from_le_bytes([t0, t1]),
            last_seen: Timestamp(u64::from_le_bytes([s0, s1, s2, s3, s4, s5, 0, 0])),
            past_base: u32::from_le_bytes([b0, b1, b2, b3]),
        })
    }

    fn bytes(self) -> [u8; Self::BYTES] {
        let [t0, t1] = self.tag.to_le_bytes();
        let [s0, s1, s2, s3, s4, s5, ..] = self.last_seen.0.min((1 << 48) - 1).to_le_bytes();
        let [b0, b1, b2, b3] = self.past_base.to_le_bytes();
        [t0, t1, s0, s1, s2, s3, s4, s5, b0, b1, b2, b3]
    }
}

impl SeenImage {
    /// The slots of a page: a page of this size, its key and its CBOR head fit into one 4 KiB page
    /// of the store.
    pub(super) const SLOTS: usize = 256;
    pub(super) const PAGE_BYTES: usize = Self::SLOTS * SeenEntry::BYTES;

    /// Makes room for this many slots.
    pub(super) fn grow(&mut self, slots: usize) {
        while self.pages.len() * Self::SLOTS < slots {
            self.pages.push(Box::new([0; Self::PAGE_BYTES]));
        }
        self.dirty.resize(self.pages.len().div_ceil(64), 0);
    }

    pub(super) fn entry(&self, slot: u32) -> SeenEntry {
        let (page, index) = Self::place_of(slot);
        SeenEntry::read(&self.pages[page][..], index).unwrap_or_default()
    }

    /// Writes an entry and marks its page.
    pub(super) fn set(&mut self, slot: u32, entry: SeenEntry) {
        let (page, index) = Self::place_of(slot);
        let start = index * SeenEntry::BYTES;
        self.pages[page][start..start + SeenEntry::BYTES].copy_from_slice(&entry.bytes());
        self.mark(page);
    }

    /// Begins the entry of a slot's new node. Its tag differs from that of the slot's last node, so
    /// that times stored for that node are never used for this one.
    pub(super) fn begin(&mut self, slot: u32) {
        let tag = self.entry(slot).tag.wrapping_add(1);
        self.set(
            slot,
            SeenEntry {
                tag,
                ..SeenEntry::default()
            },
        );
    }

    /// The page of a slot, and the index of its entry there.
    fn place_of(slot: u32) -> (usize, usize) {
        let slot = slot as usize;
        (slot / Self::SLOTS, slot % Self::SLOTS)
    }

    pub(super) fn mark(&mut self, page: usize) {
        if let Some(word) = self.dirty.get_mut(page / 64) {
            *word |= 1 << (page % 64);
        }
    }

    /// Takes at most `limit` pages that changed.
    pub(super) fn take(&mut self, limit: usize) -> Vec<(u32, Box<[u8]>)> {
        let mut changed = Vec::new();
        for (index, word) in self.dirty.iter_mut().enumerate() {
            while *word != 0 && changed.len() < limit {
                let page = index * 64 + word.trailing_zeros() as usize;
                *word &= *word - 1;
                changed.push((page as u32, Box::from(&self.pages[page][..])));
            }
        }
        changed
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.iter().any(|word| *word != 0)
    }
}
