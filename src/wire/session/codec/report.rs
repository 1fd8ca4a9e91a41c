//! What a node reports of a file.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::Report;
use super::{count, read_bool, read_offer_name, refused};
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

pub(super) fn encode_report<W: Write>(e: &mut Encoder<W>, report: &Report) -> Written<W> {
    let Report {
        name,
        generation,
        error,
        attempted,
        again,
    } = report;
    e.map(2 + count(&[error.is_some(), attempted.is_some(), *again]))?;
    e.u8(1)?.str(name)?.u8(2)?.u64(*generation)?;
    if let Some(error) = error {
        e.u8(3)?.str(error)?;
    }
    if let Some(attempted) = attempted {
        e.u8(4)?.u64(*attempted)?;
    }
    if *again {
        e.u8(5)?.u8(1)?;
    }
    Ok(())
}

pub(super) fn read_report(r: &mut Reader<'_>) -> Result<Report, DecodeError> {
    let mut name = None;
    let mut generation = None;
    let mut error = None;
    let mut attempted = None;
    let mut again = false;
    let mut fields = r.fields("report")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_offer_name(r, "report.name")?),
            2 => generation = Some(r.u64("report.generation")?),
            3 => error = Some(r.text(Report::MAX_ERROR, "report.error")?.into()),
            4 => attempted = Some(r.u64("report.attempted")?),
            5 => again = read_bool(r, "report.again")?,
            _ => r.skip("report")?,
        }
    }
    Ok(Report {
        name: name.ok_or(Fault::Missing.at("report.name"))?,
        generation: generation.ok_or(Fault::Missing.at("report.generation"))?,
        error,
        attempted,
        again,
    })
}
