//! The bytes of record bodies, and the signatures of nodes and servers.

use minicbor::Encoder;
use minicbor::encode::Write;
use tracing::debug;

use super::cbor::Reader;
use super::codec::{
    Encoded, Written, encode_ip, encode_labels, encode_to, encoded_len, is_offer_name, read_ip,
    read_labels, read_name,
};
use super::error::{DecodeError, EncodeError, Fault};
use super::message::{Notice, SignedRecord};
use crate::model::{Address, InterfaceName, Lease, NodeId, Origin, Record, Role};
use crate::wire::KeyId;
use crate::wire::identity::{self, Identity, IdentityError};

const RECORD_CONTEXT: &[u8] = b"hereabouts/1 record";
const NOTICE_CONTEXT: &[u8] = b"hereabouts/1 notice";

/// A record that is too large for a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "sign a record of {length} bytes and {addresses} addresses: {max} bytes and {max_addresses} addresses fit; announce fewer \
     addresses, or shorten the name or the labels",
    max = SignedRecord::MAX_BODY,
    max_addresses = Record::MAX_ADDRESSES
)]
pub struct RecordTooLarge {
    /// The length of its body, in bytes.
    pub length: usize,
    /// The number of its addresses.
    pub addresses: usize,
}

/// Why a signed record or notice is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It was signed for a key that is not in the key ring: for another channel.
    #[error("the record was signed for the key {key}, which is not a key of this channel")]
    ForeignKey {
        /// The id of that key.
        key: KeyId,
    },
    /// The node id is not a key, or the signature is not that of the node.
    #[error(transparent)]
    Signature(#[from] IdentityError),
    /// The node signed a body that is not a record.
    #[error(transparent)]
    Body(#[from] DecodeError),
}

impl SignedRecord {
    /// Signs a record as the node `identity`, for the channel key `key`.
    pub fn sign(record: &Record, identity: &Identity, key: KeyId) -> Result<Self, RecordTooLarge> {
        let too_large = || RecordTooLarge {
            length: encoded_len(record),
            addresses: record.addresses.len(),
        };
        if record.addresses.len() > Record::MAX_ADDRESSES {
            return Err(too_large());
        }
        let mut body = [0; Self::MAX_BODY];
        let length = encode_to(record, &mut body).ok_or_else(too_large)?;
        let body: Box<[u8]> = body[..length].into();
        let signature = signed_bytes(key, &body, |bytes| identity.sign(bytes));
        Ok(Self {
            node: identity.id(),
            key,
            body,
            signature,
        })
    }

    /// Checks the key id and the signature, and returns the record.
    ///
    /// `expected_key` says whether a key id belongs to the channel: `|id|
    /// key_ring.by_id(id).is_some()`.
    pub fn verify(&self, expected_key: impl FnOnce(KeyId) -> bool) -> Result<Record, RecordError> {
        self.check(expected_key).inspect_err(|error| {
            debug!(node = %self.node, %error, "a signed record is refused");
        })
    }

    fn check(&self, expected_key: impl FnOnce(KeyId) -> bool) -> Result<Record, RecordError> {
        if !expected_key(self.key) {
            return Err(RecordError::ForeignKey { key: self.key });
        }
        if self.body.len() > Self::MAX_BODY {
            return Err(Fault::TooLong {
                limit: Self::MAX_BODY,
            }
            .at("record")
            .into());
        }
        signed_bytes(self.key, &self.body, |bytes| {
            identity::verify(&self.node, bytes, &self.signature)
        })?;
        Ok(Self::decode_body(&self.body)?)
    }

    /// Reads a body without checking its signature: for bodies of this node's store. A body from
    /// the network must be verified.
    pub fn decode_body(body: &[u8]) -> Result<Record, DecodeError> {
        if body.len() > Self::MAX_BODY {
            return Err(Fault::TooLong {
                limit: Self::MAX_BODY,
            }
            .at("record"));
        }
        let mut reader = Reader::new(body);
        let record = read_record(&mut reader)?;
        reader.finish("record")?;
        Ok(record)
    }
}

/// Calls `then` with context, key id and body as one slice. The body has at most
/// [`SignedRecord::MAX_BODY`] bytes.
fn signed_bytes<T>(key: KeyId, body: &[u8], then: impl FnOnce(&[u8]) -> T) -> T {
    const START: usize = RECORD_CONTEXT.len() + 4;
    let mut bytes = [0; START + SignedRecord::MAX_BODY];
    bytes[..RECORD_CONTEXT.len()].copy_from_slice(RECORD_CONTEXT);
    bytes[RECORD_CONTEXT.len()..START].copy_from_slice(&key.0);
    bytes[START..START + body.len()].copy_from_slice(body);
    then(&bytes[..START + body.len()])
}

impl Encoded for Record {
    fn encode<W: Write>(
        &self,
        e: &mut Encoder<W>,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let Self {
            name,
            epoch,
            sequence,
            boot,
            lease,
            addresses,
            port,
            role,
            labels,
        } = self;
        e.map(if labels.is_empty() { 8 } else { 9 })?;
        e.u8(1)?.str(name.as_str())?;
        e.u8(2)?.u64(*epoch)?;
        e.u8(3)?.u64(*sequence)?;
        e.u8(4)?.u64(*boot)?;
        e.u8(5)?.u32(lease.0)?;
        encode_addresses(e.u8(6)?, addresses)?;
        e.u8(7)?.u16(*port)?;
        e.u8(8)?.u8(role_number(*role))?;
        if !labels.is_empty() {
            e.u8(9)?;
            encode_labels(e, labels)?;
        }
        Ok(())
    }
}

pub(in crate::wire) fn encode_addresses<W: Write>(
    e: &mut Encoder<W>,
    addresses: &[Address],
) -> Written<W> {
    e.array(addresses.len() as u64)?;
    for Address {
        ip,
        interface,
        origin,
    } in addresses
    {
        e.array(if interface.is_some() { 3 } else { 2 })?;
        encode_ip(e, *ip)?;
        e.u8(match origin {
            Origin::Interface => 0,
            Origin::Advertised => 1,
        })?;
        if let Some(interface) = interface {
            e.str(interface.as_str())?;
        }
    }
    Ok(())
}

pub(in crate::wire) fn role_number(role: Role) -> u8 {
    match role {
        Role::Client => 0,
        Role::Server => 1,
        Role::Both => 2,
    }
}

pub(in crate::wire) fn read_role(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<Role, DecodeError> {
    Ok(match r.u64(field)? {
        0 => Role::Client,
        1 => Role::Server,
        2 => Role::Both,
        value => return Err(Fault::Unknown { value }.at(field)),
    })
}

fn read_record(r: &mut Reader<'_>) -> Result<Record, DecodeError> {
    let mut name = None;
    let mut epoch = None;
    let mut sequence = None;
    let mut boot = None;
    let mut lease = None;
    let mut addresses = None;
    let mut port = None;
    let mut role = None;
    let mut labels = None;
    let mut fields = r.fields("record")?;
    while let Some(number) = fields.next(r)? {
        match number {
            1 => name = Some(read_name(r, "record.name")?),
            2 => epoch = Some(r.u64("record.epoch")?),
            3 => sequence = Some(r.u64("record.sequence")?),
            4 => boot = Some(r.u64("record.boot")?),
            5 => lease = Some(Lease(r.uint("record.lease")?)),
            6 => addresses = Some(read_addresses(r, "record.addresses", "record.address")?),
            7 => port = Some(r.uint("record.port")?),
            8 => role = Some(read_role(r, "record.role")?),
            9 => labels = Some(read_labels(r, "record.labels")?),
            _ => r.skip("record")?,
        }
    }
    Ok(Record {
        name: name.ok_or(Fault::Missing.at("record.name"))?,
        epoch: epoch.ok_or(Fault::Missing.at("record.epoch"))?,
        sequence: sequence.ok_or(Fault::Missing.at("record.sequence"))?,
        boot: boot.ok_or(Fault::Missing.at("record.boot"))?,
        lease: lease.ok_or(Fault::Missing.at("record.lease"))?,
        addresses: addresses.ok_or(Fault::Missing.at("record.addresses"))?,
        port: port.ok_or(Fault::Missing.at("record.port"))?,
        role: role.ok_or(Fault::Missing.at("record.role"))?,
        labels: labels.unwrap_or_default(),
    })
}

pub(in crate::wire) fn read_addresses(
    r: &mut Reader<'_>,
    field: &'static str,
    item: &'static str,
) -> Result<Vec<Address>, DecodeError> {
    let count = r.items(Record::MAX_ADDRESSES, field)?;
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        let parts = r.items(3, item)?;
        if parts < 2 {
            return Err(Fault::Length.at(item));
        }
        let ip = read_ip(r, item)?;
        let origin = match r.u64(item)? {
            0 => Origin::Interface,
            1 => Origin::Advertised,
            value => return Err(Fault::Unknown { value }.at(item)),
        };
        let interface = match parts {
            2 => None,
            _ => {
                let text = r.text(InterfaceName::MAX, item)?;
                Some(InterfaceName::parse(text).map_err(|_| Fault::Text.at(item))?)
            }
        };
        addresses.push(Address {
            ip,
            interface,
            origin,
        });
    }
    Ok(addresses)
}

impl Notice {
    /// The longest name of an offer, in bytes.
    pub const MAX_NAME: usize = 63;

    /// Signs a notice of an offer as the server `identity`, for the channel key that will seal it.
    pub fn sign(
        identity: &Identity,
        key: KeyId,
        name: &str,
        generation: u64,
        size: u64,
        digest: [u8; 32],
    ) -> Result<Self, EncodeError> {
        if !is_offer_name(name) {
            return Err(EncodeError::Refused {
                field: "notice.name",
            });
        }
        let mut notice = Self {
            server: identity.id(),
            name: name.into(),
            generation,
            size,
            digest,
            signature: [0; 64],
        };
        notice.signature = notice.signed_bytes(key, |bytes| identity.sign(bytes));
        Ok(notice)
    }

    /// Checks the signature of the server that the notice names; `key` is the key that sealed the
    /// datagram.
    ///
    /// The caller must check whether that server may offer anything.
    pub fn verify(&self, key: KeyId) -> Result<(), IdentityError> {
        let verified = if is_offer_name(&self.name) {
            self.signed_bytes(key, |bytes| {
                identity::verify(&self.server, bytes, &self.signature)
            })
        } else {
            Err(IdentityError::Signature)
        };
        verified.inspect_err(|error| {
            debug!(server = %self.server, name = ?self.name, %error, "a notice is refused");
        })
    }

    /// Context, key id, generation, size, digest and name, which is last and so needs no length.
    fn signed_bytes<T>(&self, key: KeyId, then: impl FnOnce(&[u8]) -> T) -> T {
        let Self {
            server: NodeId(server),
            name,
            generation,
            size,
            digest,
            signature: _,
        } = self;
        let mut bytes = [0; NOTICE_CONTEXT.len() + 4 + 32 + 8 + 8 + 32 + Self::MAX_NAME];
        let mut length = 0;
        let parts: [&[u8]; 7] = [
            NOTICE_CONTEXT,
            &key.0,
            server,
            &generation.to_be_bytes(),
            &size.to_be_bytes(),
            digest,
            name.as_bytes(),
        ];
        for part in parts {
            bytes[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        then(&bytes[..length])
    }
}
