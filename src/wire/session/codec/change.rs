//! What happened to a node, as `watch` tells it.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::{Change, ChangeKind};
use super::node::{encode_node, read_node};
use super::{count, encode_source};
use crate::model::Timestamp;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Written, read_socket};
use crate::wire::v1::record::read_name;
use crate::wire::v1::{DecodeError, Fault};

/// Every kind of change, in the order of their numbers.
const CHANGE_KINDS: [ChangeKind; 8] = [
    ChangeKind::Arrived,
    ChangeKind::Changed,
    ChangeKind::Left,
    ChangeKind::Expired,
    ChangeKind::Conflict,
    ChangeKind::Cloned,
    ChangeKind::Forgotten,
    ChangeKind::Reported,
];

pub(super) fn encode_change<W: Write>(e: &mut Encoder<W>, change: &Change) -> Written<W> {
    let Change {
        at,
        kind,
        name,
        source,
        node,
        missed,
    } = change;
    e.map(4 + count(&[source.is_some(), node.is_some()]))?;
    e.u8(1)?.u64(at.0)?;
    e.u8(2)?.u8(*kind as u8)?;
    e.u8(3)?.str(name.as_str())?;
    encode_source(e, 4, *source)?;
    if let Some(node) = node {
        encode_node(e.u8(5)?, node)?;
    }
    e.u8(6)?.u64(*missed)?;
    Ok(())
}

pub(super) fn read_change(r: &mut Reader<'_>) -> Result<Change, DecodeError> {
    let (mut at, mut kind, mut name, mut source, mut node, mut missed) =
        (None, None, None, None, None, None);
    let mut fields = r.fields("change")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => at = Some(Timestamp(r.u64("change.at")?)),
            2 => {
                let value = r.u64("change.kind")?;
                let known = usize::try_from(value)
                    .ok()
                    .and_then(|value| CHANGE_KINDS.get(value));
                kind = Some(*known.ok_or(Fault::Unknown { value }.at("change.kind"))?);
            }
            3 => name = Some(read_name(r, "change.name")?),
            4 => source = Some(read_socket(r, "change.source")?),
            5 => node = Some(read_node(r)?),
            6 => missed = Some(r.u64("change.missed")?),
            _ => r.skip("change")?,
        }
    }
    Ok(Change {
        at: at.ok_or(Fault::Missing.at("change.at"))?,
        kind: kind.ok_or(Fault::Missing.at("change.kind"))?,
        name: name.ok_or(Fault::Missing.at("change.name"))?,
        source,
        node,
        missed: missed.ok_or(Fault::Missing.at("change.missed"))?,
    })
}
