//! Records for tests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::Registration;
use crate::model::{
    Address, InterfaceName, Labels, Lease, NodeId, NodeName, Now, Origin, Record, Role, Timestamp,
};
use crate::wire::KeyId;
use crate::wire::v1::SignedRecord;

/// A start before the time of any real clock, so that a use of the real clock is visible.
pub(crate) const START: Timestamp = Timestamp(1_700_000_000_000);

/// This many seconds after the start, by both clocks.
pub(crate) fn now(seconds: u64) -> Now {
    let elapsed = Duration::from_secs(seconds);
    Now {
        elapsed,
        wall: START.plus(elapsed),
    }
}

pub(crate) fn node_id(index: u32) -> NodeId {
    let mut id = [7; 32];
    id[..4].copy_from_slice(&index.to_le_bytes());
    NodeId(id)
}

pub(crate) fn ip(index: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + index))
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

/// A registration of `node-INDEX` at 10.0.0.INDEX, with boot = epoch.
pub(crate) fn registration(index: u32, epoch: u64, sequence: u64) -> Registration {
    let record = Record {
        name: name(&format!("node-{index}")),
        epoch,
        sequence,
        boot: epoch,
        lease: Lease(90),
        addresses: vec![Address {
            ip: ip(index),
            interface: Some(InterfaceName::parse("eth0").unwrap()),
            origin: Origin::Interface,
        }],
        port: 24373,
        role: Role::Client,
        labels: Labels::new([("site", "home")]).unwrap(),
    };
    signed(index, record)
}

/// Signs a changed record again: the body depends on the record's content, as that of the real
/// codec does.
pub(crate) fn signed(index: u32, record: Record) -> Registration {
    let body = format!("{record:?}").into_bytes();
    let hash = body.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
    });
    let mut padded = vec![0; 130];
    padded[..8].copy_from_slice(&hash.to_le_bytes());
    let signed = SignedRecord {
        node: node_id(index),
        key: KeyId([1, 2, 3, 4]),
        body: padded.into(),
        signature: [9; 64],
    };
    Registration {
        record,
        signed,
        source: SocketAddr::new(ip(index), 24373),
        key: KeyId([1, 2, 3, 4]),
    }
}

/// A registration with a changed record.
pub(crate) fn changed(
    index: u32,
    epoch: u64,
    sequence: u64,
    change: impl FnOnce(&mut Record),
) -> Registration {
    let mut record = registration(index, epoch, sequence).record;
    change(&mut record);
    signed(index, record)
}
