//! The bytes of notices.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::{Encoded, Written};
use crate::model::NodeId;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::error::{DecodeError, Fault};
use crate::wire::v1::message::Notice;

impl Encoded for Notice {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self {
            server,
            name,
            generation,
            size,
            digest,
            signature,
        } = self;
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
    let mut server = None;
    let mut name = None;
    let mut generation = None;
    let mut size = None;
    let mut digest = None;
    let mut signature = None;
    let mut fields = r.fields("notice")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => server = Some(NodeId(r.array("notice.server")?)),
            2 => {
                let text = r.text(Notice::MAX_NAME, "notice.name")?;
                name = Some(
                    Some(text)
                        .filter(|text| is_offer_name(text))
                        .ok_or(Fault::Text.at("notice.name"))?,
                );
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

/// Whether a text is an offer's name: it follows the rules of a label's key.
pub(in crate::wire) fn is_offer_name(text: &str) -> bool {
    (1..=Notice::MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
}
