//! Encoding of rows.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use minicbor::Encoder;

use super::{Interval, ROW_VERSION};
use crate::model::{
    Evidence, Lease, NodeId, NodeName, Origin, Protocol, Record, Role, State, Timestamp,
};
use crate::wire::KeyId;

/// The fields of a row, borrowed: the table encodes a row without building a
/// [`StoredNode`](super::StoredNode).
pub(in crate::registry) struct RowParts<'a> {
    pub(in crate::registry) tag: u16,
    pub(in crate::registry) id: &'a NodeId,
    pub(in crate::registry) signed_key: KeyId,
    pub(in crate::registry) body: &'a [u8],
    pub(in crate::registry) signature: &'a [u8],
    pub(in crate::registry) name: &'a NodeName,
    /// The record's own epoch, sequence, boot and requested lease, its addresses, port, role and
    /// labels.
    pub(in crate::registry) detail: &'a [u8],
    pub(in crate::registry) key: KeyId,
    pub(in crate::registry) epoch: u64,
    pub(in crate::registry) base: u64,
    pub(in crate::registry) sequence: u64,
    pub(in crate::registry) previous_boot: Option<u64>,
    pub(in crate::registry) lease: Lease,
    pub(in crate::registry) source: SocketAddr,
    pub(in crate::registry) first_seen: Timestamp,
    pub(in crate::registry) last_seen: Timestamp,
    pub(in crate::registry) state: State,
    pub(in crate::registry) ended: Timestamp,
    pub(in crate::registry) bound: bool,
    pub(in crate::registry) protocol: Protocol,
}

type Written<T> = Result<T, minicbor::encode::Error<Infallible>>;
type RowEncoder<'a> = Encoder<&'a mut Vec<u8>>;

/// Encodes a row.
pub(in crate::registry) fn encode<'f>(
    parts: &RowParts<'_>,
    former: impl ExactSizeIterator<Item = (&'f NodeName, Timestamp, bool)>,
    history: impl ExactSizeIterator<Item = Interval>,
) -> Box<[u8]> {
    let mut out =
        Vec::with_capacity(parts.body.len() + parts.detail.len() + 160 + 40 * history.len());
    let written = encode_row(&mut Encoder::new(&mut out), parts, former, history);
    debug_assert!(written.is_ok(), "a vector takes every byte");
    out.into_boxed_slice()
}

fn encode_row<'f>(
    e: &mut RowEncoder<'_>,
    parts: &RowParts<'_>,
    former: impl ExactSizeIterator<Item = (&'f NodeName, Timestamp, bool)>,
    history: impl ExactSizeIterator<Item = Interval>,
) -> Written<()> {
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
    encode_source(e, parts.source)?;
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
        encode_interval(e, interval)?;
    }
    e.u8(match parts.protocol {
        Protocol::Hereabouts => 0,
        Protocol::Dynip => 1,
        Protocol::Terminals => 2,
    })?;
    e.ok()
}

/// Encodes the fields of a record that the table keeps beside its name.
pub(in crate::registry) fn encode_detail(record: &Record, out: &mut Vec<u8>) {
    let written = encode_detail_fields(&mut Encoder::new(out), record);
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

fn encode_detail_fields(e: &mut RowEncoder<'_>, record: &Record) -> Written<()> {
    e.array(8)?
        .u64(record.epoch)?
        .u64(record.sequence)?
        .u64(record.boot)?
        .u32(record.lease.0)?;
    e.array(record.addresses.len() as u64)?;
    for address in &record.addresses {
        e.array(3)?;
        encode_ip(e, address.ip)?;
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
    e.ok()
}

fn encode_source(e: &mut RowEncoder<'_>, source: SocketAddr) -> Written<()> {
    let scope = match source {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    };
    e.array(3)?;
    encode_ip(e, source.ip())?;
    e.u16(source.port())?.u32(scope)?.ok()
}

fn encode_ip(e: &mut RowEncoder<'_>, ip: IpAddr) -> Written<()> {
    match ip {
        IpAddr::V4(v4) => e.bytes(&v4.octets())?.ok(),
        IpAddr::V6(v6) => e.bytes(&v6.octets())?.ok(),
    }
}

fn encode_interval(e: &mut RowEncoder<'_>, interval: Interval) -> Written<()> {
    e.array(5)?;
    encode_ip(e, interval.ip)?;
    e.u8(u8::from(interval.evidence == Evidence::Observed))?
        .u64(interval.from.0)?;
    encode_time(e, interval.to)?;
    encode_time(e, interval.lost_by)
}

fn encode_time(e: &mut RowEncoder<'_>, time: Option<Timestamp>) -> Written<()> {
    match time {
        Some(time) => e.u64(time.0)?.ok(),
        None => e.null()?.ok(),
    }
}
