//! The bytes of signed records, renewals and their acknowledgements.

use minicbor::Encoder;
use minicbor::encode::Write;

use super::parts::{encode_socket, read_socket};
use super::{Encoded, Written};
use crate::model::{Lease, NodeId, Timestamp};
use crate::wire::KeyId;
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::error::{DecodeError, Fault};
use crate::wire::v1::message::{Registered, Renewal, SignedRecord};

impl Encoded for SignedRecord {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self {
            node,
            key,
            body,
            signature,
        } = self;
        e.map(4)?;
        e.u8(1)?.bytes(&node.0)?;
        e.u8(2)?.bytes(&key.0)?;
        e.u8(3)?.bytes(body)?;
        e.u8(4)?.bytes(signature)?;
        Ok(())
    }
}

pub(super) fn read_signed_record(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<SignedRecord, DecodeError> {
    let mut node = None;
    let mut key = None;
    let mut body = None;
    let mut signature = None;
    let mut fields = r.fields(field)?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => node = Some(NodeId(r.array(field)?)),
            2 => key = Some(KeyId(r.array(field)?)),
            3 => body = Some(r.bytes(SignedRecord::MAX_BODY, field)?),
            4 => signature = Some(r.array(field)?),
            _ => r.skip(field)?,
        }
    }
    let missing = Fault::Missing.at(field);
    Ok(SignedRecord {
        node: node.ok_or(missing)?,
        key: key.ok_or(missing)?,
        body: body.ok_or(missing)?.into(),
        signature: signature.ok_or(missing)?,
    })
}

impl Encoded for Registered {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self {
            sequence,
            seen,
            lease,
            clock,
            offers,
        } = self;
        e.map(4 + u64::from(offers.is_some()))?;
        e.u8(1)?.u64(*sequence)?;
        encode_socket(e.u8(2)?, *seen)?;
        e.u8(3)?.u32(lease.0)?;
        e.u8(4)?.u64(clock.0)?;
        if let Some(offers) = offers {
            e.u8(5)?.u64(*offers)?;
        }
        Ok(())
    }
}

pub(super) fn read_registered(r: &mut Reader<'_>) -> Result<Registered, DecodeError> {
    let mut sequence = None;
    let mut seen = None;
    let mut lease = None;
    let mut clock = None;
    let mut offers = None;
    let mut fields = r.fields("registered")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => sequence = Some(r.u64("registered.sequence")?),
            2 => seen = Some(read_socket(r, "registered.seen")?),
            3 => lease = Some(Lease(r.uint("registered.lease")?)),
            4 => clock = Some(Timestamp(r.u64("registered.clock")?)),
            5 => offers = Some(r.u64("registered.offers")?),
            _ => r.skip("registered")?,
        }
    }
    Ok(Registered {
        sequence: sequence.ok_or(Fault::Missing.at("registered.sequence"))?,
        seen: seen.ok_or(Fault::Missing.at("registered.seen"))?,
        lease: lease.ok_or(Fault::Missing.at("registered.lease"))?,
        clock: clock.ok_or(Fault::Missing.at("registered.clock"))?,
        offers,
    })
}

impl Encoded for Renewal {
    fn encode<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let Self {
            node,
            epoch,
            base,
            sequence,
            proof,
        } = self;
        e.map(5)?;
        e.u8(1)?.bytes(&node.0)?;
        e.u8(2)?.u64(*epoch)?;
        e.u8(3)?.u64(*base)?;
        e.u8(4)?.u64(*sequence)?;
        e.u8(5)?.bytes(proof)?;
        Ok(())
    }
}

pub(super) fn read_renewal(r: &mut Reader<'_>) -> Result<Renewal, DecodeError> {
    let mut node = None;
    let mut epoch = None;
    let mut base = None;
    let mut sequence = None;
    let mut proof = None;
    let mut fields = r.fields("renew")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => node = Some(NodeId(r.array("renew.node")?)),
            2 => epoch = Some(r.u64("renew.epoch")?),
            3 => base = Some(r.u64("renew.base")?),
            4 => sequence = Some(r.u64("renew.sequence")?),
            5 => proof = Some(r.array("renew.proof")?),
            _ => r.skip("renew")?,
        }
    }
    Ok(Renewal {
        node: node.ok_or(Fault::Missing.at("renew.node"))?,
        epoch: epoch.ok_or(Fault::Missing.at("renew.epoch"))?,
        base: base.ok_or(Fault::Missing.at("renew.base"))?,
        sequence: sequence.ok_or(Fault::Missing.at("renew.sequence"))?,
        proof: proof.ok_or(Fault::Missing.at("renew.proof"))?,
    })
}
