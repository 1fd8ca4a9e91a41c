//! The bytes of answers and sightings.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::parts::{encode_labels, encode_socket, read_labels, read_name, read_socket, refuse};
use super::registering::read_signed_record;
use super::{Encoded, Written};
use crate::model::{Labels, NodeId, NodeName, Protocol, State, Timestamp};
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::error::{DecodeError, Fault};
use crate::wire::v1::message::{Answer, Sighting, SignedRecord, Subject};

impl Encoded for Answer {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { id, seen, subject } = self;
        let (kind, fields) = match subject {
            Subject::Own { info, .. } => (0, if info.is_empty() { 4 } else { 5 }),
            Subject::Found { .. } => (1, 6),
            Subject::Unknown { .. } => (2, 4),
            Subject::UnverifiedClaim { .. } => (3, 7),
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
            Subject::Found {
                server,
                record,
                sighting,
            } => {
                record.encode(e.u8(4)?)?;
                e.u8(6)?.bytes(&server.0)?;
                sighting.encode(e.u8(7)?)?;
            }
            Subject::Unknown { server } => {
                e.u8(6)?.bytes(&server.0)?;
            }
            Subject::UnverifiedClaim {
                server,
                name,
                protocol,
                sighting,
            } => {
                e.u8(6)?.bytes(&server.0)?;
                sighting.encode(e.u8(7)?)?;
                e.u8(8)?.str(name.as_str())?;
                e.u8(9)?.u8(match protocol {
                    // `Message::check` has refused this value.
                    Protocol::Hereabouts => 0,
                    Protocol::Dynip => 1,
                    Protocol::Terminals => 2,
                })?;
            }
        }
        Ok(())
    }
}

pub(super) fn read_answer(r: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let mut id = None;
    let mut seen = None;
    let mut subject = None;
    let mut parts = Parts::default();
    let mut fields = r.fields("answer")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => id = Some(r.u64("answer.id")?),
            2 => seen = Some(read_socket(r, "answer.seen")?),
            3 => subject = Some(r.u64("answer.subject")?),
            4 => parts.record = Some(read_signed_record(r, "answer.record")?),
            5 => parts.info = Some(read_labels(r, "answer.info")?),
            6 => parts.server = Some(NodeId(r.array("answer.server")?)),
            7 => parts.sighting = Some(read_sighting(r)?),
            8 => parts.name = Some(read_name(r, "answer.name")?),
            9 => parts.protocol = Some(read_protocol(r, "answer.protocol")?),
            _ => r.skip("answer")?,
        }
    }
    let subject = parts.into_subject(subject)?;
    Ok(Answer {
        id: id.ok_or(Fault::Missing.at("answer.id"))?,
        seen: seen.ok_or(Fault::Missing.at("answer.seen"))?,
        subject,
    })
}

fn read_protocol(r: &mut Reader<'_>, field: &'static str) -> Result<Protocol, DecodeError> {
    Ok(match r.u64(field)? {
        1 => Protocol::Dynip,
        2 => Protocol::Terminals,
        value => return Err(Fault::Unknown { value }.at(field)),
    })
}

/// The fields that depend on the subject.
#[derive(Default)]
struct Parts {
    record: Option<SignedRecord>,
    info: Option<Labels>,
    server: Option<NodeId>,
    sighting: Option<Sighting>,
    name: Option<NodeName>,
    protocol: Option<Protocol>,
}

impl Parts {
    /// The subject of this number; refuses fields that do not belong to it.
    fn into_subject(self, number: Option<u64>) -> Result<Subject, DecodeError> {
        if number != Some(3) {
            refuse(&self.name, "answer.name")?;
            refuse(&self.protocol, "answer.protocol")?;
        }
        match number.ok_or(Fault::Missing.at("answer.subject"))? {
            0 => {
                refuse(&self.server, "answer.server")?;
                refuse(&self.sighting, "answer.sighting")?;
                let record = self.record.ok_or(Fault::Missing.at("answer.record"))?;
                let info = self.info.unwrap_or_default();
                Ok(Subject::Own { record, info })
            }
            1 => {
                refuse(&self.info, "answer.info")?;
                Ok(Subject::Found {
                    server: self.server.ok_or(Fault::Missing.at("answer.server"))?,
                    record: self.record.ok_or(Fault::Missing.at("answer.record"))?,
                    sighting: self.sighting.ok_or(Fault::Missing.at("answer.sighting"))?,
                })
            }
            2 => {
                refuse(&self.record, "answer.record")?;
                refuse(&self.info, "answer.info")?;
                refuse(&self.sighting, "answer.sighting")?;
                Ok(Subject::Unknown {
                    server: self.server.ok_or(Fault::Missing.at("answer.server"))?,
                })
            }
            3 => {
                refuse(&self.record, "answer.record")?;
                refuse(&self.info, "answer.info")?;
                Ok(Subject::UnverifiedClaim {
                    server: self.server.ok_or(Fault::Missing.at("answer.server"))?,
                    name: self.name.ok_or(Fault::Missing.at("answer.name"))?,
                    protocol: self.protocol.ok_or(Fault::Missing.at("answer.protocol"))?,
                    sighting: self.sighting.ok_or(Fault::Missing.at("answer.sighting"))?,
                })
            }
            value => Err(Fault::Unknown { value }.at("answer.subject")),
        }
    }
}

impl Encoded for Sighting {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self {
            source,
            last_seen,
            state,
        } = self;
        e.map(3)?;
        encode_socket(e.u8(1)?, *source)?;
        e.u8(2)?.u64(last_seen.0)?;
        e.u8(3)?.u8(state_number(*state))?;
        Ok(())
    }
}

fn read_sighting(r: &mut Reader<'_>) -> Result<Sighting, DecodeError> {
    let mut source = None;
    let mut last_seen = None;
    let mut state = None;
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

pub(in crate::wire) fn state_number(state: State) -> u8 {
    match state {
        State::Present => 0,
        State::Expired => 1,
        State::Left => 2,
    }
}

pub(in crate::wire) fn read_state(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<State, DecodeError> {
    Ok(match r.u64(field)? {
        0 => State::Present,
        1 => State::Expired,
        2 => State::Left,
        value => return Err(Fault::Unknown { value }.at(field)),
    })
}
