//! An [`Answer::Content`](super::super::Answer::Content) whose bytes are already in the buffer that
//! will be sealed, because a file is read directly into it.

use super::super::MAX_CONTENT;

/// Where the bytes begin: after `[4, bytes of a 16-bit length]`.
pub const HEAD: usize = 5;

/// Writes the head in front of `length` bytes at [`HEAD`], and returns where the message begins in
/// the buffer.
///
/// Short contents have a shorter head, because lengths are encoded in their shortest form. `None`
/// if no content can have the length.
pub fn write(message: &mut [u8], length: usize) -> Option<usize> {
    if length > MAX_CONTENT || message.len() < HEAD + length {
        return None;
    }
    let head: &[u8] = match length {
        0..24 => &[0x82, 4, 0x40 | length as u8],
        24..256 => &[0x82, 4, 0x58, length as u8],
        _ => &[0x82, 4, 0x59, (length >> 8) as u8, length as u8],
    };
    let start = HEAD - head.len();
    message[start..HEAD].copy_from_slice(head);
    Some(start)
}

/// Whether a message is a content with a head of [`HEAD`] bytes, so that its bytes are the rest.
///
/// Shorter contents have a shorter head and are decoded like any other message.
pub fn is_long(message: &[u8]) -> bool {
    let Some((&[0x82, 4, 0x59, high, low], bytes)) = message.split_first_chunk() else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    (256..=MAX_CONTENT).contains(&length) && bytes.len() == length
}
