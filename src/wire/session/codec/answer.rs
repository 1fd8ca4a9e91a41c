//! Answers.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::super::message::{Answer, ErrorKind};
use super::super::{MAX_CONTENT, MAX_TEXT};
use super::{Checked, encode, open, read_nothing, refused};
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::codec::{Encoded, Written, is_offer_name, read_notice};
use crate::wire::v1::{DecodeError, EncodeError, Fault, Notice};

impl<'b> Answer<'b> {
    /// Writes the message into `out` and returns its length.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, EncodeError> {
        encode(self, out)
    }

    /// Reads a message. An [`Answer::Item`] and an [`Answer::Content`] borrow from it.
    pub fn decode(message: &'b [u8]) -> Result<Self, DecodeError> {
        let (number, mut reader) = open(message, "answer")?;
        let r = &mut reader;
        let answer = match number {
            1 => Self::Item(r.text(MAX_TEXT, "item")?),
            2 => Self::Offer(read_file(r, "offer")?.0),
            3 => {
                let (notice, offset) = read_file(r, "file")?;
                Self::File {
                    notice,
                    offset: offset.ok_or(Fault::Missing.at("file.offset"))?,
                }
            }
            4 => Self::Content(r.bytes(MAX_CONTENT, "content")?),
            5 => {
                read_nothing(r, "alive")?;
                Self::Alive
            }
            6 => {
                read_nothing(r, "end")?;
                Self::End
            }
            7 => read_failed(r)?,
            value => return Err(Fault::Unknown { value }.at("answer.type")),
        };
        reader.finish("answer")?;
        Ok(answer)
    }
}

impl Checked for Answer<'_> {
    fn check(&self) -> Result<(), EncodeError> {
        match self {
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
            Self::Item(text) => {
                e.u8(1)?.str(text)?;
            }
            Self::Offer(notice) => notice.encode(e.u8(2)?.map(1)?.u8(1)?)?,
            Self::File { notice, offset } => {
                notice.encode(e.u8(3)?.map(2)?.u8(1)?)?;
                e.u8(2)?.u64(*offset)?;
            }
            Self::Content(bytes) => {
                e.u8(4)?.bytes(bytes)?;
            }
            Self::Alive => {
                e.u8(5)?.map(0)?;
            }
            Self::End => {
                e.u8(6)?.map(0)?;
            }
            Self::Failed { kind, message } => {
                let kind = match kind {
                    ErrorKind::NotFound => 0,
                    ErrorKind::NotServer => 1,
                    ErrorKind::BadRequest => 2,
                    ErrorKind::Busy => 3,
                    ErrorKind::Failed => 4,
                };
                e.u8(7)?.map(2)?.u8(1)?.u8(kind)?.u8(2)?.str(message)?;
            }
        }
        Ok(())
    }
}

fn read_file(r: &mut Reader<'_>, of: &'static str) -> Result<(Notice, Option<u64>), DecodeError> {
    let mut notice = None;
    let mut offset = None;
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
    let mut kind = None;
    let mut message = None;
    let mut fields = r.fields("failed")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => {
                kind = Some(match r.u64("failed.kind")? {
                    0 => ErrorKind::NotFound,
                    1 => ErrorKind::NotServer,
                    2 => ErrorKind::BadRequest,
                    3 => ErrorKind::Busy,
                    4 => ErrorKind::Failed,
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
