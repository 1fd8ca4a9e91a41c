//! One node, as a server knows it.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::{HeldFile, NodeEntry};
use super::report::{check_report, encode_report, read_dated_report};
use super::{count, encode_optional, encode_source, read_bool, refused};
use crate::model::{NodeId, NodeName, Protocol, Record, Timestamp};
use crate::wire::KeyId;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{
    Written, encode_labels, read_labels, read_socket, read_state, state_number,
};
use crate::wire::v1::record::{
    encode_addresses, read_addresses, read_name, read_role, role_number,
};
use crate::wire::v1::{DecodeError, EncodeError, Fault};

pub(super) fn check_node(node: &NodeEntry) -> Result<(), EncodeError> {
    if node.addresses.len() > Record::MAX_ADDRESSES {
        return refused("node.addresses");
    }
    if node.former.len() > NodeEntry::MAX_FORMER {
        return refused("node.former");
    }
    if node.files.len() > NodeEntry::MAX_FILES {
        return refused("node.files");
    }
    node.files
        .iter()
        .try_for_each(|file| check_report(&file.report))
}

pub(super) fn encode_node<W: Write>(e: &mut Encoder<W>, node: &NodeEntry) -> Written<W> {
    let NodeEntry {
        id,
        name,
        state,
        role,
        addresses,
        port,
        source,
        labels,
        first_seen,
        last_seen,
        lease,
        remaining,
        key,
        epoch,
        cloned,
        former,
        files,
        protocol,
    } = node;
    let ancestor = match protocol {
        Protocol::Hereabouts => None,
        Protocol::Dynip => Some(1u64),
        Protocol::Terminals => Some(2),
    };
    let optional = [
        source.is_some(),
        first_seen.is_some(),
        remaining.is_some(),
        key.is_some(),
        ancestor.is_some(),
    ];
    e.map(13 + count(&optional))?;
    e.u8(1)?.bytes(&id.0)?;
    e.u8(2)?.str(name.as_str())?;
    e.u8(3)?.u8(state_number(*state))?;
    e.u8(4)?.u8(role_number(*role))?;
    encode_addresses(e.u8(5)?, addresses)?;
    e.u8(6)?.u16(*port)?;
    encode_source(e, 7, *source)?;
    encode_labels(e.u8(8)?, labels)?;
    encode_optional(e, 9, first_seen.map(|seen| seen.0))?;
    e.u8(10)?.u64(last_seen.0)?;
    e.u8(11)?.u32(*lease)?;
    encode_optional(e, 12, *remaining)?;
    if let Some(key) = key {
        e.u8(13)?.bytes(&key.0)?;
    }
    e.u8(14)?.u64(*epoch)?;
    e.u8(15)?.u8((*cloned).into())?;
    e.u8(16)?.array(former.len() as u64)?;
    for name in former {
        e.str(name.as_str())?;
    }
    e.u8(17)?.array(files.len() as u64)?;
    for HeldFile { report, at } in files {
        encode_report(e, report, Some(*at))?;
    }
    encode_optional(e, 18, ancestor)
}

pub(super) fn read_node(r: &mut Reader<'_>) -> Result<NodeEntry, DecodeError> {
    let (mut id, mut name, mut state, mut role, mut addresses) = (None, None, None, None, None);
    let (mut port, mut source, mut labels, mut first_seen, mut last_seen) =
        (None, None, None, None, None);
    let (mut lease, mut remaining, mut key, mut epoch, mut cloned) = (None, None, None, None, None);
    let (mut former, mut files, mut protocol) = (None, None, Protocol::Hereabouts);
    let mut fields = r.fields("node")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => id = Some(NodeId(r.array("node.id")?)),
            2 => name = Some(read_name(r, "node.name")?),
            3 => state = Some(read_state(r, "node.state")?),
            4 => role = Some(read_role(r, "node.role")?),
            5 => addresses = Some(read_addresses(r, "node.addresses", "node.address")?),
            6 => port = Some(r.uint("node.port")?),
            7 => source = Some(read_socket(r, "node.source")?),
            8 => labels = Some(read_labels(r, "node.labels")?),
            9 => first_seen = Some(Timestamp(r.u64("node.first_seen")?)),
            10 => last_seen = Some(Timestamp(r.u64("node.last_seen")?)),
            11 => lease = Some(r.uint("node.lease")?),
            12 => remaining = Some(r.u64("node.remaining")?),
            13 => key = Some(KeyId(r.array("node.key")?)),
            14 => epoch = Some(r.u64("node.epoch")?),
            15 => cloned = Some(read_bool(r, "node.cloned")?),
            16 => former = Some(read_former(r)?),
            17 => files = Some(read_files(r)?),
            18 => {
                protocol = match r.u64("node.wire")? {
                    1 => Protocol::Dynip,
                    2 => Protocol::Terminals,
                    _ => return Err(Fault::Range.at("node.wire")),
                }
            }
            _ => r.skip("node")?,
        }
    }
    Ok(NodeEntry {
        id: id.ok_or(Fault::Missing.at("node.id"))?,
        name: name.ok_or(Fault::Missing.at("node.name"))?,
        state: state.ok_or(Fault::Missing.at("node.state"))?,
        role: role.ok_or(Fault::Missing.at("node.role"))?,
        addresses: addresses.ok_or(Fault::Missing.at("node.addresses"))?,
        port: port.ok_or(Fault::Missing.at("node.port"))?,
        source,
        labels: labels.ok_or(Fault::Missing.at("node.labels"))?,
        first_seen,
        last_seen: last_seen.ok_or(Fault::Missing.at("node.last_seen"))?,
        lease: lease.ok_or(Fault::Missing.at("node.lease"))?,
        remaining,
        key: match (key, protocol.is_authenticated()) {
            (None, true) => return Err(Fault::Missing.at("node.key")),
            (Some(_), false) => return Err(Fault::Unexpected.at("node.key")),
            (key, _) => key,
        },
        epoch: epoch.ok_or(Fault::Missing.at("node.epoch"))?,
        cloned: cloned.ok_or(Fault::Missing.at("node.cloned"))?,
        former: former.ok_or(Fault::Missing.at("node.former"))?,
        files: files.ok_or(Fault::Missing.at("node.files"))?,
        protocol,
    })
}

pub(super) fn read_former(r: &mut Reader<'_>) -> Result<Vec<NodeName>, DecodeError> {
    let count = r.items(NodeEntry::MAX_FORMER, "node.former")?;
    (0..count).map(|_| read_name(r, "node.former")).collect()
}

pub(super) fn read_files(r: &mut Reader<'_>) -> Result<Vec<HeldFile>, DecodeError> {
    let count = r.items(NodeEntry::MAX_FILES, "node.files")?;
    let files = (0..count).map(|_| {
        let (report, at) = read_dated_report(r, "node.files")?;
        Ok(HeldFile {
            report,
            at: at.ok_or(Fault::Missing.at("node.files"))?,
        })
    });
    files.collect()
}
