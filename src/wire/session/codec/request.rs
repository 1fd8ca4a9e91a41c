//! Requests.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::Request;
use super::report::{check_report, encode_report, read_report};
use super::{
    Checked, count, encode, encode_optional, open, read_bool, read_nothing, read_offer_name,
    refused,
};
use crate::model::{NodeId, NodeName, Timestamp};
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{
    Encoded, Written, encode_ip, encode_labels, is_offer_name, read_ip, read_labels,
};
use crate::wire::v1::record::read_name;
use crate::wire::v1::{DecodeError, EncodeError, Fault};

impl Request {
    /// Writes the message into `out` and gives its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self, out)
    }

    /// Reads a message.
    pub fn decode(message: &[u8]) -> Result<Self, DecodeError> {
        let (number, mut reader) = open(message, "request")?;
        let r = &mut reader;
        let request = match number {
            1 => read_nodes(r)?,
            2 => {
                let (name, at) = read_name_at(r)?;
                Self::Node { name, at }
            }
            3 => Self::History {
                name: read_name_at(r)?.0,
            },
            4 => read_holder_request(r)?,
            5 => {
                read_nothing(r, "watch")?;
                Self::Watch
            }
            6 => {
                read_nothing(r, "offers")?;
                Self::Offers
            }
            7 => read_pull(r)?,
            8 => read_introduce(r)?,
            9 => Self::Report(read_report(r, "report")?),
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
            Self::Nodes {
                labels,
                absent,
                after,
            } => {
                e.u8(1)?.map(2 + count(&[after.is_some()]))?;
                encode_labels(e.u8(1)?, labels)?;
                e.u8(2)?.u8((*absent).into())?;
                if let Some(after) = after {
                    e.u8(3)?.str(after.as_str())?;
                }
            }
            Self::Node { name, at } => encode_name_at(e.u8(2)?, name, *at)?,
            Self::History { name } => encode_name_at(e.u8(3)?, name, None)?,
            Self::Holder { address, at } => {
                e.u8(4)?.map(1 + count(&[at.is_some()]))?;
                encode_ip(e.u8(1)?, *address)?;
                encode_optional(e, 2, at.map(|at| at.0))?;
            }
            Self::Watch => {
                e.u8(5)?.map(0)?;
            }
            Self::Offers => {
                e.u8(6)?.map(0)?;
            }
            Self::Pull {
                name,
                offset,
                digest,
            } => {
                e.u8(7)?.map(2 + count(&[digest.is_some()]))?;
                e.u8(1)?.str(name)?.u8(2)?.u64(*offset)?;
                if let Some(digest) = digest {
                    e.u8(3)?.bytes(digest)?;
                }
            }
            Self::Introduce { node, signature } => {
                e.u8(8)?.map(2)?;
                e.u8(1)?.bytes(&node.0)?.u8(2)?.bytes(signature)?;
            }
            Self::Report(report) => encode_report(e.u8(9)?, report, None)?,
        }
        Ok(())
    }
}

fn encode_name_at<W: Write>(
    e: &mut Encoder<W>,
    name: &NodeName,
    at: Option<Timestamp>,
) -> Written<W> {
    e.map(1 + count(&[at.is_some()]))?
        .u8(1)?
        .str(name.as_str())?;
    encode_optional(e, 2, at.map(|at| at.0))
}

fn read_name_at(r: &mut Reader<'_>) -> Result<(NodeName, Option<Timestamp>), DecodeError> {
    let (mut name, mut at) = (None, None);
    let mut fields = r.fields("request")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_name(r, "request.name")?),
            2 => at = Some(Timestamp(r.u64("request.at")?)),
            _ => r.skip("request")?,
        }
    }
    Ok((name.ok_or(Fault::Missing.at("request.name"))?, at))
}

fn read_nodes(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut labels, mut absent, mut after) = (None, None, None);
    let mut fields = r.fields("nodes")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => labels = Some(read_labels(r, "nodes.labels")?),
            2 => absent = Some(read_bool(r, "nodes.absent")?),
            3 => after = Some(read_name(r, "nodes.after")?),
            _ => r.skip("nodes")?,
        }
    }
    Ok(Request::Nodes {
        labels: labels.ok_or(Fault::Missing.at("nodes.labels"))?,
        absent: absent.ok_or(Fault::Missing.at("nodes.absent"))?,
        after,
    })
}

fn read_holder_request(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut address, mut at) = (None, None);
    let mut fields = r.fields("request")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => address = Some(read_ip(r, "request.address")?),
            2 => at = Some(Timestamp(r.u64("request.at")?)),
            _ => r.skip("request")?,
        }
    }
    Ok(Request::Holder {
        address: address.ok_or(Fault::Missing.at("request.address"))?,
        at,
    })
}

fn read_pull(r: &mut Reader<'_>) -> Result<Request, DecodeError> {
    let (mut name, mut offset, mut digest) = (None, None, None);
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
    let (mut node, mut signature) = (None, None);
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
