//! The parts that several messages share.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use minicbor::Encoder;
use minicbor::encode::Write;

use super::Written;
use crate::model::{Labels, NodeName};
use crate::wire::v1::cbor::Reader;
use crate::wire::v1::error::{DecodeError, Fault};

/// Refuses a field that does not belong to this kind of message.
pub(super) fn refuse<T>(field: &Option<T>, name: &'static str) -> Result<(), DecodeError> {
    if field.is_some() {
        Err(Fault::Unexpected.at(name))
    } else {
        Ok(())
    }
}

pub(in crate::wire) fn encode_ip<W: Write>(e: &mut Encoder<W>, ip: IpAddr) -> Written<W> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => e.bytes(&ip.octets())?,
        IpAddr::V6(ip) => e.bytes(&ip.octets())?,
    };
    Ok(())
}

pub(in crate::wire) fn read_ip(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<IpAddr, DecodeError> {
    let bytes = r.bytes(16, field)?;
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        Ok(octets.into())
    } else if let Ok(octets) = <[u8; 16]>::try_from(bytes) {
        Ok(IpAddr::from(octets).to_canonical())
    } else {
        Err(Fault::Length.at(field))
    }
}

pub(in crate::wire) fn encode_socket<W: Write>(
    e: &mut Encoder<W>,
    socket: SocketAddr,
) -> Written<W> {
    encode_ip(e.array(2)?, socket.ip())?;
    e.u16(socket.port())?;
    Ok(())
}

pub(in crate::wire) fn read_socket(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<SocketAddr, DecodeError> {
    if r.items(2, field)? != 2 {
        return Err(Fault::Length.at(field));
    }
    Ok(SocketAddr::new(read_ip(r, field)?, r.uint(field)?))
}

pub(in crate::wire) fn encode_labels<W: Write>(e: &mut Encoder<W>, labels: &Labels) -> Written<W> {
    let pairs = labels.iter();
    e.map(pairs.len() as u64)?;
    for (key, value) in pairs {
        e.str(key)?.str(value)?;
    }
    Ok(())
}

pub(in crate::wire) fn read_labels(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<Labels, DecodeError> {
    let mut labels = Labels::default();
    let mut last = None;
    for _ in 0..r.pairs(Labels::MAX_PAIRS, field)? {
        let key = r.text(Labels::MAX_KEY, field)?;
        match last {
            Some(last) if key == last => return Err(Fault::Duplicate.at(field)),
            Some(last) if key < last => return Err(Fault::Order.at(field)),
            _ => last = Some(key),
        }
        let value = r.text(Labels::MAX_VALUE, field)?;
        labels
            .insert(key.into(), value.into())
            .map_err(|_| Fault::Text.at(field))?;
    }
    Ok(labels)
}

/// Whole milliseconds; the greatest number if there are more.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A node name in its one form: lower case, no final dot.
pub(in crate::wire) fn read_name(
    r: &mut Reader<'_>,
    field: &'static str,
) -> Result<NodeName, DecodeError> {
    let text = r.text(NodeName::MAX, field)?;
    match NodeName::parse(text) {
        Ok(name) if name.as_str() == text => Ok(name),
        _ => Err(Fault::Text.at(field)),
    }
}
