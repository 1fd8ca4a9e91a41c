//! The bytes of the messages.
//!
//! A payload is CBOR (RFC 8949) in its deterministic form (§4.2.1): an array of message type and fields. Fields are a
//! map with unsigned keys; the numbers below are the protocol.
//!
//! | type | message | fields |
//! |---|---|---|
//! | 1 | `Query` | 1 id, 2 want (0 servers, 1 all, 2 name, 3 holder), 3 clock, 4 window in ms, 5 name *(want 2)*, 6 address *(want 3)*, 15 padding |
//! | 2 | `Answer` | 1 id, 2 seen, 3 subject (0 own, 1 found, 2 unknown, 3 hearsay), 4 signed record *(0, 1)*, 5 info *(0; left out if empty)*, 6 server *(1, 2, 3)*, 7 sighting *(1, 3)*, 8 name *(3)*, 9 wire *(3: 1 dynip, 2 terminals)* |
//! | 3 | `Register` | those of a signed record |
//! | 4 | `Registered` | 1 sequence, 2 seen, 3 lease in s, 4 clock |
//! | 5 | `Renew` | 1 node, 2 epoch, 3 base, 4 sequence, 5 proof |
//! | 6 | `Announcement` | those of a signed record |
//! | 7 | `Goodbye` | those of a signed record |
//! | 8 | `Notice` | 1 server, 2 name, 3 generation, 4 size, 5 digest, 6 signature |
//! | 9 | `Refused` | 1 query id *or* 2 sequence, 3 why (0 clock, 1 name held, 2 rate, 3 outdated, 4 unknown record, 5 cloned, 6 channel), 4 clock *(0)*, 5 holder *(1)*, 6 wait in ms *(2)*, 7 epoch *(3)*, 8 sequence *(3)*, 9 channel name *(6)* |
//!
//! | part | form |
//! |---|---|
//! | signed record | map: 1 node, 2 key id, 3 body as a byte string, 4 signature |
//! | body of a record | map: 1 name, 2 epoch, 3 sequence, 4 boot, 5 lease in s, 6 addresses, 7 port, 8 role (0 client, 1 server, 2 both), 9 labels *(left out if empty)* |
//! | address of a record | array: IP, origin (0 interface, 1 advertised), interface name *(if there is one)* |
//! | sighting | map: 1 source, 2 last seen, 3 state (0 present, 1 expired, 2 left) |
//! | socket address (`seen`, `source`) | array: IP, port |
//! | IP | byte string of 4 or 16 bytes; IPv4-mapped IPv6 counts as IPv4; scope ids stay off the wire |
//! | labels, info | map from text to text, keys in bytewise order |
//! | node id, digest, proof, signature, key id | byte strings of 32, 32, 16, 64 and 4 bytes |
//! | time | milliseconds since 1970 |
//!
//! A map grows by new numbers: a decoder passes over those it does not know. Arrays and the numbers that stand for
//! something don't grow within a version. A decoder refuses wrong types, fields that come twice, don't ascend, are
//! missing or don't belong to the kind of message, bytes after the end, indefinite lengths, integers and lengths not in
//! their shortest form, and any length over its limit.
//!
//! **Padding.** A query fills [`QUERY_PAYLOAD`] bytes at least, and a shorter one is refused: so whatever answers it,
//! no reply is longer than three times its request, and a forged source address gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use minicbor::Encoder;
use minicbor::encode::Write;
use minicbor::encode::write::Cursor;

use super::cbor::Reader;
use super::error::{DecodeError, EncodeError, Fault};
use super::message::{
    Answer, Message, Notice, Query, Refusal, Refused, Regarding, Registered, Renewal, Sighting, SignedRecord, Subject,
    Want,
};
use super::record::read_name;
use crate::model::{Labels, Lease, NodeId, State, Timestamp, Wire};
use crate::wire::keyring::{ChannelKey, KeyRing};
use crate::wire::seal::{self, HEADER, MAX_DATAGRAM, MAX_PAYLOAD, Nonce, OVERHEAD};
use crate::wire::{KeyId, SealError};

/// The shortest datagram of a query: a third of the longest datagram, so that no reply is longer than three times it.
pub const QUERY_DATAGRAM: usize = MAX_DATAGRAM.div_ceil(3);
/// The shortest payload of a query.
pub const QUERY_PAYLOAD: usize = QUERY_DATAGRAM - OVERHEAD;

/// The longest window of a query, in ms.
const MAX_WINDOW: u64 = u16::MAX as u64;

pub(in crate::wire) type Written<W> = Result<(), minicbor::encode::Error<<W as Write>::Error>>;

/// What has a CBOR form.
pub(in crate::wire) trait Encoded {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W>;
}

/// Writes into `out` and gives the length; `None` if it does not fit.
pub(in crate::wire) fn encode_to(value: &impl Encoded, out: &mut [u8]) -> Option<usize> {
    let mut encoder = Encoder::new(Cursor::new(out));
    value.encode(&mut encoder).ok()?;
    Some(encoder.writer().position())
}

pub(in crate::wire) fn encoded_len(value: &impl Encoded) -> usize {
    struct Count(usize);
    impl Write for Count {
        type Error = std::convert::Infallible;

        fn write_all(&mut self, bytes: &[u8]) -> Result<(), Self::Error> {
            self.0 += bytes.len();
            Ok(())
        }
    }
    let mut encoder = Encoder::new(Count(0));
    // Counting can't fail.
    let _ = value.encode(&mut encoder);
    encoder.into_writer().0
}

impl Message {
    /// A stable word for logs and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Query(_) => "query",
            Self::Answer(_) => "answer",
            Self::Register(_) => "register",
            Self::Registered(_) => "registered",
            Self::Renew(_) => "renew",
            Self::Announcement(_) => "announcement",
            Self::Goodbye(_) => "goodbye",
            Self::Notice(_) => "notice",
            Self::Refused(_) => "refused",
        }
    }

    /// Writes the payload into `out` and gives its length; a query is padded to [`QUERY_PAYLOAD`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let limit = out.len().min(MAX_PAYLOAD);
        encode_to(self, &mut out[..limit]).ok_or_else(|| EncodeError::TooLong { length: encoded_len(self), limit })
    }

    /// The length of the payload, padding included.
    pub fn encoded_len(&self) -> usize {
        encoded_len(self)
    }

    /// Writes the sealed datagram into `out`, usually of [`MAX_DATAGRAM`] bytes, and gives its length.
    ///
    /// `nonce` is random, and used once. Nothing is allocated.
    pub fn seal(&self, key: &ChannelKey, nonce: &Nonce, out: &mut [u8]) -> Result<usize, EncodeError> {
        let limit = seal::limit(out);
        let payload = out.get_mut(HEADER..HEADER + limit).unwrap_or_default();
        let length = self.encode(payload)?;
        seal::seal_in_place(key, nonce, out, length).map_err(|error| match error {
            SealError::TooLong { length, limit } => EncodeError::TooLong { length, limit },
            SealError::Empty => EncodeError::TooLong { length: 0, limit },
        })
    }

    /// Reads a payload.
    ///
    /// A query that wants no name, a renewal, and the replies to them allocate nothing.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Fault::TooLong { limit: MAX_PAYLOAD }.at("message"));
        }
        let mut reader = Reader::new(payload);
        let r = &mut reader;
        if r.items(2, "message")? != 2 {
            return Err(Fault::Length.at("message"));
        }
        let message = match r.u64("message.type")? {
            1 if payload.len() < QUERY_PAYLOAD => return Err(Fault::TooShort { limit: QUERY_PAYLOAD }.at("query")),
            1 => Self::Query(read_query(r)?),
            2 => Self::Answer(read_answer(r)?),
            3 => Self::Register(read_signed_record(r, "register")?),
            4 => Self::Registered(read_registered(r)?),
            5 => Self::Renew(read_renewal(r)?),
            6 => Self::Announcement(read_signed_record(r, "announcement")?),
            7 => Self::Goodbye(read_signed_record(r, "goodbye")?),
            8 => Self::Notice(read_notice(r)?),
            9 => Self::Refused(read_refused(r)?),
            value => return Err(Fault::Unknown { value }.at("message.type")),
        };
        reader.finish("message")?;
        Ok(message)
    }

    /// Refuses to send what no receiver takes.
    fn check(&self) -> Result<(), EncodeError> {
        let refused = |field| Err(EncodeError::Refused { field });
        match self {
            Self::Register(record) | Self::Announcement(record) | Self::Goodbye(record)
                if record.body.len() > SignedRecord::MAX_BODY =>
            {
                refused("record.body")
            }
            Self::Answer(Answer { subject: Subject::Own { record, .. } | Subject::Found { record, .. }, .. })
                if record.body.len() > SignedRecord::MAX_BODY =>
            {
                refused("answer.record")
            }
            Self::Answer(Answer { subject: Subject::Hearsay { wire: Wire::Hereabouts, .. }, .. }) => {
                refused("answer.wire")
            }
            Self::Notice(notice) if !is_offer_name(&notice.name) => refused("notice.name"),
            Self::Refused(Refused { refusal: Refusal::Channel { name }, .. }) if !KeyRing::is_channel_name(name) => {
                refused("refused.channel")
            }
            _ => Ok(()),
        }
    }
}

impl Encoded for Message {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.array(2)?;
        match self {
            Self::Query(query) => Padded(query).encode(e.u8(1)?),
            Self::Answer(answer) => answer.encode(e.u8(2)?),
            Self::Register(record) => record.encode(e.u8(3)?),
            Self::Registered(registered) => registered.encode(e.u8(4)?),
            Self::Renew(renewal) => renewal.encode(e.u8(5)?),
            Self::Announcement(record) => record.encode(e.u8(6)?),
            Self::Goodbye(record) => record.encode(e.u8(7)?),
            Self::Notice(notice) => notice.encode(e.u8(8)?),
            Self::Refused(refused) => refused.encode(e.u8(9)?),
        }
    }
}

/// A query with its padding.
struct Padded<'a>(&'a Query);

impl Encoded for Padded<'_> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        /// The array's head and the message type before the query.
        const BEFORE: usize = 2;
        let Query { id, want, clock, window } = self.0;
        let bare = encoded_len(self.0);
        let missing = QUERY_PAYLOAD.saturating_sub(BEFORE + bare);
        let fields = if matches!(want, Want::Name(_) | Want::Holder(_)) { 5 } else { 4 };
        e.map(fields + u64::from(missing > 0))?;
        encode_query_fields(e, *id, want, *clock, *window)?;
        if missing > 0 {
            // Key and head of the padding take 2 bytes up to 23 zeros, 3 up to 255, and 4 beyond.
            let zeros = match missing {
                0..=25 => missing.saturating_sub(2),
                26..=258 => (missing - 3).max(24),
                _ => (missing - 4).max(256),
            };
            e.u8(15)?.bytes(&[0; QUERY_PAYLOAD][..zeros])?;
        }
        Ok(())
    }
}

impl Encoded for Query {
    /// Without padding.
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { id, want, clock, window } = self;
        e.map(4)?;
        encode_query_fields(e, *id, want, *clock, *window)
    }
}

fn encode_query_fields<W: Write>(
    e: &mut Encoder<W>,
    id: u64,
    want: &Want,
    clock: Timestamp,
    window: Duration,
) -> Written<W> {
    e.u8(1)?.u64(id)?;
    e.u8(2)?.u8(match want {
        Want::Servers => 0,
        Want::All => 1,
        Want::Name(_) => 2,
        Want::Holder(_) => 3,
    })?;
    e.u8(3)?.u64(clock.0)?;
    e.u8(4)?.u64(millis(window).min(MAX_WINDOW))?;
    match want {
        Want::Servers | Want::All => {}
        Want::Name(name) => {
            e.u8(5)?.str(name.as_str())?;
        }
        Want::Holder(ip) => encode_ip(e.u8(6)?, *ip)?,
    }
    Ok(())
}

fn read_query(r: &mut Reader<'_>) -> Result<Query, DecodeError> {
    let (mut id, mut want, mut clock, mut window, mut name, mut address) = (None, None, None, None, None, None);
    let mut fields = r.fields("query")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => id = Some(r.u64("query.id")?),
            2 => want = Some(r.u64("query.want")?),
            3 => clock = Some(Timestamp(r.u64("query.clock")?)),
            4 => window = Some(Duration::from_millis(r.uint::<u16>("query.window")?.into())),
            5 => name = Some(read_name(r, "query.name")?),
            6 => address = Some(read_ip(r, "query.address")?),
            _ => r.skip("query")?,
        }
    }
    let want = match (want.ok_or(Fault::Missing.at("query.want"))?, name, address) {
        (0, None, None) => Want::Servers,
        (1, None, None) => Want::All,
        (2, Some(name), None) => Want::Name(name),
        (2, None, _) => return Err(Fault::Missing.at("query.name")),
        (3, None, Some(address)) => Want::Holder(address),
        (3, _, None) => return Err(Fault::Missing.at("query.address")),
        (0 | 1 | 3, Some(_), _) => return Err(Fault::Unexpected.at("query.name")),
        (0..=2, _, Some(_)) => return Err(Fault::Unexpected.at("query.address")),
        (value, ..) => return Err(Fault::Unknown { value }.at("query.want")),
    };
    Ok(Query {
        id: id.ok_or(Fault::Missing.at("query.id"))?,
        want,
        clock: clock.ok_or(Fault::Missing.at("query.clock"))?,
        window: window.ok_or(Fault::Missing.at("query.window"))?,
    })
}

impl Encoded for Answer {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { id, seen, subject } = self;
        let (kind, fields) = match subject {
            Subject::Own { info, .. } => (0, if info.is_empty() { 4 } else { 5 }),
            Subject::Found { .. } => (1, 6),
            Subject::Unknown { .. } => (2, 4),
            Subject::Hearsay { .. } => (3, 7),
        };
        e.map(fields)?;
        e.u8(1)?.u64(*id)?;
        encode_socket(e.u8(2)?, *seen)?;
        e.u8(3)?.u8(kind)?;
        match subject {
            Subject::Own { record, info } => {
                record.encode(e.u8(4)?)?;
                if !info.is_empty() {
                    encode_labels(e.u8(5)?, info)?;
                }
            }
            Subject::Found { server, record, sighting } => {
                record.encode(e.u8(4)?)?;
                e.u8(6)?.bytes(&server.0)?;
                sighting.encode(e.u8(7)?)?;
            }
            Subject::Unknown { server } => {
                e.u8(6)?.bytes(&server.0)?;
            }
            Subject::Hearsay { server, name, wire, sighting } => {
                e.u8(6)?.bytes(&server.0)?;
                sighting.encode(e.u8(7)?)?;
                e.u8(8)?.str(name.as_str())?;
                e.u8(9)?.u8(match wire {
                    // Refused before it comes here.
                    Wire::Hereabouts => 0,
                    Wire::Dynip => 1,
                    Wire::Terminals => 2,
                })?;
            }
        }
        Ok(())
    }
}

fn read_answer(r: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let (mut id, mut seen, mut subject) = (None, None, None);
    let (mut record, mut info, mut server, mut sighting) = (None, None, None, None);
    let (mut name, mut wire) = (None, None);
    let mut fields = r.fields("answer")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => id = Some(r.u64("answer.id")?),
            2 => seen = Some(read_socket(r, "answer.seen")?),
            3 => subject = Some(r.u64("answer.subject")?),
            4 => record = Some(read_signed_record(r, "answer.record")?),
            5 => info = Some(read_labels(r, "answer.info")?),
            6 => server = Some(NodeId(r.array("answer.server")?)),
            7 => sighting = Some(read_sighting(r)?),
            8 => name = Some(read_name(r, "answer.name")?),
            9 => {
                wire = Some(match r.u64("answer.wire")? {
                    1 => Wire::Dynip,
                    2 => Wire::Terminals,
                    value => return Err(Fault::Unknown { value }.at("answer.wire")),
                });
            }
            _ => r.skip("answer")?,
        }
    }
    if subject != Some(3) {
        refuse(&name, "answer.name")?;
        refuse(&wire, "answer.wire")?;
    }
    let subject = match subject.ok_or(Fault::Missing.at("answer.subject"))? {
        0 => {
            refuse(&server, "answer.server")?;
            refuse(&sighting, "answer.sighting")?;
            let record = record.ok_or(Fault::Missing.at("answer.record"))?;
            Subject::Own { record, info: info.unwrap_or_default() }
        }
        1 => {
            refuse(&info, "answer.info")?;
            Subject::Found {
                server: server.ok_or(Fault::Missing.at("answer.server"))?,
                record: record.ok_or(Fault::Missing.at("answer.record"))?,
                sighting: sighting.ok_or(Fault::Missing.at("answer.sighting"))?,
            }
        }
        2 => {
            refuse(&record, "answer.record")?;
            refuse(&info, "answer.info")?;
            refuse(&sighting, "answer.sighting")?;
            Subject::Unknown { server: server.ok_or(Fault::Missing.at("answer.server"))? }
        }
        3 => {
            refuse(&record, "answer.record")?;
            refuse(&info, "answer.info")?;
            Subject::Hearsay {
                server: server.ok_or(Fault::Missing.at("answer.server"))?,
                name: name.ok_or(Fault::Missing.at("answer.name"))?,
                wire: wire.ok_or(Fault::Missing.at("answer.wire"))?,
                sighting: sighting.ok_or(Fault::Missing.at("answer.sighting"))?,
            }
        }
        value => return Err(Fault::Unknown { value }.at("answer.subject")),
    };
    Ok(Answer {
        id: id.ok_or(Fault::Missing.at("answer.id"))?,
        seen: seen.ok_or(Fault::Missing.at("answer.seen"))?,
        subject,
    })
}

impl Encoded for Sighting {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { source, last_seen, state } = self;
        e.map(3)?;
        encode_socket(e.u8(1)?, *source)?;
        e.u8(2)?.u64(last_seen.0)?;
        e.u8(3)?.u8(state_number(*state))?;
        Ok(())
    }
}

pub(in crate::wire) fn state_number(state: State) -> u8 {
    match state {
        State::Present => 0,
        State::Expired => 1,
        State::Left => 2,
    }
}

pub(in crate::wire) fn read_state(r: &mut Reader<'_>, field: &'static str) -> Result<State, DecodeError> {
    Ok(match r.u64(field)? {
        0 => State::Present,
        1 => State::Expired,
        2 => State::Left,
        value => return Err(Fault::Unknown { value }.at(field)),
    })
}

fn read_sighting(r: &mut Reader<'_>) -> Result<Sighting, DecodeError> {
    let (mut source, mut last_seen, mut state) = (None, None, None);
    let mut fields = r.fields("sighting")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => source = Some(read_socket(r, "sighting.source")?),
            2 => last_seen = Some(Timestamp(r.u64("sighting.last_seen")?)),
            3 => state = Some(read_state(r, "sighting.state")?),
            _ => r.skip("sighting")?,
        }
    }
    Ok(Sighting {
        source: source.ok_or(Fault::Missing.at("sighting.source"))?,
        last_seen: last_seen.ok_or(Fault::Missing.at("sighting.last_seen"))?,
        state: state.ok_or(Fault::Missing.at("sighting.state"))?,
    })
}

impl Encoded for SignedRecord {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { node, key, body, signature } = self;
        e.map(4)?;
        e.u8(1)?.bytes(&node.0)?;
        e.u8(2)?.bytes(&key.0)?;
        e.u8(3)?.bytes(body)?;
        e.u8(4)?.bytes(signature)?;
        Ok(())
    }
}

fn read_signed_record(r: &mut Reader<'_>, field: &'static str) -> Result<SignedRecord, DecodeError> {
    let (mut node, mut key, mut body, mut signature) = (None, None, None, None);
    let mut fields = r.fields(field)?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => node = Some(NodeId(r.array(field)?)),
            2 => key = Some(KeyId(r.array(field)?)),
            3 => body = Some(r.bytes(SignedRecord::MAX_BODY, field)?),
            4 => signature = Some(r.array(field)?),
            _ => r.skip(field)?,
        }
    }
    let missing = Fault::Missing.at(field);
    Ok(SignedRecord {
        node: node.ok_or(missing)?,
        key: key.ok_or(missing)?,
        body: body.ok_or(missing)?.into(),
        signature: signature.ok_or(missing)?,
    })
}

impl Encoded for Registered {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { sequence, seen, lease, clock } = self;
        e.map(4)?;
        e.u8(1)?.u64(*sequence)?;
        encode_socket(e.u8(2)?, *seen)?;
        e.u8(3)?.u32(lease.0)?;
        e.u8(4)?.u64(clock.0)?;
        Ok(())
    }
}

fn read_registered(r: &mut Reader<'_>) -> Result<Registered, DecodeError> {
    let (mut sequence, mut seen, mut lease, mut clock) = (None, None, None, None);
    let mut fields = r.fields("registered")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => sequence = Some(r.u64("registered.sequence")?),
            2 => seen = Some(read_socket(r, "registered.seen")?),
            3 => lease = Some(Lease(r.uint("registered.lease")?)),
            4 => clock = Some(Timestamp(r.u64("registered.clock")?)),
            _ => r.skip("registered")?,
        }
    }
    Ok(Registered {
        sequence: sequence.ok_or(Fault::Missing.at("registered.sequence"))?,
        seen: seen.ok_or(Fault::Missing.at("registered.seen"))?,
        lease: lease.ok_or(Fault::Missing.at("registered.lease"))?,
        clock: clock.ok_or(Fault::Missing.at("registered.clock"))?,
    })
}

impl Encoded for Renewal {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { node, epoch, base, sequence, proof } = self;
        e.map(5)?;
        e.u8(1)?.bytes(&node.0)?;
        e.u8(2)?.u64(*epoch)?;
        e.u8(3)?.u64(*base)?;
        e.u8(4)?.u64(*sequence)?;
        e.u8(5)?.bytes(proof)?;
        Ok(())
    }
}

fn read_renewal(r: &mut Reader<'_>) -> Result<Renewal, DecodeError> {
    let (mut node, mut epoch, mut base, mut sequence, mut proof) = (None, None, None, None, None);
    let mut fields = r.fields("renew")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => node = Some(NodeId(r.array("renew.node")?)),
            2 => epoch = Some(r.u64("renew.epoch")?),
            3 => base = Some(r.u64("renew.base")?),
            4 => sequence = Some(r.u64("renew.sequence")?),
            5 => proof = Some(r.array("renew.proof")?),
            _ => r.skip("renew")?,
        }
    }
    Ok(Renewal {
        node: node.ok_or(Fault::Missing.at("renew.node"))?,
        epoch: epoch.ok_or(Fault::Missing.at("renew.epoch"))?,
        base: base.ok_or(Fault::Missing.at("renew.base"))?,
        sequence: sequence.ok_or(Fault::Missing.at("renew.sequence"))?,
        proof: proof.ok_or(Fault::Missing.at("renew.proof"))?,
    })
}

impl Encoded for Notice {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { server, name, generation, size, digest, signature } = self;
        e.map(6)?;
        e.u8(1)?.bytes(&server.0)?;
        e.u8(2)?.str(name)?;
        e.u8(3)?.u64(*generation)?;
        e.u8(4)?.u64(*size)?;
        e.u8(5)?.bytes(digest)?;
        e.u8(6)?.bytes(signature)?;
        Ok(())
    }
}

pub(in crate::wire) fn read_notice(r: &mut Reader<'_>) -> Result<Notice, DecodeError> {
    let (mut server, mut name, mut generation) = (None, None, None);
    let (mut size, mut digest, mut signature) = (None, None, None);
    let mut fields = r.fields("notice")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => server = Some(NodeId(r.array("notice.server")?)),
            2 => {
                let text = r.text(Notice::MAX_NAME, "notice.name")?;
                name = Some(Some(text).filter(|text| is_offer_name(text)).ok_or(Fault::Text.at("notice.name"))?);
            }
            3 => generation = Some(r.u64("notice.generation")?),
            4 => size = Some(r.u64("notice.size")?),
            5 => digest = Some(r.array("notice.digest")?),
            6 => signature = Some(r.array("notice.signature")?),
            _ => r.skip("notice")?,
        }
    }
    Ok(Notice {
        server: server.ok_or(Fault::Missing.at("notice.server"))?,
        name: name.ok_or(Fault::Missing.at("notice.name"))?.into(),
        generation: generation.ok_or(Fault::Missing.at("notice.generation"))?,
        size: size.ok_or(Fault::Missing.at("notice.size"))?,
        digest: digest.ok_or(Fault::Missing.at("notice.digest"))?,
        signature: signature.ok_or(Fault::Missing.at("notice.signature"))?,
    })
}

impl Encoded for Refused {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { regarding, refusal } = self;
        let (why, more) = match refusal {
            Refusal::Clock { .. } => (0, 1),
            Refusal::NameHeld { .. } => (1, 1),
            Refusal::Rate { .. } => (2, 1),
            Refusal::Outdated { .. } => (3, 2),
            Refusal::UnknownRecord => (4, 0),
            Refusal::Cloned => (5, 0),
            Refusal::Channel { .. } => (6, 1),
        };
        e.map(2 + more)?;
        match regarding {
            Regarding::Query(id) => e.u8(1)?.u64(*id)?,
            Regarding::Sequence(sequence) => e.u8(2)?.u64(*sequence)?,
        };
        e.u8(3)?.u8(why)?;
        match refusal {
            Refusal::Clock { clock } => e.u8(4)?.u64(clock.0)?,
            Refusal::NameHeld { holder } => e.u8(5)?.bytes(&holder.0)?,
            Refusal::Rate { wait } => e.u8(6)?.u64(millis(*wait).min(u32::MAX.into()))?,
            Refusal::Outdated { epoch, sequence } => e.u8(7)?.u64(*epoch)?.u8(8)?.u64(*sequence)?,
            Refusal::UnknownRecord | Refusal::Cloned => e,
            Refusal::Channel { name } => e.u8(9)?.str(name)?,
        };
        Ok(())
    }
}

fn read_refused(r: &mut Reader<'_>) -> Result<Refused, DecodeError> {
    let (mut query, mut regarded, mut why) = (None, None, None);
    let (mut clock, mut holder, mut wait, mut epoch, mut sequence, mut channel) = (None, None, None, None, None, None);
    let mut fields = r.fields("refused")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => query = Some(r.u64("refused.query")?),
            2 => regarded = Some(r.u64("refused.regarding")?),
            3 => why = Some(r.u64("refused.why")?),
            4 => clock = Some(Timestamp(r.u64("refused.clock")?)),
            5 => holder = Some(NodeId(r.array("refused.holder")?)),
            6 => wait = Some(Duration::from_millis(r.uint::<u32>("refused.wait")?.into())),
            7 => epoch = Some(r.u64("refused.epoch")?),
            8 => sequence = Some(r.u64("refused.sequence")?),
            9 => {
                let text = r.text(KeyRing::MAX_CHANNEL, "refused.channel")?;
                let valid = Some(text).filter(|text| KeyRing::is_channel_name(text));
                channel = Some(valid.ok_or(Fault::Text.at("refused.channel"))?);
            }
            _ => r.skip("refused")?,
        }
    }
    let regarding = match (query, regarded) {
        (Some(id), None) => Regarding::Query(id),
        (None, Some(sequence)) => Regarding::Sequence(sequence),
        (Some(_), Some(_)) => return Err(Fault::Unexpected.at("refused.regarding")),
        (None, None) => return Err(Fault::Missing.at("refused.regarding")),
    };
    let why = why.ok_or(Fault::Missing.at("refused.why"))?;
    if why != 0 {
        refuse(&clock, "refused.clock")?;
    }
    if why != 1 {
        refuse(&holder, "refused.holder")?;
    }
    if why != 2 {
        refuse(&wait, "refused.wait")?;
    }
    if why != 3 {
        refuse(&epoch, "refused.epoch")?;
        refuse(&sequence, "refused.sequence")?;
    }
    if why != 6 {
        refuse(&channel, "refused.channel")?;
    }
    let refusal = match why {
        0 => Refusal::Clock { clock: clock.ok_or(Fault::Missing.at("refused.clock"))? },
        1 => Refusal::NameHeld { holder: holder.ok_or(Fault::Missing.at("refused.holder"))? },
        2 => Refusal::Rate { wait: wait.ok_or(Fault::Missing.at("refused.wait"))? },
        3 => Refusal::Outdated {
            epoch: epoch.ok_or(Fault::Missing.at("refused.epoch"))?,
            sequence: sequence.ok_or(Fault::Missing.at("refused.sequence"))?,
        },
        4 => Refusal::UnknownRecord,
        5 => Refusal::Cloned,
        6 => Refusal::Channel { name: channel.ok_or(Fault::Missing.at("refused.channel"))?.into() },
        value => return Err(Fault::Unknown { value }.at("refused.why")),
    };
    Ok(Refused { regarding, refusal })
}

/// Refuses a field that does not belong to this kind of message.
fn refuse<T>(field: &Option<T>, name: &'static str) -> Result<(), DecodeError> {
    if field.is_some() { Err(Fault::Unexpected.at(name)) } else { Ok(()) }
}

pub(in crate::wire) fn encode_ip<W: Write>(e: &mut Encoder<W>, ip: IpAddr) -> Written<W> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => e.bytes(&ip.octets())?,
        IpAddr::V6(ip) => e.bytes(&ip.octets())?,
    };
    Ok(())
}

pub(in crate::wire) fn read_ip(r: &mut Reader<'_>, field: &'static str) -> Result<IpAddr, DecodeError> {
    let bytes = r.bytes(16, field)?;
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ok(octets.into())
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ok(IpAddr::from(octets).to_canonical())
    } else {
        Err(Fault::Length.at(field))
    }
}

pub(in crate::wire) fn encode_socket<W: Write>(e: &mut Encoder<W>, socket: SocketAddr) -> Written<W> {
    encode_ip(e.array(2)?, socket.ip())?;
    e.u16(socket.port())?;
    Ok(())
}

pub(in crate::wire) fn read_socket(r: &mut Reader<'_>, field: &'static str) -> Result<SocketAddr, DecodeError> {
    if r.items(2, field)? != 2 {
        return Err(Fault::Length.at(field));
    }
    Ok(SocketAddr::new(read_ip(r, field)?, r.uint(field)?))
}

pub(in crate::wire) fn encode_labels<W: Write>(e: &mut Encoder<W>, labels: &Labels) -> Written<W> {
    let pairs = labels.iter();
    e.map(pairs.len() as u64)?;
    for (key, value) in pairs {
        e.str(key)?.str(value)?;
    }
    Ok(())
}

pub(in crate::wire) fn read_labels(r: &mut Reader<'_>, field: &'static str) -> Result<Labels, DecodeError> {
    let mut labels = Labels::default();
    let mut last = None;
    for _ in 0..r.pairs(Labels::MAX_PAIRS, field)? {
        let key = r.text(Labels::MAX_KEY, field)?;
        match last {
            Some(last) if key == last => return Err(Fault::Duplicate.at(field)),
            Some(last) if key < last => return Err(Fault::Order.at(field)),
            _ => last = Some(key),
        }
        let value = r.text(Labels::MAX_VALUE, field)?;
        labels.insert(key.into(), value.into()).map_err(|_| Fault::Text.at(field))?;
    }
    Ok(labels)
}

/// An offer's name is what a label's key is.
pub(in crate::wire) fn is_offer_name(text: &str) -> bool {
    (1..=Notice::MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
}

/// Whole milliseconds, the greatest number if there are more.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
