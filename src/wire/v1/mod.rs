//! Protocol version 1, frozen once released.

pub(in crate::wire) mod cbor;
pub mod codec;
mod error;
mod message;
pub(in crate::wire) mod record;
#[cfg(test)]
mod tests;

pub use codec::{QUERY_DATAGRAM, QUERY_PAYLOAD};
pub use error::{DecodeError, EncodeError, Fault};
pub use message::{
    Answer, Message, Notice, Query, Refusal, Refused, Regarding, Registered, Renewal, Sighting,
    SignedRecord, Subject, Want,
};
pub use record::{RecordError, RecordTooLarge};
