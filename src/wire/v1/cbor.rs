//! Strict CBOR (RFC 8949): the subset that this protocol accepts.
//!
//! This reader is stricter than a general decoder: only definite lengths, only shortest heads
//! (§4.2.1), and only unsigned map keys in ascending order, so that a duplicate is found without a
//! table. Nothing here allocates, and every step consumes at least one byte of the input.

use super::error::{DecodeError, Fault};

/// How deeply an unknown field may be nested; known fields have at most three levels.
const MAX_DEPTH: u8 = 4;

const UNSIGNED: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const SIMPLE: u8 = 7;

pub(in crate::wire) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(in crate::wire) fn new(input: &'b [u8]) -> Self {
        Self { rest: input }
    }

    /// Refuses bytes after the last item.
    pub(in crate::wire) fn finish(self, field: &'static str) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Fault::Trailing.at(field))
        }
    }

    pub(in crate::wire) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.expect(UNSIGNED, field)
    }

    /// An unsigned integer of a smaller type.
    pub(in crate::wire) fn uint<T: TryFrom<u64>>(
        &mut self,
        field: &'static str,
    ) -> Result<T, DecodeError> {
        T::try_from(self.u64(field)?).map_err(|_| Fault::Range.at(field))
    }

    /// A byte string of at most `limit` bytes.
    pub(in crate::wire) fn bytes(
        &mut self,
        limit: usize,
        field: &'static str,
    ) -> Result<&'b [u8], DecodeError> {
        let length = self.expect(BYTES, field)?;
        self.take(length, limit, field)
    }

    /// A byte string of exactly `N` bytes.
    pub(in crate::wire) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        self.bytes(N, field)?
            .try_into()
            .map_err(|_| Fault::Length.at(field))
    }

    /// UTF-8 of at most `limit` bytes.
    pub(in crate::wire) fn text(
        &mut self,
        limit: usize,
        field: &'static str,
    ) -> Result<&'b str, DecodeError> {
        let length = self.expect(TEXT, field)?;
        std::str::from_utf8(self.take(length, limit, field)?).map_err(|_| Fault::Utf8.at(field))
    }

    /// The number of items of an array, at most `limit`.
    pub(in crate::wire) fn items(
        &mut self,
        limit: usize,
        field: &'static str,
    ) -> Result<usize, DecodeError> {
        let count = self.expect(ARRAY, field)?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(Fault::TooLong { limit }.at(field))
    }

    /// The number of pairs of a map with text keys, at most `limit`.
    pub(in crate::wire) fn pairs(
        &mut self,
        limit: usize,
        field: &'static str,
    ) -> Result<usize, DecodeError> {
        let count = self.expect(MAP, field)?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= limit)
            .ok_or(Fault::TooLong { limit }.at(field))
    }

    /// A map with numbered fields.
    pub(in crate::wire) fn fields(&mut self, of: &'static str) -> Result<Fields, DecodeError> {
        Ok(Fields {
            left: self.expect(MAP, of)?,
            last: None,
            of,
        })
    }

    /// Skips the value of a field that this version does not know.
    pub(in crate::wire) fn skip(&mut self, field: &'static str) -> Result<(), DecodeError> {
        self.skip_at(0, field)
    }

    fn skip_at(&mut self, depth: u8, field: &'static str) -> Result<(), DecodeError> {
        if depth > MAX_DEPTH {
            return Err(Fault::Depth.at(field));
        }
        let (major, argument) = self.head(field)?;
        let values = match major {
            BYTES | TEXT => {
                self.take(argument, usize::MAX, field)?;
                0
            }
            ARRAY => argument,
            MAP => argument.checked_mul(2).ok_or(Fault::Truncated.at(field))?,
            TAG => 1,
            // Integers, simple values and floats consist of their head.
            _ => 0,
        };
        // A count beyond the input ends with an error at the end of the input.
        for _ in 0..values {
            self.skip_at(depth + 1, field)?;
        }
        Ok(())
    }

    fn expect(&mut self, major: u8, field: &'static str) -> Result<u64, DecodeError> {
        match self.rest.first() {
            Some(first) if first >> 5 != major => Err(Fault::Type.at(field)),
            _ => Ok(self.head(field)?.1),
        }
    }

    /// The major type and argument of the next item.
    fn head(&mut self, field: &'static str) -> Result<(u8, u64), DecodeError> {
        let (first, rest) = self.rest.split_first().ok_or(Fault::Truncated.at(field))?;
        let major = first >> 5;
        let info = first & 31;
        let width = match info {
            0..24 => 0,
            24..28 => 1 << (info - 24),
            31 => return Err(Fault::Indefinite.at(field)),
            _ => return Err(Fault::Malformed.at(field)),
        };
        let (bytes, rest) = rest
            .split_at_checked(width)
            .ok_or(Fault::Truncated.at(field))?;
        let argument = match width {
            0 => u64::from(info),
            _ => bytes
                .iter()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        };
        // The bits of a float have no shortest form.
        if major != SIMPLE && width > 0 && shortest(argument) != width {
            return Err(Fault::NotShortest.at(field));
        }
        self.rest = rest;
        Ok((major, argument))
    }

    fn take(
        &mut self,
        length: u64,
        limit: usize,
        field: &'static str,
    ) -> Result<&'b [u8], DecodeError> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(Fault::TooLong { limit }.at(field));
        }
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(Fault::Truncated.at(field))?;
        self.rest = rest;
        Ok(bytes)
    }
}

/// How many bytes the shortest form of an argument has after the first byte.
fn shortest(argument: u64) -> usize {
    match argument {
        0..24 => 0,
        24..0x100 => 1,
        0x100..0x1_0000 => 2,
        0x1_0000..0x1_0000_0000 => 4,
        _ => 8,
    }
}

/// The fields of a map that are not read yet.
pub(in crate::wire) struct Fields {
    left: u64,
    last: Option<u64>,
    of: &'static str,
}

impl Fields {
    /// The number of the next field; `None` after the last.
    pub(in crate::wire) fn next(
        &mut self,
        reader: &mut Reader<'_>,
    ) -> Result<Option<u64>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let number = reader.u64(self.of)?;
        match self.last {
            Some(last) if number == last => return Err(Fault::Duplicate.at(self.of)),
            Some(last) if number < last => return Err(Fault::Order.at(self.of)),
            _ => self.last = Some(number),
        }
        Ok(Some(number))
    }
}
