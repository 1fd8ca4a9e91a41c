//! Decoding of rows.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use minicbor::Decoder;
use minicbor::decode::Error as CborError;

use super::{
    Interval, MAX_FORMER, MAX_INTERVALS, MAX_ROW, ROW_VERSION, RowError, StoredFormer, StoredNode,
};
use crate::model::{
    Address, Evidence, InterfaceName, Labels, Lease, NodeId, NodeName, Origin, Protocol, Record,
    Role, State, Timestamp,
};
use crate::wire::KeyId;
use crate::wire::v1::SignedRecord;

/// Decodes a row.
pub(crate) fn decode(slot: u32, bytes: &[u8]) -> Result<StoredNode, RowError> {
    if bytes.len() > MAX_ROW {
        return Err(RowError::Damaged { what: "its length" });
    }
    let d = &mut Decoder::new(bytes);
    let version = decode_head(d)?;
    let tag = d.u16()?;
    let signed = decode_signed(d)?;
    let name = decode_name(d)?;
    let record = decode_detail(d.bytes()?, name)?;
    let key = KeyId(fixed(d, "the key id")?);
    let epoch = d.u64()?;
    let base = d.u64()?;
    let sequence = d.u64()?;
    let previous_boot = optional(d, |d| d.u64())?;
    let lease = Lease(d.u32()?);
    let source = decode_source(d)?;
    array(d, 4, "the times")?;
    let first_seen = Timestamp(d.u64()?);
    let last_seen = Timestamp(d.u64()?);
    let ended = Timestamp(d.u64()?);
    let state = decode_state(d)?;
    let bound = d.bool()?;
    let former = decode_former(d)?;
    let history = decode_history(d, version, bytes.len())?;
    let protocol = if version == 1 {
        Protocol::Hereabouts
    } else {
        decode_protocol(d)?
    };
    end(d)?;
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

/// Decodes the fields of a record that [`encode_detail`](super::encode_detail) wrote.
pub(in crate::registry) fn decode_detail(bytes: &[u8], name: NodeName) -> Result<Record, RowError> {
    let d = &mut Decoder::new(bytes);
    array(d, 8, "the record")?;
    let epoch = d.u64()?;
    let sequence = d.u64()?;
    let boot = d.u64()?;
    let lease = Lease(d.u32()?);
    let addresses = decode_addresses(d)?;
    let port = d.u16()?;
    let role = match d.u8()? {
        0 => Role::Client,
        1 => Role::Server,
        2 => Role::Both,
        _ => return Err(RowError::Damaged { what: "the role" }),
    };
    let labels = decode_labels(d)?;
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

/// Decodes the length of the row and its version, which must fit each other.
fn decode_head(d: &mut Decoder<'_>) -> Result<u8, RowError> {
    let fields = d.array()?.unwrap_or(0);
    let version = d.u8()?;
    let expected = match version {
        1 => 19,
        2 | ROW_VERSION => 20,
        found => return Err(RowError::Version { found }),
    };
    if fields != expected {
        return Err(RowError::Damaged {
            what: "its structure",
        });
    }
    Ok(version)
}

fn decode_signed(d: &mut Decoder<'_>) -> Result<SignedRecord, RowError> {
    let node = NodeId(fixed(d, "the node id")?);
    let key = KeyId(fixed(d, "the key id")?);
    let body = d.bytes()?;
    if body.len() > SignedRecord::MAX_BODY {
        return Err(RowError::Damaged {
            what: "the signed record",
        });
    }
    Ok(SignedRecord {
        node,
        key,
        body: body.into(),
        signature: fixed(d, "the signature")?,
    })
}

fn decode_addresses(d: &mut Decoder<'_>) -> Result<Vec<Address>, RowError> {
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
    Ok(addresses)
}

fn decode_labels(d: &mut Decoder<'_>) -> Result<Labels, RowError> {
    let damaged = RowError::Damaged { what: "the labels" };
    let Some(pairs) = d.map()?.filter(|pairs| *pairs <= Labels::MAX_PAIRS as u64) else {
        return Err(damaged);
    };
    let mut labels = Labels::default();
    for _ in 0..pairs {
        let key = d.str()?;
        let value = d.str()?;
        labels
            .insert(key.into(), value.into())
            .map_err(|_| damaged.clone())?;
    }
    Ok(labels)
}

fn decode_state(d: &mut Decoder<'_>) -> Result<State, RowError> {
    match d.u8()? {
        0 => Ok(State::Present),
        1 => Ok(State::Expired),
        2 => Ok(State::Left),
        _ => Err(RowError::Damaged { what: "the state" }),
    }
}

fn decode_former(d: &mut Decoder<'_>) -> Result<Vec<StoredFormer>, RowError> {
    let mut former = Vec::new();
    for _ in 0..count(d, MAX_FORMER, "the former names")? {
        array(d, 3, "a former name")?;
        former.push(StoredFormer {
            name: decode_name(d)?,
            until: Timestamp(d.u64()?),
            bound: d.bool()?,
        });
    }
    Ok(former)
}

fn decode_history(
    d: &mut Decoder<'_>,
    version: u8,
    row_bytes: usize,
) -> Result<Vec<Interval>, RowError> {
    let intervals = count(d, MAX_INTERVALS, "the history")?;
    let mut history = Vec::with_capacity(intervals.min(row_bytes / 8));
    for _ in 0..intervals {
        history.push(decode_interval(d, version)?);
    }
    Ok(history)
}

fn decode_interval(d: &mut Decoder<'_>, version: u8) -> Result<Interval, RowError> {
    let with_end = version >= 3;
    array(d, if with_end { 5 } else { 4 }, "an interval")?;
    let ip = decode_ip(d)?;
    let evidence = match d.u8()? {
        0 => Evidence::Announced,
        1 => Evidence::Observed,
        _ => {
            return Err(RowError::Damaged {
                what: "an interval",
            });
        }
    };
    let from = Timestamp(d.u64()?);
    let to = optional(d, |d| d.u64())?.map(Timestamp);
    let lost_by = if with_end {
        optional(d, |d| d.u64())?.map(Timestamp)
    } else {
        None
    };
    let in_order = to.is_none_or(|to| from <= to)
        && lost_by.is_none_or(|lost_by| to.is_some_and(|to| to <= lost_by));
    if !in_order {
        return Err(RowError::Damaged {
            what: "an interval",
        });
    }
    Ok(Interval {
        ip,
        evidence,
        from,
        to,
        lost_by,
    })
}

fn decode_protocol(d: &mut Decoder<'_>) -> Result<Protocol, RowError> {
    match d.u8()? {
        0 => Ok(Protocol::Hereabouts),
        1 => Ok(Protocol::Dynip),
        2 => Ok(Protocol::Terminals),
        _ => Err(RowError::Damaged {
            what: "the protocol",
        }),
    }
}

fn decode_source(d: &mut Decoder<'_>) -> Result<SocketAddr, RowError> {
    array(d, 3, "the source")?;
    let ip = decode_ip(d)?;
    let port = d.u16()?;
    let scope = d.u32()?;
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

fn count(d: &mut Decoder<'_>, limit: u64, what: &'static str) -> Result<usize, RowError> {
    d.array()?
        .filter(|count| *count <= limit)
        .map(|count| count as usize)
        .ok_or(RowError::Damaged { what })
}

fn end(d: &Decoder<'_>) -> Result<(), RowError> {
    (d.position() == d.input().len())
        .then_some(())
        .ok_or(RowError::Damaged { what: "its end" })
}
