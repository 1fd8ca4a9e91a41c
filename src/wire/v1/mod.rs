//! Protocol version 1, frozen once released.

mod message;

pub use message::{
    Answer, Message, Notice, Query, Refusal, Refused, Regarding, Registered, Renewal, Sighting, SignedRecord, Subject,
    Want,
};
