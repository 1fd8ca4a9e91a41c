//! The bytes of refusals.

use std::time::Duration;

use minicbor::Encoder;
use minicbor::encode::Write;

use super::parts::{millis, refuse};
use super::{Encoded, Written};
use crate::model::{NodeId, Timestamp};
use crate::wire::keyring::KeyRing;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::error::{DecodeError, Fault};
use crate::wire::v1::message::{Refusal, Refused, Regarding};

impl Encoded for Refused {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self { regarding, refusal } = self;
        let (why, more) = match refusal {
            Refusal::Clock { .. } => (0, 1),
            Refusal::NameHeld { .. } => (1, 1),
            Refusal::Rate { .. } => (2, 1),
            Refusal::Outdated { .. } => (3, 2),
            Refusal::UnknownRecord => (4, 0),
            Refusal::Cloned => (5, 0),
            Refusal::Channel { .. } => (6, 1),
        };
        e.map(2 + more)?;
        match regarding {
            Regarding::Query(id) => e.u8(1)?.u64(*id)?,
            Regarding::Sequence(sequence) => e.u8(2)?.u64(*sequence)?,
        };
        e.u8(3)?.u8(why)?;
        match refusal {
            Refusal::Clock { clock } => e.u8(4)?.u64(clock.0)?,
            Refusal::NameHeld { holder } => e.u8(5)?.bytes(&holder.0)?,
            Refusal::Rate { wait } => e.u8(6)?.u64(millis(*wait).min(u32::MAX.into()))?,
            Refusal::Outdated { epoch, sequence } => e.u8(7)?.u64(*epoch)?.u8(8)?.u64(*sequence)?,
            Refusal::UnknownRecord | Refusal::Cloned => e,
            Refusal::Channel { name } => e.u8(9)?.str(name)?,
        };
        Ok(())
    }
}

pub(super) fn read_refused(r: &mut Reader<'_>) -> Result<Refused, DecodeError> {
    let mut query = None;
    let mut regarded = None;
    let mut why = None;
    let mut parts = Parts::default();
    let mut fields = r.fields("refused")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => query = Some(r.u64("refused.query")?),
            2 => regarded = Some(r.u64("refused.regarding")?),
            3 => why = Some(r.u64("refused.why")?),
            4 => parts.clock = Some(Timestamp(r.u64("refused.clock")?)),
            5 => parts.holder = Some(NodeId(r.array("refused.holder")?)),
            6 => {
                let wait = r.uint::<u32>("refused.wait")?;
                parts.wait = Some(Duration::from_millis(wait.into()));
            }
            7 => parts.epoch = Some(r.u64("refused.epoch")?),
            8 => parts.sequence = Some(r.u64("refused.sequence")?),
            9 => {
                let text = r.text(KeyRing::MAX_CHANNEL, "refused.channel")?;
                if !KeyRing::is_channel_name(text) {
                    return Err(Fault::Text.at("refused.channel"));
                }
                parts.channel = Some(text);
            }
            _ => r.skip("refused")?,
        }
    }
    let regarding = match (query, regarded) {
        (Some(id), None) => Regarding::Query(id),
        (None, Some(sequence)) => Regarding::Sequence(sequence),
        (Some(_), Some(_)) => return Err(Fault::Unexpected.at("refused.regarding")),
        (None, None) => return Err(Fault::Missing.at("refused.regarding")),
    };
    let refusal = parts.into_refusal(why.ok_or(Fault::Missing.at("refused.why"))?)?;
    Ok(Refused { regarding, refusal })
}

/// The fields that depend on the reason.
#[derive(Default)]
struct Parts<'b> {
    clock: Option<Timestamp>,
    holder: Option<NodeId>,
    wait: Option<Duration>,
    epoch: Option<u64>,
    sequence: Option<u64>,
    channel: Option<&'b str>,
}

impl Parts<'_> {
    /// The refusal of this reason; refuses fields that do not belong to it.
    fn into_refusal(self, why: u64) -> Result<Refusal, DecodeError> {
        if why != 0 {
            refuse(&self.clock, "refused.clock")?;
        }
        if why != 1 {
            refuse(&self.holder, "refused.holder")?;
        }
        if why != 2 {
            refuse(&self.wait, "refused.wait")?;
        }
        if why != 3 {
            refuse(&self.epoch, "refused.epoch")?;
            refuse(&self.sequence, "refused.sequence")?;
        }
        if why != 6 {
            refuse(&self.channel, "refused.channel")?;
        }
        Ok(match why {
            0 => Refusal::Clock {
                clock: self.clock.ok_or(Fault::Missing.at("refused.clock"))?,
            },
            1 => Refusal::NameHeld {
                holder: self.holder.ok_or(Fault::Missing.at("refused.holder"))?,
            },
            2 => Refusal::Rate {
                wait: self.wait.ok_or(Fault::Missing.at("refused.wait"))?,
            },
            3 => Refusal::Outdated {
                epoch: self.epoch.ok_or(Fault::Missing.at("refused.epoch"))?,
                sequence: self.sequence.ok_or(Fault::Missing.at("refused.sequence"))?,
            },
            4 => Refusal::UnknownRecord,
            5 => Refusal::Cloned,
            6 => Refusal::Channel {
                name: self
                    .channel
                    .ok_or(Fault::Missing.at("refused.channel"))?
                    .into(),
            },
            value => return Err(Fault::Unknown { value }.at("refused.why")),
        })
    }
}
