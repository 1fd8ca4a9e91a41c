//! The bytes of [`super::message`], by the rules of [`crate::wire::v1::codec`]: CBOR, `[type, {field: value, …}]`, fields ascending,
//! unknown ones passed over, every length with a limit.
//!
//! | type | request | fields |
//! |---|---|---|
//! | 1 | nodes | 1 labels, 2 gone, 3 after (optional) |
//! | 2 | node | 1 name, 2 at (optional) |
//! | 3 | history | 1 name |
//! | 4 | holder | 1 address, 2 at (optional) |
//! | 5 | watch | |
//! | 6 | offers | |
//! | 7 | pull | 1 name, 2 offset, 3 digest (optional) |
//! | 8 | introduce | 1 node, 2 signature |
//! | 9 | report | 1 name, 2 generation, 3 error (optional) |
//!
//! | type | answer | fields |
//! |---|---|---|
//! | 1 | node | 1 id, 2 name, 3 state, 4 role, 5 addresses, 6 port, 7 source, 8 labels, 9 first seen, 10 last seen, 11 lease, 12 remaining, 13 key, 14 epoch, 15 cloned, 16 former names, 17 files, 18 ancestor's wire (1 DynIP, 2 terminals; then 13 is absent) |
//! | 2 | interval | 1 name, 2 node, 3 address, 4 seen, 5 from, 6 to (optional) |
//! | 3 | holder | 1 address, 2 current, 3 seen, 4 from, 5 to (each optional), 6 node |
//! | 4 | change | 1 at, 2 kind, 3 name, 4 source (optional), 5 node (optional), 6 missed |
//! | 5 | offer | 1 notice |
//! | 6 | file | 1 notice, 2 offset |
//! | 7 | content | the bytes themselves, in place of the fields |
//! | 8, 9 | alive, end | |
//! | 10 | failed | 1 kind, 2 message |
//!
//! Truth values are the numbers 0 and 1.

use std::net::SocketAddr;

use minicbor::Encoder;
use minicbor::encode::Write;

use super::message::{
    Answer, Change, ChangeKind, FailureKind, HeldFile, Holder, Interval, NodeEntry, Report, Request, SeenBy,
};
use super::{MAX_CONTENT, MAX_MESSAGE};
use crate::model::{NodeId, NodeName, Record, Timestamp, Wire};
use crate::wire::KeyId;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{
    Encoded, Written, encode_ip, encode_labels, encode_socket, encode_to, encoded_len, is_offer_name, read_ip,
    read_labels, read_notice, read_socket, read_state, state_number,
};
use crate::wire::v1::record::{encode_addresses, read_addresses, read_name, read_role, role_number};
use crate::wire::v1::{DecodeError, EncodeError, Fault, Notice};

impl Request {
    /// Writes the message into `out` and gives its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self, out)
    }

    /// Reads a message.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let (number, mut reader) = open(message, "request")?;
        let r = &mut reader;
        let request = match number {
            1 => read_nodes(r)?,
            2 => {
                let (name, at) = read_name_at(r)?;
                Self::Node { name, at }
            }
            3 => Self::History { name: read_name_at(r)?.0 },
            4 => read_holder_request(r)?,
            5 => {
                read_nothing(r, "watch")?;
                Self::Watch
            }
            6 => {
                read_nothing(r, "offers")?;
                Self::Offers
            }
            7 => read_pull(r)?,
            8 => read_introduce(r)?,
            9 => Self::Report(read_report(r, "report")?),
            value => return Err(Fault::Unknown { value }.at("request.type")),
        };
        reader.finish("request")?;
        Ok(request)
    }
}

impl<'b> Answer<'b> {
    /// Writes the message into `out` and gives its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self, out)
    }

    /// Reads a message. The bytes of a [`Answer::Content`] stay where they are.
    pub fn decode(message: &'b [u8]) -> Result<Self, DecodeError> {
        let (number, mut reader) = open(message, "answer")?;
        let r = &mut reader;
        let answer = match number {
            1 => Self::Node(Box::new(read_node(r)?)),
            2 => Self::Interval(read_interval(r)?),
            3 => Self::Holder(Box::new(read_holder(r)?)),
            4 => Self::Change(Box::new(read_change(r)?)),
            5 => Self::Offer(read_file(r, "offer")?.0),
            6 => {
                let (notice, offset) = read_file(r, "file")?;
                Self::File { notice, offset: offset.ok_or(Fault::Missing.at("file.offset"))? }
            }
            7 => Self::Content(r.bytes(MAX_CONTENT, "content")?),
            8 => {
                read_nothing(r, "alive")?;
                Self::Alive
            }
            9 => {
                read_nothing(r, "end")?;
                Self::End
            }
            10 => read_failed(r)?,
            value => return Err(Fault::Unknown { value }.at("answer.type")),
        };
        reader.finish("answer")?;
        Ok(answer)
    }
}

/// Writes an [`Answer::Content`] whose `length` bytes are already in `message`, from [`CONTENT_HEAD`] on; gives the head and
/// where it begins.
///
/// So a file is read straight into what will be sealed.
///
/// [`CONTENT_HEAD`]: content_frame::HEAD
pub mod content_frame {
    use super::MAX_CONTENT;

    /// Where the bytes begin: after `[7, bytes of a 16-bit length]`.
    pub const HEAD: usize = 5;

    /// Writes the head in front of `length` bytes at [`HEAD`], and gives where the message begins in the buffer.
    ///
    /// The head is shorter for short contents, as lengths stand in their shortest form. `None` if the length is none that a
    /// content has.
    pub fn write(message: &mut [u8], length: usize) -> Option<usize> {
        if length > MAX_CONTENT || message.len() < HEAD + length {
            return None;
        }
        let head: &[u8] = match length {
            0..24 => &[0x82, 7, 0x40 | length as u8],
            24..256 => &[0x82, 7, 0x58, length as u8],
            _ => &[0x82, 7, 0x59, (length >> 8) as u8, length as u8],
        };
        let start = HEAD - head.len();
        message[start..HEAD].copy_from_slice(head);
        Some(start)
    }

    /// Whether a message is a content with a head of [`HEAD`] bytes: then its bytes are all that follows.
    ///
    /// Shorter contents have a shorter head, and are read as any other message.
    pub fn is_long(message: &[u8]) -> bool {
        let Some((&[0x82, 7, 0x59, high, low], bytes)) = message.split_first_chunk() else { return false };
        let length = usize::from(u16::from_be_bytes([high, low]));
        (256..=MAX_CONTENT).contains(&length) && bytes.len() == length
    }
}

fn encode(value: &impl Checked, out: &mut [u8]) -> Result<usize, EncodeError> {
    value.check()?;
    let limit = out.len().min(MAX_MESSAGE);
    encode_to(value, &mut out[..limit]).ok_or_else(|| EncodeError::TooLong { length: encoded_len(value), limit })
}

/// Refuses to send what no receiver takes.
trait Checked: Encoded {
    fn check(&self) -> Result<(), EncodeError>;
}

fn refused<T>(field: &'static str) -> Result<T, EncodeError> {
    Err(EncodeError::Refused { field })
}

impl Checked for Request {
    fn check(&self) -> Result<(), EncodeError> {
        match self {
            Self::Pull { name, .. } if !is_offer_name(name) => refused("pull.name"),
            Self::Report(report) => check_report(report),
            _ => Ok(()),
        }
    }
}

impl Checked for Answer<'_> {
    fn check(&self) -> Result<(), EncodeError> {
        match self {
            Self::Node(node) => check_node(node),
            Self::Holder(holder) => check_node(&holder.node),
            Self::Change(change) => change.node.as_ref().map_or(Ok(()), check_node),
            Self::Offer(notice) | Self::File { notice, .. } if !is_offer_name(&notice.name) => refused("notice.name"),
            Self::Content(bytes) if bytes.len() > MAX_CONTENT => refused("content"),
            Self::Failed { message, .. } if message.len() > Answer::MAX_FAILURE => refused("failed.message"),
            _ => Ok(()),
        }
    }
}

fn check_report(report: &Report) -> Result<(), EncodeError> {
    if !is_offer_name(&report.name) {
        return refused("report.name");
    }
    if report.error.as_ref().is_some_and(|error| error.len() > Report::MAX_ERROR) {
        return refused("report.error");
    }
    Ok(())
}

fn check_node(node: &NodeEntry) -> Result<(), EncodeError> {
    if node.addresses.len() > Record::MAX_ADDRESSES {
        return refused("node.addresses");
    }
    if node.former.len() > NodeEntry::MAX_FORMER {
        return refused("node.former");
    }
    if node.files.len() > NodeEntry::MAX_FILES {
        return refused("node.files");
    }
    node.files.iter().try_for_each(|file| check_report(&file.report))
}

/// The type of a message, with what follows.
fn open<'b>(message: &'b [u8], field: &'static str) -> Result<(u64, Reader<'b>), DecodeError> {
    if message.len() > MAX_MESSAGE {
        return Err(Fault::TooLong { limit: MAX_MESSAGE }.at(field));
    }
    let mut reader = Reader::new(message);
    if reader.items(2, field)? != 2 {
        return Err(Fault::Length.at(field));
    }
    let number = reader.u64(field)?;
    Ok((number, reader))
}

/// A message without fields; those of a later version are passed over.
fn read_nothing(r: &mut Reader<'_>, of: &'static str) -> Result<(), DecodeError> {
    let mut fields = r.fields(of)?;
    while fields.next(r)?.is_some() {
        r.skip(of)?;
    }
    Ok(())
}

fn read_bool(r: &mut Reader<'_>, field: &'static str) -> Result<bool, DecodeError> {
    match r.u64(field)? {
        0 => Ok(false),
        1 => Ok(true),
        value => Err(Fault::Unknown { value }.at(field)),
    }
}

fn read_offer_name(r: &mut Reader<'_>, field: &'static str) -> Result<Box<str>, DecodeError> {
    let text = r.text(Notice::MAX_NAME, field)?;
    if is_offer_name(text) { Ok(text.into()) } else { Err(Fault::Text.at(field)) }
}

fn count(present: &[bool]) -> u64 {
    present.iter().filter(|present| **present).count() as u64
}

impl Encoded for Request {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.array(2)?;
        match self {
            Self::Nodes { labels, gone, after } => {
                e.u8(1)?.map(2 + count(&[after.is_some()]))?;
                encode_labels(e.u8(1)?, labels)?;
                e.u8(2)?.u8((*gone).into())?;
                if let Some(after) = after {
                    e.u8(3)?.str(after.as_str())?;
                }
            }
            Self::Node { name, at } => encode_name_at(e.u8(2)?, name, *at)?,
            Self::History { name } => encode_name_at(e.u8(3)?, name, None)?,
            Self::Holder { address, at } => {
                e.u8(4)?.map(1 + count(&[at.is_some()]))?;
                encode_ip(e.u8(1)?, *address)?;
                encode_optional(e, 2, at.map(|at| at.0))?;
            }
            Self::Watch => {
                e.u8(5)?.map(0)?;
            }
            Self::Offers => {
                e.u8(6)?.map(0)?;
            }
            Self::Pull { name, offset, digest } => {
                e.u8(7)?.map(2 + count(&[digest.is_some()]))?;
                e.u8(1)?.str(name)?.u8(2)?.u64(*offset)?;
                if let Some(digest) = digest {
                    e.u8(3)?.bytes(digest)?;
                }
            }
            Self::Introduce { node, signature } => {
                e.u8(8)?.map(2)?;
                e.u8(1)?.bytes(&node.0)?.u8(2)?.bytes(signature)?;
            }
            Self::Report(report) => encode_report(e.u8(9)?, report, None)?,
        }
        Ok(())
    }
}

fn encode_optional<W: Write>(e: &mut Encoder<W>, number: u8, value: Option<u64>) -> Written<W> {
    if let Some(value) = value {
        e.u8(number)?.u64(value)?;
    }
    Ok(())
}

fn encode_name_at<W: Write>(e: &mut Encoder<W>, name: &NodeName, at: Option<Timestamp>) -> Written<W> {
    e.map(1 + count(&[at.is_some()]))?.u8(1)?.str(name.as_str())?;
    encode_optional(e, 2, at.map(|at| at.0))
}

fn read_name_at(r: &mut Reader<'_>) -> Result<(NodeName, Option<Timestamp>), DecodeError> {
    let (mut name, mut at) = (None, None);
    let mut fields = r.fields("request")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_name(r, "request.name")?),
            2 => at = Some(Timestamp(r.u64("request.at")?)),
            _ => r.skip("request")?,
        }
    }
    Ok((name.ok_or(Fault::Missing.at("request.name"))?, at))
}

fn read_nodes(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut labels, mut gone, mut after) = (None, None, None);
    let mut fields = r.fields("nodes")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => labels = Some(read_labels(r, "nodes.labels")?),
            2 => gone = Some(read_bool(r, "nodes.gone")?),
            3 => after = Some(read_name(r, "nodes.after")?),
            _ => r.skip("nodes")?,
        }
    }
    Ok(Request::Nodes {
        labels: labels.ok_or(Fault::Missing.at("nodes.labels"))?,
        gone: gone.ok_or(Fault::Missing.at("nodes.gone"))?,
        after,
    })
}

fn read_holder_request(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut address, mut at) = (None, None);
    let mut fields = r.fields("request")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => address = Some(read_ip(r, "request.address")?),
            2 => at = Some(Timestamp(r.u64("request.at")?)),
            _ => r.skip("request")?,
        }
    }
    Ok(Request::Holder { address: address.ok_or(Fault::Missing.at("request.address"))?, at })
}

fn read_pull(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut name, mut offset, mut digest) = (None, None, None);
    let mut fields = r.fields("pull")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_offer_name(r, "pull.name")?),
            2 => offset = Some(r.u64("pull.offset")?),
            3 => digest = Some(r.array("pull.digest")?),
            _ => r.skip("pull")?,
        }
    }
    Ok(Request::Pull {
        name: name.ok_or(Fault::Missing.at("pull.name"))?,
        offset: offset.ok_or(Fault::Missing.at("pull.offset"))?,
        digest,
    })
}

fn read_introduce(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut node, mut signature) = (None, None);
    let mut fields = r.fields("introduce")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => node = Some(NodeId(r.array("introduce.node")?)),
            2 => signature = Some(r.array("introduce.signature")?),
            _ => r.skip("introduce")?,
        }
    }
    Ok(Request::Introduce {
        node: node.ok_or(Fault::Missing.at("introduce.node"))?,
        signature: signature.ok_or(Fault::Missing.at("introduce.signature"))?,
    })
}

/// A report; one that a server tells on has the time as its fourth field.
fn encode_report<W: Write>(e: &mut Encoder<W>, report: &Report, at: Option<Timestamp>) -> Written<W> {
    let Report { name, generation, error } = report;
    e.map(2 + count(&[error.is_some(), at.is_some()]))?;
    e.u8(1)?.str(name)?.u8(2)?.u64(*generation)?;
    if let Some(error) = error {
        e.u8(3)?.str(error)?;
    }
    encode_optional(e, 4, at.map(|at| at.0))
}

fn read_report(r: &mut Reader<'_>, of: &'static str) -> Result<Report, DecodeError> {
    Ok(read_dated_report(r, of)?.0)
}

fn read_dated_report(r: &mut Reader<'_>, of: &'static str) -> Result<(Report, Option<Timestamp>), DecodeError> {
    let (mut name, mut generation, mut error, mut at) = (None, None, None, None);
    let mut fields = r.fields(of)?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_offer_name(r, of)?),
            2 => generation = Some(r.u64(of)?),
            3 => error = Some(r.text(Report::MAX_ERROR, of)?.into()),
            4 => at = Some(Timestamp(r.u64(of)?)),
            _ => r.skip(of)?,
        }
    }
    let missing = Fault::Missing.at(of);
    Ok((Report { name: name.ok_or(missing)?, generation: generation.ok_or(missing)?, error }, at))
}

impl Encoded for Answer<'_> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.array(2)?;
        match self {
            Self::Node(node) => encode_node(e.u8(1)?, node)?,
            Self::Interval(interval) => encode_interval(e.u8(2)?, interval)?,
            Self::Holder(holder) => encode_holder(e.u8(3)?, holder)?,
            Self::Change(change) => encode_change(e.u8(4)?, change)?,
            Self::Offer(notice) => notice.encode(e.u8(5)?.map(1)?.u8(1)?)?,
            Self::File { notice, offset } => {
                notice.encode(e.u8(6)?.map(2)?.u8(1)?)?;
                e.u8(2)?.u64(*offset)?;
            }
            Self::Content(bytes) => {
                e.u8(7)?.bytes(bytes)?;
            }
            Self::Alive => {
                e.u8(8)?.map(0)?;
            }
            Self::End => {
                e.u8(9)?.map(0)?;
            }
            Self::Failed { kind, message } => {
                let kind = match kind {
                    FailureKind::NotFound => 0,
                    FailureKind::NotServer => 1,
                    FailureKind::BadRequest => 2,
                    FailureKind::Busy => 3,
                    FailureKind::Failed => 4,
                };
                e.u8(10)?.map(2)?.u8(1)?.u8(kind)?.u8(2)?.str(message)?;
            }
        }
        Ok(())
    }
}

fn encode_node<W: Write>(e: &mut Encoder<W>, node: &NodeEntry) -> Written<W> {
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
        wire,
    } = node;
    let ancestor = match wire {
        Wire::Hereabouts => None,
        Wire::Dynip => Some(1u64),
        Wire::Terminals => Some(2),
    };
    let optional = [source.is_some(), first_seen.is_some(), remaining.is_some(), key.is_some(), ancestor.is_some()];
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

fn encode_source<W: Write>(e: &mut Encoder<W>, number: u8, source: Option<SocketAddr>) -> Written<W> {
    if let Some(source) = source {
        encode_socket(e.u8(number)?, source)?;
    }
    Ok(())
}

fn read_node(r: &mut Reader<'_>) -> Result<NodeEntry, DecodeError> {
    let (mut id, mut name, mut state, mut role, mut addresses) = (None, None, None, None, None);
    let (mut port, mut source, mut labels, mut first_seen, mut last_seen) = (None, None, None, None, None);
    let (mut lease, mut remaining, mut key, mut epoch, mut cloned) = (None, None, None, None, None);
    let (mut former, mut files, mut wire) = (None, None, Wire::Hereabouts);
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
                wire = match r.u64("node.wire")? {
                    1 => Wire::Dynip,
                    2 => Wire::Terminals,
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
        key: match (key, wire.is_authenticated()) {
            (None, true) => return Err(Fault::Missing.at("node.key")),
            (Some(_), false) => return Err(Fault::Unexpected.at("node.key")),
            (key, _) => key,
        },
        epoch: epoch.ok_or(Fault::Missing.at("node.epoch"))?,
        cloned: cloned.ok_or(Fault::Missing.at("node.cloned"))?,
        former: former.ok_or(Fault::Missing.at("node.former"))?,
        files: files.ok_or(Fault::Missing.at("node.files"))?,
        wire,
    })
}

fn read_former(r: &mut Reader<'_>) -> Result<Vec<NodeName>, DecodeError> {
    let count = r.items(NodeEntry::MAX_FORMER, "node.former")?;
    (0..count).map(|_| read_name(r, "node.former")).collect()
}

fn read_files(r: &mut Reader<'_>) -> Result<Vec<HeldFile>, DecodeError> {
    let count = r.items(NodeEntry::MAX_FILES, "node.files")?;
    let files = (0..count).map(|_| {
        let (report, at) = read_dated_report(r, "node.files")?;
        Ok(HeldFile { report, at: at.ok_or(Fault::Missing.at("node.files"))? })
    });
    files.collect()
}

fn seen_number(seen: SeenBy) -> u8 {
    match seen {
        SeenBy::Announced => 0,
        SeenBy::Observed => 1,
    }
}

fn read_seen(r: &mut Reader<'_>, field: &'static str) -> Result<SeenBy, DecodeError> {
    match r.u64(field)? {
        0 => Ok(SeenBy::Announced),
        1 => Ok(SeenBy::Observed),
        value => Err(Fault::Unknown { value }.at(field)),
    }
}

fn encode_interval<W: Write>(e: &mut Encoder<W>, interval: &Interval) -> Written<W> {
    let Interval { name, node, address, seen, from, to } = interval;
    e.map(5 + count(&[to.is_some()]))?;
    e.u8(1)?.str(name.as_str())?;
    e.u8(2)?.bytes(&node.0)?;
    encode_ip(e.u8(3)?, *address)?;
    e.u8(4)?.u8(seen_number(*seen))?;
    e.u8(5)?.u64(from.0)?;
    encode_optional(e, 6, to.map(|to| to.0))
}

fn read_interval(r: &mut Reader<'_>) -> Result<Interval, DecodeError> {
    let (mut name, mut node, mut address, mut seen, mut from, mut to) = (None, None, None, None, None, None);
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

fn encode_holder<W: Write>(e: &mut Encoder<W>, holder: &Holder) -> Written<W> {
    let Holder { address, current, seen, from, to, node } = holder;
    e.map(3 + count(&[seen.is_some(), from.is_some(), to.is_some()]))?;
    encode_ip(e.u8(1)?, *address)?;
    e.u8(2)?.u8((*current).into())?;
    encode_optional(e, 3, seen.map(|seen| seen_number(seen).into()))?;
    encode_optional(e, 4, from.map(|from| from.0))?;
    encode_optional(e, 5, to.map(|to| to.0))?;
    encode_node(e.u8(6)?, node)
}

fn read_holder(r: &mut Reader<'_>) -> Result<Holder, DecodeError> {
    let (mut address, mut current, mut seen, mut from, mut to, mut node) = (None, None, None, None, None, None);
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

fn encode_change<W: Write>(e: &mut Encoder<W>, change: &Change) -> Written<W> {
    let Change { at, kind, name, source, node, missed } = change;
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

fn read_change(r: &mut Reader<'_>) -> Result<Change, DecodeError> {
    let (mut at, mut kind, mut name, mut source, mut node, mut missed) = (None, None, None, None, None, None);
    let mut fields = r.fields("change")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => at = Some(Timestamp(r.u64("change.at")?)),
            2 => {
                let value = r.u64("change.kind")?;
                let known = usize::try_from(value).ok().and_then(|value| CHANGE_KINDS.get(value));
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

fn read_file(r: &mut Reader<'_>, of: &'static str) -> Result<(Notice, Option<u64>), DecodeError> {
    let (mut notice, mut offset) = (None, None);
    let mut fields = r.fields(of)?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => notice = Some(read_notice(r)?),
            2 => offset = Some(r.u64(of)?),
            _ => r.skip(of)?,
        }
    }
    Ok((notice.ok_or(Fault::Missing.at(of))?, offset))
}

fn read_failed<'b>(r: &mut Reader<'b>) -> Result<Answer<'b>, DecodeError> {
    let (mut kind, mut message) = (None, None);
    let mut fields = r.fields("failed")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => {
                kind = Some(match r.u64("failed.kind")? {
                    0 => FailureKind::NotFound,
                    1 => FailureKind::NotServer,
                    2 => FailureKind::BadRequest,
                    3 => FailureKind::Busy,
                    4 => FailureKind::Failed,
                    value => return Err(Fault::Unknown { value }.at("failed.kind")),
                });
            }
            2 => message = Some(r.text(Answer::MAX_FAILURE, "failed.message")?.into()),
            _ => r.skip("failed")?,
        }
    }
    Ok(Answer::Failed {
        kind: kind.ok_or(Fault::Missing.at("failed.kind"))?,
        message: message.ok_or(Fault::Missing.at("failed.message"))?,
    })
}
