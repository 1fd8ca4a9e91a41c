//! This node's own record, signed anew when it changes.

use std::time::Duration;

use crate::model::{Address, Labels, Lease, NodeId, NodeName, Record, Role};
use crate::wire::KeyId;
use crate::wire::identity::{Identity, RenewalKey};
use crate::wire::v1::{Renewal, SignedRecord};

/// What the node says of itself, as the configuration and the state directory give it.
#[derive(Debug, Clone)]
pub struct OwnSettings {
    /// Its name.
    pub name: NodeName,
    /// The epoch of this start.
    pub epoch: u64,
    /// Random at every start.
    pub boot: u64,
    /// The lease it asks for.
    pub lease: Lease,
    /// The port it listens on.
    pub port: u16,
    /// What it runs as.
    pub role: Role,
    /// Its labels.
    pub labels: Labels,
}

/// The node's own record, always signed and ready to send.
#[derive(Debug)]
pub struct OwnRecord {
    identity: Identity,
    key: KeyId,
    record: Record,
    signed: SignedRecord,
    /// Raised when what the record says changes; its sequence number alone does not count.
    version: u64,
    /// The last sequence number used by a record or a renewal.
    last_sequence: u64,
}

impl OwnRecord {
    /// A record without addresses, signed under `key`.
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

    /// The node's id.
    pub fn id(&self) -> NodeId {
        self.identity.id()
    }

    /// The node's identity.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The record as it was signed last.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The signed record that answers carry; its sequence number may be older than a renewal's.
    pub fn signed(&self) -> &SignedRecord {
        &self.signed
    }

    /// Counts changes of what the record says.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Takes the addresses found; whether the record changed.
    pub fn set_addresses(&mut self, addresses: Vec<Address>) -> bool {
        // What did not fit last time must not look like a change each time: compare by what fits.
        let mut addresses = addresses;
        addresses.truncate(Record::MAX_ADDRESSES);
        let same = self.record.addresses == addresses
            || (addresses.len() > self.record.addresses.len()
                && self.signed.body.len() + LONGEST_ADDRESS > SignedRecord::MAX_BODY
                && addresses.starts_with(&self.record.addresses));
        if same {
            return false;
        }
        self.record.addresses = addresses;
        self.version += 1;
        self.sign_again();
        true
    }

    /// The signed record with a sequence number that no renewal has used since.
    pub fn for_registering(&mut self) -> &SignedRecord {
        if self.last_sequence != self.record.sequence {
            self.sign_again();
        }
        &self.signed
    }

    /// Goes past an epoch or sequence number that a server has on record; whether the epoch was raised.
    ///
    /// A refusal is not signed, so what no node ever reaches is a lie and passed over: it would use up all numbers.
    pub fn overtake(&mut self, epoch: u64, sequence: u64) -> bool {
        if (epoch, sequence) < (self.record.epoch, self.last_sequence) || epoch > GREATEST_EPOCH {
            return false;
        }
        if epoch > self.record.epoch || sequence > GREATEST_SEQUENCE {
            return self.begin_epoch(epoch);
        }
        self.last_sequence = sequence;
        self.version += 1;
        self.sign_again();
        false
    }

    /// Begins an epoch past this one and the own; whether that is possible.
    pub(super) fn begin_epoch(&mut self, past: u64) -> bool {
        let past = past.max(self.record.epoch);
        if past > GREATEST_EPOCH {
            return false;
        }
        (self.record.epoch, self.last_sequence) = (past + 1, 0);
        self.version += 1;
        self.sign_again();
        true
    }

    /// A sequence number that nothing has used yet.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.last_sequence += 1;
        self.last_sequence
    }

    /// A record with lease zero, to be sent as the last word.
    pub fn goodbye(&mut self) -> SignedRecord {
        self.last_sequence += 1;
        let mut record = Record {
            lease: Lease::ZERO,
            sequence: self.last_sequence,
            ..self.record.clone()
        };
        sign(&mut record, &self.identity, self.key)
    }

    /// A renewal of what the server holds since `base`.
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

/// The greatest epoch that is believed: epochs are counts of starts, or seconds since 1970.
const GREATEST_EPOCH: u64 = 1 << 48;
/// The greatest sequence number that is believed, and gone past: a million messages a second for centuries stay below.
const GREATEST_SEQUENCE: u64 = 1 << 56;
/// More than the CBOR of one address.
const LONGEST_ADDRESS: usize = 48;

/// Signs, leaving out the last addresses where all do not fit: they are the least useful ones.
fn sign(record: &mut Record, identity: &Identity, key: KeyId) -> SignedRecord {
    loop {
        match SignedRecord::sign(record, identity, key) {
            Ok(signed) => return signed,
            // Without addresses the limits of names and labels keep a body under MAX_BODY, so this ends.
            Err(_) if record.addresses.pop().is_some() => {}
            Err(_) => record.labels = Labels::default(),
        }
    }
}

/// How long before the end of a lease the first renewal goes out: it has two more thirds to get through.
pub fn renew_after(lease: Lease) -> Duration {
    (lease.duration() / 3).max(Duration::from_secs(1))
}
