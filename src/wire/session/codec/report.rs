//! What a node tells of a file.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::Report;
use super::{count, encode_optional, read_bool, read_offer_name, refused};
use crate::model::Timestamp;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Written, is_offer_name};
use crate::wire::v1::{DecodeError, EncodeError, Fault};

pub(super) fn check_report(report: &Report) -> Result<(), EncodeError> {
    if !is_offer_name(&report.name) {
        return refused("report.name");
    }
    if report
        .error
        .as_ref()
        .is_some_and(|error| error.len() > Report::MAX_ERROR)
    {
        return refused("report.error");
    }
    Ok(())
}

/// A report; one that a server tells on has the time as its fourth field.
pub(super) fn encode_report<W: Write>(
    e: &mut Encoder<W>,
    report: &Report,
    at: Option<Timestamp>,
) -> Written<W> {
    let Report {
        name,
        generation,
        error,
        attempted,
        again,
    } = report;
    e.map(2 + count(&[error.is_some(), at.is_some(), attempted.is_some(), *again]))?;
    e.u8(1)?.str(name)?.u8(2)?.u64(*generation)?;
    if let Some(error) = error {
        e.u8(3)?.str(error)?;
    }
    encode_optional(e, 4, at.map(|at| at.0))?;
    encode_optional(e, 5, *attempted)?;
    encode_optional(e, 6, again.then_some(1))
}

pub(super) fn read_report(r: &mut Reader<'_>, of: &'static str) -> Result<Report, DecodeError> {
    Ok(read_dated_report(r, of)?.0)
}

pub(super) fn read_dated_report(
    r: &mut Reader<'_>,
    of: &'static str,
) -> Result<(Report, Option<Timestamp>), DecodeError> {
    let (mut name, mut generation, mut error, mut at, mut attempted, mut again) =
        (None, None, None, None, None, false);
    let mut fields = r.fields(of)?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_offer_name(r, of)?),
            2 => generation = Some(r.u64(of)?),
            3 => error = Some(r.text(Report::MAX_ERROR, of)?.into()),
            4 => at = Some(Timestamp(r.u64(of)?)),
            5 => attempted = Some(r.u64(of)?),
            6 => again = read_bool(r, of)?,
            _ => r.skip(of)?,
        }
    }
    let missing = Fault::Missing.at(of);
    let (name, generation) = (name.ok_or(missing)?, generation.ok_or(missing)?);
    Ok((
        Report {
            name,
            generation,
            error,
            attempted,
            again,
        },
        at,
    ))
}
