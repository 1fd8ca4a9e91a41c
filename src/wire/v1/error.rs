//! The errors of decoding and encoding messages.

/// Why a payload is not a message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decode {field}: {fault}")]
pub struct DecodeError {
    /// The place of the error: the message, a dot, the field.
    pub field: &'static str,
    /// The error in that place.
    pub fault: Fault,
}

/// An error in a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end inside the field.
    #[error("the bytes end inside it")]
    Truncated,
    /// Bytes follow after the end.
    #[error("bytes follow after its end")]
    Trailing,
    /// The value has another CBOR type than this field.
    #[error("it has another type")]
    Type,
    /// An indefinite length (RFC 8949 §3.2): this protocol has none.
    #[error("its length is indefinite")]
    Indefinite,
    /// An integer or length that is not in its shortest form (RFC 8949 §4.2.1).
    #[error("an integer or length is not in its shortest form")]
    NotShortest,
    /// The first byte is reserved.
    #[error("it is not CBOR")]
    Malformed,
    /// A field or key is repeated.
    #[error("a field or key is repeated")]
    Duplicate,
    /// Fields or keys are not in ascending order.
    #[error("its fields or keys are not in ascending order")]
    Order,
    /// A required field is missing.
    #[error("it is missing")]
    Missing,
    /// The field does not belong to this kind of message.
    #[error("it does not belong here")]
    Unexpected,
    /// The value is longer than its limit.
    #[error("it is longer than {limit}")]
    TooLong {
        /// The limit, in bytes or items.
        limit: usize,
    },
    /// The value is shorter than its minimum.
    #[error("it is shorter than {limit} bytes")]
    TooShort {
        /// The minimum, in bytes.
        limit: usize,
    },
    /// The value has another length than the fixed one of this field.
    #[error("its length is wrong")]
    Length,
    /// The number is out of its range.
    #[error("the number is out of range")]
    Range,
    /// The number has no meaning in this version.
    #[error("{value} has no meaning in this version")]
    Unknown {
        /// The number.
        value: u64,
    },
    /// The text is not UTF-8.
    #[error("it is not UTF-8")]
    Utf8,
    /// The text is not valid for this field: see the type of the field.
    #[error("the text is not valid for it")]
    Text,
    /// An unknown field is nested too deeply.
    #[error("it is nested too deeply")]
    Depth,
}

impl Fault {
    pub(in crate::wire) fn at(self, field: &'static str) -> DecodeError {
        DecodeError { field, fault: self }
    }
}

/// Why a message can't be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message does not fit the buffer, or a datagram.
    #[error("encode a message of {length} bytes: at most {limit} fit")]
    TooLong {
        /// The message's length, in bytes.
        length: usize,
        /// The longest message that fits, in bytes.
        limit: usize,
    },
    /// No receiver would accept the value of this field.
    #[error("encode {field}: receivers refuse this value")]
    Refused {
        /// The message, a dot, the field.
        field: &'static str,
    },
}
