//! Requests.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::MAX_TEXT;
use super::super::message::Request;
use super::report::{check_report, encode_report, read_report};
use super::{Checked, count, encode, open, read_nothing, read_offer_name, refused};
use crate::model::NodeId;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Encoded, Written, is_offer_name};
use crate::wire::v1::{DecodeError, EncodeError, Fault};

impl Request {
    /// Writes the message into `out` and returns its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self, out)
    }

    /// Reads a message.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let (number, mut reader) = open(message, "request")?;
        let r = &mut reader;
        let request = match number {
            1 => Self::Registry(r.text(MAX_TEXT, "registry")?.into()),
            2 => {
                read_nothing(r, "offers")?;
                Self::Offers
            }
            3 => read_pull(r)?,
            4 => read_introduce(r)?,
            5 => Self::Report(read_report(r)?),
            value => return Err(Fault::Unknown { value }.at("request.type")),
        };
        reader.finish("request")?;
        Ok(request)
    }
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

impl Encoded for Request {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.array(2)?;
        match self {
            Self::Registry(text) => {
                e.u8(1)?.str(text)?;
            }
            Self::Offers => {
                e.u8(2)?.map(0)?;
            }
            Self::Pull {
                name,
                offset,
                digest,
            } => {
                e.u8(3)?.map(2 + count(&[digest.is_some()]))?;
                e.u8(1)?.str(name)?.u8(2)?.u64(*offset)?;
                if let Some(digest) = digest {
                    e.u8(3)?.bytes(digest)?;
                }
            }
            Self::Introduce { node, signature } => {
                e.u8(4)?.map(2)?;
                e.u8(1)?.bytes(&node.0)?.u8(2)?.bytes(signature)?;
            }
            Self::Report(report) => encode_report(e.u8(5)?, report)?,
        }
        Ok(())
    }
}

fn read_pull(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let mut name = None;
    let mut offset = None;
    let mut digest = None;
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
    let mut node = None;
    let mut signature = None;
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
