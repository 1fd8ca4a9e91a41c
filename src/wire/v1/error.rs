//! Why bytes are no message, and why a message has no bytes.

/// Why a payload is no message of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decode {field}: {fault}")]
pub struct DecodeError {
    /// Where: the message, a dot, the field.
    pub field: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The bytes end inside it.
    #[error("the bytes end inside it")]
    Truncated,
    /// Bytes follow after the end.
    #[error("bytes follow after its end")]
    Trailing,
    /// Another CBOR type than this field has.
    #[error("it has another type")]
    Type,
    /// An indefinite length (RFC 8949 §3.2): this protocol has none.
    #[error("its length is indefinite")]
    Indefinite,
    /// An integer or length that is not in its shortest form (RFC 8949 §4.2.1).
    #[error("an integer or length is not in its shortest form")]
    NotShortest,
    /// A reserved first byte.
    #[error("it is no CBOR")]
    Malformed,
    /// A field that comes twice.
    #[error("a field or key comes twice")]
    Duplicate,
    /// Fields that don't ascend.
    #[error("its fields or keys are not in ascending order")]
    Order,
    /// A field that has to be there.
    #[error("it is missing")]
    Missing,
    /// A field that does not belong to this kind of message.
    #[error("it does not belong here")]
    Unexpected,
    /// Longer than its limit.
    #[error("it is longer than {limit}")]
    TooLong {
        /// The limit, in bytes or items.
        limit: usize,
    },
    /// Shorter than it has to be.
    #[error("it is shorter than {limit} bytes")]
    TooShort {
        /// The least length.
        limit: usize,
    },
    /// Another length than the one that it has.
    #[error("its length is wrong")]
    Length,
    /// A number that is out of its range.
    #[error("the number is out of range")]
    Range,
    /// A number that stands for nothing in this version.
    #[error("{value} stands for nothing")]
    Unknown {
        /// The number.
        value: u64,
    },
    /// Text that is no UTF-8.
    #[error("it is no UTF-8")]
    Utf8,
    /// Text that the field does not take: see the type that it becomes.
    #[error("the text does not fit it")]
    Text,
    /// An unknown field that nests too deep.
    #[error("it nests too deep")]
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
    /// It does not fit the buffer, or a datagram.
    #[error("encode a message of {length} bytes: at most {limit} fit")]
    TooLong {
        /// The message's length.
        length: usize,
        /// What fits.
        limit: usize,
    },
    /// A field that no receiver would take.
    #[error("encode {field}: receivers refuse this value")]
    Refused {
        /// The message, a dot, the field.
        field: &'static str,
    },
}
