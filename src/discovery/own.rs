//! This node's own record: it goes in as settings and addresses, and comes out signed.
//!
//! [`OwnRecord`] signs again whenever the content changes, and hands out each sequence number once.
//! It must never sign two different records under the same epoch and sequence number.

use std::time::Duration;

use tracing::debug;

use crate::model::{Address, Labels, Lease, NodeId, NodeName, Record, Role};
use crate::wire::KeyId;
use crate::wire::identity::{Identity, RenewalKey};
use crate::wire::v1::{Renewal, SignedRecord};

/// The parts of the record that the configuration and the state directory determine.
#[derive(Debug, Clone)]
pub struct OwnSettings {
    pub name: NodeName,
    /// Grows with every start of this node.
    pub epoch: u64,
    /// Random at every start.
    pub boot: u64,
    /// The lease that this node asks for.
    pub lease: Lease,
    /// The port on which this node listens.
    pub port: u16,
    pub role: Role,
    pub labels: Labels,
}

/// The node's own record, always signed and ready to send.
#[derive(Debug)]
pub struct OwnRecord {
    identity: Identity,
    key: KeyId,
    record: Record,
    signed: SignedRecord,
    /// Counts changes of the record's content or epoch; a new sequence number alone is no change.
    version: u64,
    /// The last sequence number that a record or a renewal used.
    last_sequence: u64,
}

impl OwnRecord {
    /// Creates a record without addresses, signed under `key`.
    pub fn new(identity: Identity, key: KeyId, settings: OwnSettings) -> Self {
        let OwnSettings {
            name,
            epoch,
            boot,
            lease,
            port,
            role,
            labels,
        } = settings;
        let mut record = Record {
            name,
            epoch,
            sequence: 1,
            boot,
            lease,
            addresses: Vec::new(),
            port,
            role,
            labels,
        };
        let signed = sign(&mut record, &identity, key);
        Self {
            identity,
            key,
            record,
            signed,
            version: 0,
            last_sequence: 1,
        }
    }

    pub fn id(&self) -> NodeId {
        self.identity.id()
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The record as it was signed most recently.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The signed record for answers; its sequence number may be older than that of the last
    /// renewal.
    pub fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    /// Replaces the addresses. Returns whether the record changed.
    pub fn set_addresses(&mut self, mut addresses: Vec<Address>) -> bool {
        // Addresses that did not fit last time must not look like a change each time, so only those
        // that fit count.
        addresses.truncate(Record::MAX_ADDRESSES);
        let same = self.record.addresses == addresses
            || (addresses.len() > self.record.addresses.len()
                && self.signed.body.len() + MAX_ADDRESS_BYTES > SignedRecord::MAX_BODY
                && addresses.starts_with(&self.record.addresses));
        if same {
            return false;
        }
        self.record.addresses = addresses;
        self.version += 1;
        self.sign_again();
        true
    }

    /// The signed record, signed again if a renewal has used a later sequence number since.
    pub fn for_registering(&mut self) -> &SignedRecord {
        if self.last_sequence != self.record.sequence {
            self.sign_again();
        }
        &self.signed
    }

    /// Moves past an epoch and sequence number that a server has on record. Returns whether the
    /// epoch was raised.
    ///
    /// A refusal is not signed. A number that no node ever reaches must be forged, and is ignored:
    /// following it would use up all numbers.
    pub fn overtake(&mut self, epoch: u64, sequence: u64) -> bool {
        let own = (self.record.epoch, self.last_sequence);
        if (epoch, sequence) < own || epoch > MAX_EPOCH {
            debug!(
                epoch,
                sequence,
                own_epoch = own.0,
                own_sequence = own.1,
                "the order that a server has on record is older than ours, or impossible; ignored"
            );
            return false;
        }
        debug!(
            epoch,
            sequence, "a server has a newer order of this node's record; moving past it"
        );
        if epoch > self.record.epoch || sequence > MAX_SEQUENCE {
            return self.begin_epoch(epoch);
        }
        self.last_sequence = sequence;
        self.version += 1;
        self.sign_again();
        false
    }

    /// Begins an epoch that is greater than `past` and than the current one. Returns whether that
    /// is possible.
    pub(super) fn begin_epoch(&mut self, past: u64) -> bool {
        let past = past.max(self.record.epoch);
        if past > MAX_EPOCH {
            return false;
        }
        self.record.epoch = past + 1;
        self.last_sequence = 0;
        self.version += 1;
        self.sign_again();
        true
    }

    /// Takes the next unused sequence number.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    /// Signs a record with lease zero, which is the last message of this node.
    pub fn goodbye(&mut self) -> SignedRecord {
        self.last_sequence += 1;
        let mut record = Record {
            lease: Lease::ZERO,
            sequence: self.last_sequence,
            ..self.record.clone()
        };
        sign(&mut record, &self.identity, self.key)
    }

    /// Creates a renewal of the full record that the server holds under the sequence number `base`.
    pub fn renewal(&mut self, base: u64, key: &RenewalKey, server: &NodeId) -> Renewal {
        let sequence = self.next_sequence();
        key.renewal(
            &self.identity.id(),
            server,
            self.record.epoch,
            base,
            sequence,
        )
    }

    fn sign_again(&mut self) {
        self.last_sequence += 1;
        self.record.sequence = self.last_sequence;
        self.signed = sign(&mut self.record, &self.identity, self.key);
    }
}

/// The greatest plausible epoch: epochs are counts of starts, or seconds since 1970.
const MAX_EPOCH: u64 = 1 << 48;
/// The greatest sequence number that this node moves past within an epoch: a million messages a
/// second for centuries stay below it.
const MAX_SEQUENCE: u64 = 1 << 56;
/// No address takes more bytes of CBOR than this.
const MAX_ADDRESS_BYTES: usize = 48;

/// Signs a record. Where it is too long, the last addresses are left out, since they are the least
/// useful ones.
fn sign(record: &mut Record, identity: &Identity, key: KeyId) -> SignedRecord {
    loop {
        match SignedRecord::sign(record, identity, key) {
            Ok(signed) => return signed,
            // Without addresses the limits of names and labels keep a body under MAX_BODY, so the
            // loop ends.
            Err(_) if record.addresses.pop().is_some() => {}
            Err(_) => record.labels = Labels::default(),
        }
    }
}

/// How long after an acknowledgement the first renewal is sent: two thirds of the lease remain for
/// further tries.
pub fn renew_after(lease: Lease) -> Duration {
    (lease.duration() / 3).max(Duration::from_secs(1))
}
