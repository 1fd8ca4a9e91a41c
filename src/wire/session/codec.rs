//! The bytes of [`super::message`], by the rules of [`crate::wire::v1::codec`]: CBOR, `[type,
//! {field: value, …}]`, fields ascending, unknown fields skipped, every length with a limit.
//!
//! | type | request | fields |
//! |---|---|---|
//! | 1 | registry | a text in place of the fields |
//! | 2 | offers | |
//! | 3 | pull | 1 name, 2 offset, 3 digest (optional) |
//! | 4 | introduce | 1 node, 2 signature |
//! | 5 | report | 1 name, 2 generation, 3 error, 4 attempted, 5 again (each of 3 to 5 optional) |
//!
//! | type | answer | fields |
//! |---|---|---|
//! | 1 | item | a text in place of the fields |
//! | 2 | offer | 1 notice |
//! | 3 | file | 1 notice, 2 offset |
//! | 4 | content | a byte string in place of the fields |
//! | 5, 6 | alive, end | |
//! | 7 | failed | 1 kind, 2 message |
//!
//! Boolean values are the numbers 0 and 1.

mod answer;
pub mod content_frame;
mod report;
mod request;

use super::MAX_MESSAGE;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Encoded, encode_to, encoded_len, is_offer_name};
use crate::wire::v1::{DecodeError, EncodeError, Fault, Notice};

fn encode(value: &impl Checked, out: &mut [u8]) -> Result<usize, EncodeError> {
    value.check()?;
    let limit = out.len().min(MAX_MESSAGE);
    encode_to(value, &mut out[..limit]).ok_or_else(|| EncodeError::TooLong {
        length: encoded_len(value),
        limit,
    })
}

/// Refuses to send what every receiver would refuse to decode.
trait Checked: Encoded {
    fn check(&self) -> Result<(), EncodeError>;
}

fn refused<T>(field: &'static str) -> Result<T, EncodeError> {
    Err(EncodeError::Refused { field })
}

/// Reads the type of a message; the reader then stands before its fields.
fn open<'b>(message: &'b [u8], field: &'static str) -> Result<(u64, Reader<'b>), DecodeError> {
    if message.len() > MAX_MESSAGE {
        return Err(Fault::TooLong { limit: MAX_MESSAGE }.at(field));
    }
    let mut reader = Reader::new(message);
    if reader.items(2, field)? != 2 {
        return Err(Fault::Length.at(field));
    }
    let number = reader.u64(field)?;
    tracing::trace!(message = field, number, length = message.len(), "message");
    Ok((number, reader))
}

/// Reads a message without fields; the fields of a later version are skipped.
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
