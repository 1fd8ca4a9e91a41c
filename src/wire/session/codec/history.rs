//! Which node had an address, and when.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::{Holder, Interval, SeenBy};
use super::node::{encode_node, read_node};
use super::{count, encode_optional, read_bool};
use crate::model::{NodeId, Timestamp};
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Written, encode_ip, read_ip};
use crate::wire::v1::record::read_name;
use crate::wire::v1::{DecodeError, Fault};

fn seen_number(seen: SeenBy) -> u8 {
    match seen {
        SeenBy::Announced => 0,
        SeenBy::Observed => 1,
    }
}

pub(super) fn read_seen(r: &mut Reader<'_>, field: &'static str) -> Result<SeenBy, DecodeError> {
    match r.u64(field)? {
        0 => Ok(SeenBy::Announced),
        1 => Ok(SeenBy::Observed),
        value => Err(Fault::Unknown { value }.at(field)),
    }
}

pub(super) fn encode_interval<W: Write>(e: &mut Encoder<W>, interval: &Interval) -> Written<W> {
    let Interval {
        name,
        node,
        address,
        seen,
        from,
        to,
    } = interval;
    e.map(5 + count(&[to.is_some()]))?;
    e.u8(1)?.str(name.as_str())?;
    e.u8(2)?.bytes(&node.0)?;
    encode_ip(e.u8(3)?, *address)?;
    e.u8(4)?.u8(seen_number(*seen))?;
    e.u8(5)?.u64(from.0)?;
    encode_optional(e, 6, to.map(|to| to.0))
}

pub(super) fn read_interval(r: &mut Reader<'_>) -> Result<Interval, DecodeError> {
    let (mut name, mut node, mut address, mut seen, mut from, mut to) =
        (None, None, None, None, None, None);
    let mut fields = r.fields("interval")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_name(r, "interval.name")?),
            2 => node = Some(NodeId(r.array("interval.node")?)),
            3 => address = Some(read_ip(r, "interval.address")?),
            4 => seen = Some(read_seen(r, "interval.seen")?),
            5 => from = Some(Timestamp(r.u64("interval.from")?)),
            6 => to = Some(Timestamp(r.u64("interval.to")?)),
            _ => r.skip("interval")?,
        }
    }
    Ok(Interval {
        name: name.ok_or(Fault::Missing.at("interval.name"))?,
        node: node.ok_or(Fault::Missing.at("interval.node"))?,
        address: address.ok_or(Fault::Missing.at("interval.address"))?,
        seen: seen.ok_or(Fault::Missing.at("interval.seen"))?,
        from: from.ok_or(Fault::Missing.at("interval.from"))?,
        to,
    })
}

pub(super) fn encode_holder<W: Write>(e: &mut Encoder<W>, holder: &Holder) -> Written<W> {
    let Holder {
        address,
        current,
        seen,
        from,
        to,
        node,
    } = holder;
    e.map(3 + count(&[seen.is_some(), from.is_some(), to.is_some()]))?;
    encode_ip(e.u8(1)?, *address)?;
    e.u8(2)?.u8((*current).into())?;
    encode_optional(e, 3, seen.map(|seen| seen_number(seen).into()))?;
    encode_optional(e, 4, from.map(|from| from.0))?;
    encode_optional(e, 5, to.map(|to| to.0))?;
    encode_node(e.u8(6)?, node)
}

pub(super) fn read_holder(r: &mut Reader<'_>) -> Result<Holder, DecodeError> {
    let (mut address, mut current, mut seen, mut from, mut to, mut node) =
        (None, None, None, None, None, None);
    let mut fields = r.fields("holder")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => address = Some(read_ip(r, "holder.address")?),
            2 => current = Some(read_bool(r, "holder.current")?),
            3 => seen = Some(read_seen(r, "holder.seen")?),
            4 => from = Some(Timestamp(r.u64("holder.from")?)),
            5 => to = Some(Timestamp(r.u64("holder.to")?)),
            6 => node = Some(read_node(r)?),
            _ => r.skip("holder")?,
        }
    }
    Ok(Holder {
        address: address.ok_or(Fault::Missing.at("holder.address"))?,
        current: current.ok_or(Fault::Missing.at("holder.current"))?,
        seen,
        from,
        to,
        node: node.ok_or(Fault::Missing.at("holder.node"))?,
    })
}
