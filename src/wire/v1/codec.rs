//! The bytes of the messages.
//!
//! A payload is CBOR (RFC 8949) in its deterministic form (§4.2.1): an array of message type and
//! fields. Fields are a map with unsigned keys; the numbers below are the protocol.
//!
//! | type | message | fields |
//! |---|---|---|
//! | 1 | `Query` | 1 id, 2 want (0 servers, 1 all, 2 name, 3 holder), 3 clock, 4 window in ms, 5 name *(want 2)*, 6 address *(want 3)*, 15 padding |
//! | 2 | `Answer` | 1 id, 2 seen, 3 subject (0 own, 1 found, 2 unknown, 3 unverified claim), 4 signed record *(0, 1)*, 5 info *(0; left out if empty)*, 6 server *(1, 2, 3)*, 7 sighting *(1, 3)*, 8 name *(3)*, 9 protocol *(3: 1 dynip, 2 terminals)* |
//! | 3 | `Register` | those of a signed record |
//! | 4 | `Registered` | 1 sequence, 2 seen, 3 lease in s, 4 clock, 5 offers (optional) |
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
//! | IP | byte string of 4 or 16 bytes; IPv4-mapped IPv6 counts as IPv4; scope ids are not sent |
//! | labels, info | map from text to text, keys in bytewise order |
//! | node id, digest, proof, signature, key id | byte strings of 32, 32, 16, 64 and 4 bytes |
//! | time | milliseconds since 1970 |
//!
//! A map is extended by new numbers: a decoder skips the numbers that it does not know. Arrays and
//! enumerations are not extended within a version. A decoder refuses wrong types; fields that are
//! repeated, not in ascending order, missing, or not part of the kind of message; bytes after the
//! end; indefinite lengths; integers and lengths that are not in their shortest form; and any
//! length over its limit.
//!
//! **Padding.** A query has at least [`QUERY_PAYLOAD`] bytes, and a shorter one is refused. So no
//! reply is longer than three times its request, and an attacker who forges a source address gains
//! nothing.

mod answer;
mod notice;
mod parts;
mod query;
mod refused;
mod registering;

use minicbor::Encoder;
use minicbor::encode::Write;
use minicbor::encode::write::Cursor;
use tracing::debug;

use self::answer::read_answer;
pub(in crate::wire) use self::notice::{is_offer_name, read_notice};
pub(in crate::wire) use self::parts::{encode_ip, encode_labels, read_ip, read_labels, read_name};
use self::query::{Padded, read_query};
use self::refused::read_refused;
use self::registering::{read_registered, read_renewal, read_signed_record};
use super::cbor::Reader;
use super::error::{DecodeError, EncodeError, Fault};
use super::message::{Answer, Message, Refusal, Refused, SignedRecord, Subject};
use crate::model::Protocol;
use crate::wire::SealError;
use crate::wire::keyring::{ChannelKey, KeyRing};
use crate::wire::seal::{self, HEADER, MAX_DATAGRAM, MAX_PAYLOAD, Nonce, OVERHEAD};

/// The shortest datagram of a query: a third of the longest datagram, so that no reply is longer
/// than three times a query.
pub const QUERY_DATAGRAM: usize = MAX_DATAGRAM.div_ceil(3);
/// The shortest payload of a query.
pub const QUERY_PAYLOAD: usize = QUERY_DATAGRAM - OVERHEAD;

/// The longest window of a query, in ms.
const MAX_WINDOW: u64 = u16::MAX as u64;

pub(in crate::wire) type Written<W> = Result<(), minicbor::encode::Error<<W as Write>::Error>>;

/// A type with a CBOR form.
pub(in crate::wire) trait Encoded {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W>;
}

/// Writes into `out` and returns the length; `None` if the value does not fit.
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
    // Counting never fails.
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

    /// Writes the payload into `out` and returns its length; a query is padded to
    /// [`QUERY_PAYLOAD`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        self.check()?;
        let limit = out.len().min(MAX_PAYLOAD);
        encode_to(self, &mut out[..limit]).ok_or_else(|| EncodeError::TooLong {
            length: encoded_len(self),
            limit,
        })
    }

    /// The length of the payload, padding included.
    pub fn encoded_len(&self) -> usize {
        encoded_len(self)
    }

    /// Writes the sealed datagram into `out`, usually of [`MAX_DATAGRAM`] bytes, and returns its
    /// length.
    ///
    /// `nonce` is random, and used once. Nothing is allocated.
    pub fn seal(
        &self,
        key: &ChannelKey,
        nonce: &Nonce,
        out: &mut [u8],
    ) -> Result<usize, EncodeError> {
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
    /// A query without a name, a renewal, and the replies to them allocate nothing.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let decoded = Self::read(payload);
        if let Err(error) = &decoded {
            debug!(%error, length = payload.len(), "a payload is not decoded: its datagram is dropped");
        }
        decoded
    }

    fn read(payload: &[u8]) -> Result<Self, DecodeError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(Fault::TooLong { limit: MAX_PAYLOAD }.at("message"));
        }
        let mut reader = Reader::new(payload);
        let r = &mut reader;
        if r.items(2, "message")? != 2 {
            return Err(Fault::Length.at("message"));
        }
        let message = match r.u64("message.type")? {
            1 if payload.len() < QUERY_PAYLOAD => {
                return Err(Fault::TooShort {
                    limit: QUERY_PAYLOAD,
                }
                .at("query"));
            }
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

    /// Refuses to encode a message that no receiver accepts.
    fn check(&self) -> Result<(), EncodeError> {
        let refused = |field| Err(EncodeError::Refused { field });
        match self {
            Self::Register(record) | Self::Announcement(record) | Self::Goodbye(record)
                if record.body.len() > SignedRecord::MAX_BODY =>
            {
                refused("record.body")
            }
            Self::Answer(Answer {
                subject: Subject::Own { record, .. } | Subject::Found { record, .. },
                ..
            }) if record.body.len() > SignedRecord::MAX_BODY => refused("answer.record"),
            Self::Answer(Answer {
                subject:
                    Subject::UnverifiedClaim {
                        protocol: Protocol::Hereabouts,
                        ..
                    },
                ..
            }) => refused("answer.protocol"),
            Self::Notice(notice) if !is_offer_name(&notice.name) => refused("notice.name"),
            Self::Refused(Refused {
                refusal: Refusal::Channel { name },
                ..
            }) if !KeyRing::is_channel_name(name) => refused("refused.channel"),
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
