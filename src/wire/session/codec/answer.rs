//! Answers.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::MAX_CONTENT;
use super::super::message::{Answer, FailureKind};
use super::change::{encode_change, read_change};
use super::history::{encode_holder, encode_interval, read_holder, read_interval};
use super::node::{check_node, encode_node, read_node};
use super::{Checked, encode, open, read_nothing, refused};
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Encoded, Written, is_offer_name, read_notice};
use crate::wire::v1::{DecodeError, EncodeError, Fault, Notice};

impl<'b> Answer<'b> {
    /// Writes the message into `out` and gives its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self, out)
    }

    /// Reads a message. The bytes of a [`Answer::Content`] stay where they are.
    pub fn decode(message: &'b [u8]) -> Result<Self, DecodeError> {
        let (number, mut reader) = open(message, "answer")?;
        let r = &mut reader;
        let answer = match number {
            1 => Self::Node(Box::new(read_node(r)?)),
            2 => Self::Interval(read_interval(r)?),
            3 => Self::Holder(Box::new(read_holder(r)?)),
            4 => Self::Change(Box::new(read_change(r)?)),
            5 => Self::Offer(read_file(r, "offer")?.0),
            6 => {
                let (notice, offset) = read_file(r, "file")?;
                Self::File {
                    notice,
                    offset: offset.ok_or(Fault::Missing.at("file.offset"))?,
                }
            }
            7 => Self::Content(r.bytes(MAX_CONTENT, "content")?),
            8 => {
                read_nothing(r, "alive")?;
                Self::Alive
            }
            9 => {
                read_nothing(r, "end")?;
                Self::End
            }
            10 => read_failed(r)?,
            value => return Err(Fault::Unknown { value }.at("answer.type")),
        };
        reader.finish("answer")?;
        Ok(answer)
    }
}

impl Checked for Answer<'_> {
    fn check(&self) -> Result<(), EncodeError> {
        match self {
            Self::Node(node) => check_node(node),
            Self::Holder(holder) => check_node(&holder.node),
            Self::Change(change) => change.node.as_ref().map_or(Ok(()), check_node),
            Self::Offer(notice) | Self::File { notice, .. } if !is_offer_name(&notice.name) => {
                refused("notice.name")
            }
            Self::Content(bytes) if bytes.len() > MAX_CONTENT => refused("content"),
            Self::Failed { message, .. } if message.len() > Answer::MAX_FAILURE => {
                refused("failed.message")
            }
            _ => Ok(()),
        }
    }
}

impl Encoded for Answer<'_> {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.array(2)?;
        match self {
            Self::Node(node) => encode_node(e.u8(1)?, node)?,
            Self::Interval(interval) => encode_interval(e.u8(2)?, interval)?,
            Self::Holder(holder) => encode_holder(e.u8(3)?, holder)?,
            Self::Change(change) => encode_change(e.u8(4)?, change)?,
            Self::Offer(notice) => notice.encode(e.u8(5)?.map(1)?.u8(1)?)?,
            Self::File { notice, offset } => {
                notice.encode(e.u8(6)?.map(2)?.u8(1)?)?;
                e.u8(2)?.u64(*offset)?;
            }
            Self::Content(bytes) => {
                e.u8(7)?.bytes(bytes)?;
            }
            Self::Alive => {
                e.u8(8)?.map(0)?;
            }
            Self::End => {
                e.u8(9)?.map(0)?;
            }
            Self::Failed { kind, message } => {
                let kind = match kind {
                    FailureKind::NotFound => 0,
                    FailureKind::NotServer => 1,
                    FailureKind::BadRequest => 2,
                    FailureKind::Busy => 3,
                    FailureKind::Failed => 4,
                };
                e.u8(10)?.map(2)?.u8(1)?.u8(kind)?.u8(2)?.str(message)?;
            }
        }
        Ok(())
    }
}

fn read_file(r: &mut Reader<'_>, of: &'static str) -> Result<(Notice, Option<u64>), DecodeError> {
    let (mut notice, mut offset) = (None, None);
    let mut fields = r.fields(of)?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => notice = Some(read_notice(r)?),
            2 => offset = Some(r.u64(of)?),
            _ => r.skip(of)?,
        }
    }
    Ok((notice.ok_or(Fault::Missing.at(of))?, offset))
}

fn read_failed<'b>(r: &mut Reader<'b>) -> Result<Answer<'b>, DecodeError> {
    let (mut kind, mut message) = (None, None);
    let mut fields = r.fields("failed")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => {
                kind = Some(match r.u64("failed.kind")? {
                    0 => FailureKind::NotFound,
                    1 => FailureKind::NotServer,
                    2 => FailureKind::BadRequest,
                    3 => FailureKind::Busy,
                    4 => FailureKind::Failed,
                    value => return Err(Fault::Unknown { value }.at("failed.kind")),
                });
            }
            2 => message = Some(r.text(Answer::MAX_FAILURE, "failed.message")?.into()),
            _ => r.skip("failed")?,
        }
    }
    Ok(Answer::Failed {
        kind: kind.ok_or(Fault::Missing.at("failed.kind"))?,
        message: message.ok_or(Fault::Missing.at("failed.message"))?,
    })
}
