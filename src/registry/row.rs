//! One node as a row of the store: own CBOR, own version, own limits. Pure.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use minicbor::decode::Error as CborError;
use minicbor::{Decoder, Encoder};

use crate::model::{
    Address, InterfaceName, Labels, Lease, NodeId, NodeName, Origin, Protocol, Record, Role, State,
    Timestamp,
};
use crate::wire::KeyId;
use crate::wire::v1::SignedRecord;

/// The version that each row begins with. Version 2 ends with the wire; a row of version 1 came by our own.
pub const ROW_VERSION: u8 = 2;
/// The longest row, in bytes: a body, a record and [`MAX_INTERVALS`] intervals of at most 40 bytes fit with room to spare.
pub(super) const MAX_ROW: usize = 256 * 1024;
/// The most intervals that a row may hold: above every setting of the table.
pub(super) const MAX_INTERVALS: u64 = 4096;
/// The most former names of a row: above the table's own limit.
const MAX_FORMER: u64 = 64;

/// A time over which a node had an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// The address.
    pub ip: IpAddr,
    /// How the server knows.
    pub seen: Seen,
    /// When the server first heard of it.
    pub from: Timestamp,
    /// When the server last had it confirmed; `None` while the node is present and holds it. Never before `from`.
    pub to: Option<Timestamp>,
}

/// How a server knows that a node has an address.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Seen {
    /// The node's record says so.
    Announced,
    /// The node's datagrams come from it.
    Observed,
}

/// A node as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredNode {
    /// Its place in the table, dense from 0, used again after a node is forgotten.
    pub slot: u32,
    /// Tells this use of the slot from the one before.
    pub tag: u16,
    /// Its newest full record.
    pub record: Record,
    /// The same, as it was signed.
    pub signed: SignedRecord,
    /// The channel key that sealed its last register.
    pub key: KeyId,
    /// The order of the last message taken: of the record, a later renewal or a goodbye.
    pub epoch: u64,
    /// The sequence number that a renewal must build on.
    pub base: u64,
    /// The sequence number of the last message taken.
    pub sequence: u64,
    /// The boot that the present one superseded.
    pub previous_boot: Option<u64>,
    /// The lease granted.
    pub lease: Lease,
    /// The source address of its last message.
    pub source: SocketAddr,
    /// When its first record came.
    pub first_seen: Timestamp,
    /// When its last message came.
    pub last_seen: Timestamp,
    /// Whether it is present.
    pub state: State,
    /// When it expired or left, in wall time; `last_seen` while it is present.
    pub ended: Timestamp,
    /// Whether its name is bound to it; another node may have taken it over since.
    pub bound: bool,
    /// By which protocol it is known.
    pub protocol: Protocol,
    /// Names it had before, oldest first.
    pub former: Vec<StoredFormer>,
    /// Its addresses over time, oldest first.
    pub history: Vec<Interval>,
}

/// A name that a node had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFormer {
    /// The name.
    pub name: NodeName,
    /// When the node took another.
    pub until: Timestamp,
    /// Whether the name is still kept for the node.
    pub bound: bool,
}

/// Why bytes are not a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Written by a later program.
    #[error("it has row version {found}, this program knows up to {ROW_VERSION}")]
    Version {
        /// The version found.
        found: u8,
    },
    /// Not what `encode` writes.
    #[error("{what} is not as it was written")]
    Damaged {
        /// Which part.
        what: &'static str,
    },
}

impl From<CborError> for RowError {
    fn from(_: CborError) -> Self {
        Self::Damaged {
            what: "its structure",
        }
    }
}

/// What [`encode`] needs, borrowed: the table encodes without building a [`StoredNode`].
pub(super) struct RowParts<'a> {
    pub(super) tag: u16,
    pub(super) id: &'a NodeId,
    pub(super) signed_key: KeyId,
    pub(super) body: &'a [u8],
    pub(super) signature: &'a [u8],
    pub(super) name: &'a NodeName,
    /// The record's own epoch, sequence, boot and wished lease, its addresses, port, role and labels.
    pub(super) detail: &'a [u8],
    pub(super) key: KeyId,
    pub(super) epoch: u64,
    pub(super) base: u64,
    pub(super) sequence: u64,
    pub(super) previous_boot: Option<u64>,
    pub(super) lease: Lease,
    pub(super) source: SocketAddr,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
    pub(super) state: State,
    pub(super) ended: Timestamp,
    pub(super) bound: bool,
    pub(super) protocol: Protocol,
}

/// Encodes a row.
pub(super) fn encode<'f>(
    parts: &RowParts<'_>,
    former: impl ExactSizeIterator<Item = (&'f NodeName, Timestamp, bool)>,
    history: impl ExactSizeIterator<Item = Interval>,
) -> Box<[u8]> {
    let mut out =
        Vec::with_capacity(parts.body.len() + parts.detail.len() + 160 + 40 * history.len());
    let mut e = Encoder::new(&mut out);
    let written = (|| {
        e.array(20)?
            .u8(ROW_VERSION)?
            .u16(parts.tag)?
            .bytes(&parts.id.0)?
            .bytes(&parts.signed_key.0)?;
        e.bytes(parts.body)?
            .bytes(parts.signature)?
            .str(parts.name.as_str())?
            .bytes(parts.detail)?;
        e.bytes(&parts.key.0)?
            .u64(parts.epoch)?
            .u64(parts.base)?
            .u64(parts.sequence)?;
        match parts.previous_boot {
            Some(boot) => e.u64(boot)?,
            None => e.null()?,
        };
        e.u32(parts.lease.0)?;
        encode_source(&mut e, parts.source)?;
        e.array(4)?
            .u64(parts.first_seen.0)?
            .u64(parts.last_seen.0)?
            .u64(parts.ended.0)?
            .u8(match parts.state {
                State::Present => 0,
                State::Expired => 1,
                State::Left => 2,
            })?;
        e.bool(parts.bound)?;
        e.array(former.len() as u64)?;
        for (name, until, bound) in former {
            e.array(3)?.str(name.as_str())?.u64(until.0)?.bool(bound)?;
        }
        e.array(history.len() as u64)?;
        for interval in history {
            encode_interval(&mut e, interval)?;
        }
        e.u8(match parts.protocol {
            Protocol::Hereabouts => 0,
            Protocol::Dynip => 1,
            Protocol::Terminals => 2,
        })?;
        e.ok()
    })();
    debug_assert!(written.is_ok(), "a vector takes every byte");
    out.into_boxed_slice()
}

type Written<T> = Result<T, minicbor::encode::Error<std::convert::Infallible>>;

fn encode_source(e: &mut Encoder<&mut Vec<u8>>, source: SocketAddr) -> Written<()> {
    let scope = match source {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    e.array(3)?;
    encode_ip(e, source.ip())?;
    e.u16(source.port())?.u32(scope)?.ok()
}

fn encode_ip(e: &mut Encoder<&mut Vec<u8>>, ip: IpAddr) -> Written<()> {
    match ip {
        IpAddr::V4(v4) => e.bytes(&v4.octets())?.ok(),
        IpAddr::V6(v6) => e.bytes(&v6.octets())?.ok(),
    }
}

fn encode_interval(e: &mut Encoder<&mut Vec<u8>>, interval: Interval) -> Written<()> {
    e.array(4)?;
    encode_ip(e, interval.ip)?;
    e.u8(u8::from(interval.seen == Seen::Observed))?
        .u64(interval.from.0)?;
    match interval.to {
        Some(to) => e.u64(to.0)?.ok(),
        None => e.null()?.ok(),
    }
}

/// Encodes what the table keeps of a record beside its name.
pub(super) fn encode_detail(record: &Record, out: &mut Vec<u8>) {
    let mut e = Encoder::new(out);
    let written = (|| {
        e.array(8)?
            .u64(record.epoch)?
            .u64(record.sequence)?
            .u64(record.boot)?
            .u32(record.lease.0)?;
        e.array(record.addresses.len() as u64)?;
        for address in &record.addresses {
            e.array(3)?;
            encode_ip(&mut e, address.ip)?;
            match &address.interface {
                Some(interface) => e.str(interface.as_str())?,
                None => e.null()?,
            };
            e.u8(u8::from(address.origin == Origin::Advertised))?;
        }
        e.u16(record.port)?.u8(match record.role {
            Role::Client => 0,
            Role::Server => 1,
            Role::Both => 2,
        })?;
        e.map(record.labels.iter().len() as u64)?;
        for (key, value) in record.labels.iter() {
            e.str(key)?.str(value)?;
        }
        Written::Ok(())
    })();
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

/// Decodes what [`encode_detail`] wrote.
pub(super) fn decode_detail(bytes: &[u8], name: NodeName) -> Result<Record, RowError> {
    let d = &mut Decoder::new(bytes);
    array(d, 8, "the record")?;
    let (epoch, sequence, boot, lease) = (d.u64()?, d.u64()?, d.u64()?, Lease(d.u32()?));
    let count = count(d, Record::MAX_ADDRESSES as u64, "the addresses")?;
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        array(d, 3, "an address")?;
        let ip = decode_ip(d)?;
        let interface = match optional(d, |d| d.str())? {
            Some(text) => Some(InterfaceName::parse(text).map_err(|_| RowError::Damaged {
                what: "an interface's name",
            })?),
            None => None,
        };
        let origin = match d.u8()? {
            0 => Origin::Interface,
            1 => Origin::Advertised,
            _ => {
                return Err(RowError::Damaged {
                    what: "an address's origin",
                });
            }
        };
        addresses.push(Address {
            ip,
            interface,
            origin,
        });
    }
    let port = d.u16()?;
    let role = match d.u8()? {
        0 => Role::Client,
        1 => Role::Server,
        2 => Role::Both,
        _ => return Err(RowError::Damaged { what: "the role" }),
    };
    let pairs = d.map()?.filter(|pairs| *pairs <= Labels::MAX_PAIRS as u64);
    let mut labels = Labels::default();
    for _ in 0..pairs.ok_or(RowError::Damaged { what: "the labels" })? {
        let (key, value) = (d.str()?, d.str()?);
        labels
            .insert(key.into(), value.into())
            .map_err(|_| RowError::Damaged { what: "the labels" })?;
    }
    end(d)?;
    Ok(Record {
        name,
        epoch,
        sequence,
        boot,
        lease,
        addresses,
        port,
        role,
        labels,
    })
}

/// Decodes a row.
pub(crate) fn decode(slot: u32, bytes: &[u8]) -> Result<StoredNode, RowError> {
    if bytes.len() > MAX_ROW {
        return Err(RowError::Damaged { what: "its length" });
    }
    let d = &mut Decoder::new(bytes);
    let fields = d.array()?.unwrap_or(0);
    let found = d.u8()?;
    let expected = match found {
        1 => 19,
        ROW_VERSION => 20,
        _ => return Err(RowError::Version { found }),
    };
    if fields != expected {
        return Err(RowError::Damaged {
            what: "its structure",
        });
    }
    let tag = d.u16()?;
    let node = NodeId(fixed(d, "the node id")?);
    let signed_key = KeyId(fixed(d, "the key id")?);
    let body = d.bytes()?;
    if body.len() > SignedRecord::MAX_BODY {
        return Err(RowError::Damaged {
            what: "the signed record",
        });
    }
    let signature = fixed(d, "the signature")?;
    let name = decode_name(d)?;
    let record = decode_detail(d.bytes()?, name)?;
    let key = KeyId(fixed(d, "the key id")?);
    let (epoch, base, sequence) = (d.u64()?, d.u64()?, d.u64()?);
    let previous_boot = optional(d, |d| d.u64())?;
    let lease = Lease(d.u32()?);
    let source = decode_source(d)?;
    array(d, 4, "the times")?;
    let (first_seen, last_seen, ended) = (
        Timestamp(d.u64()?),
        Timestamp(d.u64()?),
        Timestamp(d.u64()?),
    );
    let state = match d.u8()? {
        0 => State::Present,
        1 => State::Expired,
        2 => State::Left,
        _ => return Err(RowError::Damaged { what: "the state" }),
    };
    let bound = d.bool()?;
    let mut former = Vec::new();
    for _ in 0..count(d, MAX_FORMER, "the former names")? {
        array(d, 3, "a former name")?;
        former.push(StoredFormer {
            name: decode_name(d)?,
            until: Timestamp(d.u64()?),
            bound: d.bool()?,
        });
    }
    let intervals = count(d, MAX_INTERVALS, "the history")?;
    let mut history = Vec::with_capacity(intervals.min(bytes.len() / 8));
    for _ in 0..intervals {
        history.push(decode_interval(d)?);
    }
    let protocol = match found {
        1 => Protocol::Hereabouts,
        _ => decode_wire(d)?,
    };
    end(d)?;
    let signed = SignedRecord {
        node,
        key: signed_key,
        body: body.into(),
        signature,
    };
    Ok(StoredNode {
        slot,
        tag,
        record,
        signed,
        key,
        epoch,
        base,
        sequence,
        previous_boot,
        lease,
        source,
        first_seen,
        last_seen,
        state,
        ended,
        bound,
        protocol,
        former,
        history,
    })
}

fn decode_interval(d: &mut Decoder<'_>) -> Result<Interval, RowError> {
    array(d, 4, "an interval")?;
    let ip = decode_ip(d)?;
    let seen = match d.u8()? {
        0 => Seen::Announced,
        1 => Seen::Observed,
        _ => {
            return Err(RowError::Damaged {
                what: "an interval",
            });
        }
    };
    let from = Timestamp(d.u64()?);
    let to = optional(d, |d| d.u64())?.map(Timestamp);
    if to.is_some_and(|to| to < from) {
        return Err(RowError::Damaged {
            what: "an interval",
        });
    }
    Ok(Interval { ip, seen, from, to })
}

fn decode_wire(d: &mut Decoder<'_>) -> Result<Protocol, RowError> {
    match d.u8()? {
        0 => Ok(Protocol::Hereabouts),
        1 => Ok(Protocol::Dynip),
        2 => Ok(Protocol::Terminals),
        _ => Err(RowError::Damaged { what: "the wire" }),
    }
}

fn decode_source(d: &mut Decoder<'_>) -> Result<SocketAddr, RowError> {
    array(d, 3, "the source")?;
    let (ip, port, scope) = (decode_ip(d)?, d.u16()?, d.u32()?);
    Ok(match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddr::V6(SocketAddrV6::new(v6, port, 0, scope)),
    })
}

fn decode_ip(d: &mut Decoder<'_>) -> Result<IpAddr, RowError> {
    let bytes = d.bytes()?;
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| RowError::Damaged { what: "an address" })?;
    Ok(Ipv6Addr::from(v6).to_canonical())
}

fn decode_name(d: &mut Decoder<'_>) -> Result<NodeName, RowError> {
    NodeName::parse(d.str()?).map_err(|_| RowError::Damaged { what: "a name" })
}

fn fixed<const N: usize>(d: &mut Decoder<'_>, what: &'static str) -> Result<[u8; N], RowError> {
    d.bytes()?
        .try_into()
        .map_err(|_| RowError::Damaged { what })
}

fn optional<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, CborError>,
) -> Result<Option<T>, RowError> {
    if d.datatype()? == minicbor::data::Type::Null {
        d.null()?;
        return Ok(None);
    }
    Ok(Some(read(d)?))
}

fn array(d: &mut Decoder<'_>, fields: u64, what: &'static str) -> Result<(), RowError> {
    (d.array()? == Some(fields))
        .then_some(())
        .ok_or(RowError::Damaged { what })
}

fn count(d: &mut Decoder<'_>, most: u64, what: &'static str) -> Result<usize, RowError> {
    d.array()?
        .filter(|count| *count <= most)
        .map(|count| count as usize)
        .ok_or(RowError::Damaged { what })
}

fn end(d: &Decoder<'_>) -> Result<(), RowError> {
    (d.position() == d.input().len())
        .then_some(())
        .ok_or(RowError::Damaged { what: "its end" })
}
