//! The bytes of queries, and their padding.

use std::time::Duration;

use minicbor::Encoder;
use minicbor::encode::Write;

use super::parts::{encode_ip, millis, read_ip, read_name};
use super::{Encoded, MAX_WINDOW, QUERY_PAYLOAD, Written, encoded_len};
use crate::model::Timestamp;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::error::{DecodeError, Fault};
use crate::wire::v1::message::{Query, Want};

/// A query with its padding.
pub(super) struct Padded<'a>(pub(super) &'a Query);

impl Encoded for Padded<'_> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        /// The array's head and the message type before the query.
        const BEFORE: usize = 2;
        let Query {
            id,
            want,
            clock,
            window,
        } = self.0;
        let bare = encoded_len(self.0);
        let missing = QUERY_PAYLOAD.saturating_sub(BEFORE + bare);
        let fields = if matches!(want, Want::Name(_) | Want::Holder(_)) {
            5
        } else {
            4
        };
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
        let Self {
            id,
            want,
            clock,
            window,
        } = self;
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

pub(super) fn read_query(r: &mut Reader<'_>) -> Result<Query, DecodeError> {
    let mut id = None;
    let mut want = None;
    let mut clock = None;
    let mut window = None;
    let mut name = None;
    let mut address = None;
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
