//! Places in a text: its limit, its lines, and the parts of JSON pointers.

/// How many bytes a file may have. A configuration has a few thousand.
pub const MAX_BYTES: usize = 1 << 20;

/// The number of the line that holds a byte; the first line is 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at.min(text.len())]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

/// Escapes a key as a part of a JSON pointer (RFC 6901 §3).
pub(super) fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The key of an escaped part of a JSON pointer.
pub(super) fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
