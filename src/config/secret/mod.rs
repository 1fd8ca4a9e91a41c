//! Reads secrets from files: keys, passphrases and tokens.
//!
//! A file that others can read or change is refused, with the command that closes it. No message
//! and no debug form ever shows a part of a secret, and buffers of secrets are cleared when they
//! are dropped.

#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use zeroize::{Zeroize, Zeroizing};

use super::environment::own_uid;
use super::{ChannelConfig, KeySource};
use crate::model::Secret;

/// How many bytes a secret file may have: a key with some lines of comments has fewer.
const MAX_BYTES: u64 = 4096;

/// Why a secret can't be read from its file. No message shows a part of the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is missing, or this user can't read it.
    #[error("secret file {} can't be read: {source}{}", path.display(), remedy(source, path))]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The path leads to a directory, a pipe or a device.
    #[error("secret file {} is not a regular file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// Others can read or change the file.
    #[error("secret file {path} has mode {mode:04o}, so others can {access} it; fix it: chmod 600 {path}", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// The permission bits of the file.
        mode: u32,
        /// What others can do: `read` or `write`.
        access: &'static str,
    },
    /// The file is longer than any key or passphrase.
    #[error("secret file {} has more than {MAX_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file holds only white space and comments.
    #[error("secret file {} is empty: hereabouts keygen makes a key", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold 32 bytes in base64.
    #[error("key file {} does not hold 32 bytes in base64: hereabouts keygen makes such a key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// The first line can't be sent in a header.
    #[error("token file {} does not begin with a token: write printable ASCII characters without spaces to its first line", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// The file is not UTF-8 text.
    #[error("passphrase file {} is not UTF-8 text", path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a token for an HTTP header: the first line of the file, without white space around it.
pub fn read_token(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let bytes = read_secret(path)?;
    let line = bytes
        .split(|b| *b == b'\n')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    match std::str::from_utf8(line) {
        Ok("") => Err(SecretError::Empty { path: path.into() }),
        Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Zeroizing::new(text.to_owned()))
        }
        _ => Err(SecretError::Token { path: path.into() }),
    }
}

/// The end of a message about a file that this user can't read: the command that makes the user its
/// owner.
fn remedy(error: &io::Error, path: &Path) -> String {
    match own_uid() {
        Some(uid) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!(
                "; make the user who runs hereabouts its owner: chown {uid} {}",
                path.display()
            )
        }
        _ => String::new(),
    }
}

impl ChannelConfig {
    /// Reads every key; the first one seals. Every file is tried, and every error is returned.
    pub fn secrets(&self) -> Result<Vec<Secret>, Vec<SecretError>> {
        let mut secrets = Vec::new();
        let mut errors = Vec::new();
        for key in &self.keys {
            match key.read() {
                Ok(secret) => secrets.push(secret),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            Ok(secrets)
        } else {
            Err(errors)
        }
    }
}

impl KeySource {
    /// Reads the file.
    ///
    /// A key file has one line with 32 bytes in base64; empty lines and lines that begin with `#`
    /// are ignored. A passphrase is the whole first line, without its line break.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => parse_key(&read_secret(path)?, path),
            Self::PassphraseFile(path) => parse_passphrase(&read_secret(path)?, path),
        }
    }
}

/// Encodes a key as the text of a key file.
pub fn encode_key(key: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(key))
}

/// Decodes the text of a key; `None` unless it is 32 bytes in base64.
pub fn decode_key(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 44 {
        return None;
    }
    let mut bytes = BASE64.decode(text.as_bytes()).ok()?;
    let key = <[u8; 32]>::try_from(bytes.as_slice())
        .ok()
        .map(Zeroizing::new);
    bytes.zeroize();
    key
}

fn parse_key(bytes: &[u8], path: &Path) -> Result<Secret, SecretError> {
    let malformed = || SecretError::Key { path: path.into() };
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let line = lines
        .next()
        .ok_or_else(|| SecretError::Empty { path: path.into() })?;
    if lines.next().is_some() {
        return Err(malformed());
    }
    decode_key(line).map(Secret::Key).ok_or_else(malformed)
}

fn parse_passphrase(bytes: &[u8], path: &Path) -> Result<Secret, SecretError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SecretError::Text { path: path.into() })?;
    match text.lines().next().filter(|line| !line.trim().is_empty()) {
        Some(line) => Ok(Secret::Passphrase(Zeroizing::new(line.to_owned()))),
        None => Err(SecretError::Empty { path: path.into() }),
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source| SecretError::Read {
        path: path.into(),
        source,
    };
    // Without O_NONBLOCK, opening a pipe that no process writes to would block forever.
    let mut options = std::fs::OpenOptions::new();
    let file = options
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SecretError::Kind { path: path.into() });
    }
    let is_own = Some(metadata.uid()) == own_uid();
    if let Some(access) = excess_access(metadata.mode(), is_own, || is_writable(path)) {
        return Err(SecretError::Mode {
            path: path.into(),
            mode: metadata.mode() & 0o7777,
            access,
        });
    }
    tracing::debug!(file = %path.display(), "the secret file is read");
    // The capacity is reserved at once, because a growing buffer would leave copies of the secret
    // in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 64));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLong { path: path.into() });
    }
    Ok(bytes)
}

/// The access of others that makes a secret file unusable; `None` if the mode is acceptable.
///
/// Only the owner may be able to write. Others may be able to read only if this user can't change
/// that: Kubernetes mounts secrets with mode 0644 or 0440, and docker compose mounts them as they
/// are on the host, owned by another user or on a read-only mount.
fn excess_access(
    mode: u32,
    is_own: bool,
    is_writable: impl FnOnce() -> bool,
) -> Option<&'static str> {
    if mode & 0o022 != 0 {
        Some("write")
    } else if mode & 0o044 != 0 && is_own && is_writable() {
        Some("read")
    } else {
        None
    }
}

/// Whether the mount is writable: opening for writing fails on a read-only mount, and changes
/// nothing elsewhere.
fn is_writable(path: &Path) -> bool {
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    !opened.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}
