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
//! | 9 | report | 1 name, 2 generation, 3 error, 5 attempted, 6 again (each optional; 4 is the time, where a server tells it on) |
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

mod answer;
mod change;
pub mod content_frame;
mod history;
mod node;
mod report;
mod request;

use std::net::SocketAddr;

use minicbor::Encoder;
use minicbor::encode::Write;

use super::MAX_MESSAGE;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{
    Encoded, Written, encode_socket, encode_to, encoded_len, is_offer_name,
};
use crate::wire::v1::{DecodeError, EncodeError, Fault, Notice};

fn encode(value: &impl Checked, out: &mut [u8]) -> Result<usize, EncodeError> {
    value.check()?;
    let limit = out.len().min(MAX_MESSAGE);
    encode_to(value, &mut out[..limit]).ok_or_else(|| EncodeError::TooLong {
        length: encoded_len(value),
        limit,
    })
}

/// Refuses to send what no receiver takes.
trait Checked: Encoded {
    fn check(&self) -> Result<(), EncodeError>;
}

fn refused<T>(field: &'static str) -> Result<T, EncodeError> {
    Err(EncodeError::Refused { field })
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
    if is_offer_name(text) {
        Ok(text.into())
    } else {
        Err(Fault::Text.at(field))
    }
}

fn count(present: &[bool]) -> u64 {
    present.iter().filter(|present| **present).count() as u64
}

fn encode_optional<W: Write>(e: &mut Encoder<W>, number: u8, value: Option<u64>) -> Written<W> {
    if let Some(value) = value {
        e.u8(number)?.u64(value)?;
    }
    Ok(())
}

fn encode_source<W: Write>(
    e: &mut Encoder<W>,
    number: u8,
    source: Option<SocketAddr>,
) -> Written<W> {
    if let Some(source) = source {
        encode_socket(e.u8(number)?, source)?;
    }
    Ok(())
}
