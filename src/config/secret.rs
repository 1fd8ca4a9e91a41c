//! Secrets from files, and when a file is too open to hold one.

use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use zeroize::{Zeroize, Zeroizing};

use super::environment::own_uid;
use super::{ChannelConfig, KeySource};

/// The most bytes of a secret file: a key with some lines of comment.
const MAX_BYTES: u64 = 4096;

/// A secret as its file holds it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A random key.
    Key(Zeroizing<[u8; 32]>),
    /// A passphrase, still to be stretched.
    Passphrase(Zeroizing<String>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Key(…)",
            Self::Passphrase(_) => "Passphrase(…)",
        })
    }
}

/// Why a secret can't be taken from its file. No message holds a part of the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file is missing, or this user may not read it.
    #[error("the secret file {} can't be read: {source}{}", path.display(), remedy(source, path))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("the secret file {} is not a regular file", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or change it.
    #[error("the secret file {path} has mode {mode:04o}, so others may {what} it; mend it: chmod 600 {path}", path = path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What others may do.
        what: &'static str,
    },
    /// More than a key or a passphrase has.
    #[error("the secret file {} has more than {MAX_BYTES} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Nothing but white space and comments.
    #[error("the secret file {} is empty; hereabouts keygen makes a key", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// No 32 bytes in base64.
    #[error("the key file {} does not hold 32 bytes in base64; hereabouts keygen makes such a key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// What no header can hold.
    #[error("the first line of the token file {} is no token: printable ASCII characters without spaces", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("the passphrase file {} is not UTF-8 text", path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
}

/// Reads a token that goes into an HTTP header: the first line of its file, without white space around it.
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

/// Who has to own a file that this user may not read.
fn remedy(error: &io::Error, path: &Path) -> String {
    match own_uid() {
        Some(uid) if error.kind() == io::ErrorKind::PermissionDenied => {
            format!(
                "; it is read by the user with uid {uid}: chown {uid} {}",
                path.display()
            )
        }
        _ => String::new(),
    }
}

impl ChannelConfig {
    /// Reads every key, the sealing one first. Every file is tried, and every error told.
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
    /// A key file has 32 bytes in base64 on one line, beside empty lines and lines that begin with `#`. A passphrase is
    /// the first line as it stands, without its line break.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => parse_key(&read_secret(path)?, path),
            Self::PassphraseFile(path) => parse_passphrase(&read_secret(path)?, path),
        }
    }
}

/// A key as the text of its file.
pub fn encode_key(key: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(key))
}

/// Parses the text of a key: base64 of 32 bytes; `None` if it is anything else.
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
    // Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
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
    if let Some(what) = too_open(metadata.mode(), is_own, || is_writable(path)) {
        return Err(SecretError::Mode {
            path: path.into(),
            mode: metadata.mode() & 0o7777,
            what,
        });
    }
    // Reserved at once: growing would leave copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES as usize + 64));
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(SecretError::TooLong { path: path.into() });
    }
    Ok(bytes)
}

/// What others may do with a secret file that they should not; `None` if its mode will do.
///
/// Nobody but the owner may write. Others may read only where we could not mend it: Kubernetes mounts secrets as 0644 or
/// 0440 and docker compose as they are on the host, owned by someone else or on a mount that is read-only.
fn too_open(mode: u32, is_own: bool, is_writable: impl FnOnce() -> bool) -> Option<&'static str> {
    if mode & 0o022 != 0 {
        Some("write")
    } else if mode & 0o044 != 0 && is_own && is_writable() {
        Some("read")
    } else {
        None
    }
}

/// Whether the file system takes changes: opening for writing fails on a read-only mount, and changes nothing elsewhere.
fn is_writable(path: &Path) -> bool {
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path);
    !opened.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(text: impl AsRef<[u8]>, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn key_file_may_have_comments_and_a_final_line_break() {
        let text = format!("# made on Monday\n\n{}\n", *encode_key(&[7; 32]));
        let (_directory, path) = file(text, 0o600);
        assert_eq!(
            KeySource::File(path).read().unwrap(),
            Secret::Key(Zeroizing::new([7; 32]))
        );
    }

    #[test]
    fn passphrase_is_the_first_line_as_it_stands() {
        let (_directory, path) = file(" correct horse \nnot this", 0o400);
        let secret = KeySource::PassphraseFile(path).read().unwrap();
        assert_eq!(
            secret,
            Secret::Passphrase(Zeroizing::new(" correct horse ".into()))
        );
    }

    #[test]
    fn token_is_the_first_line_and_fits_a_header() {
        let (_directory, path) = file(" s3cret.token== \r\nrest", 0o600);
        assert_eq!(read_token(&path).unwrap().as_str(), "s3cret.token==");
        for (text, says) in [
            ("\nx", "empty"),
            ("s3 cret", "is no token"),
            ("s3\rcret", "is no token"),
            ("sécret", "is no token"),
        ] {
            let (_directory, path) = file(text, 0o600);
            let message = read_token(&path).unwrap_err().to_string();
            assert!(
                message.contains(says) && !message.contains("cret\n") && !message.contains("s3"),
                "{message}"
            );
        }
        let (_directory, path) = file("s3cret", 0o644);
        assert!(matches!(read_token(&path), Err(SecretError::Mode { .. })));
    }

    #[test]
    fn own_file_that_others_may_read_is_refused_with_its_mend() {
        for mode in [0o640, 0o604, 0o644, 0o620, 0o602] {
            let (_directory, path) = file(encode_key(&[7; 32]).as_bytes(), mode);
            let message = KeySource::File(path.clone())
                .read()
                .unwrap_err()
                .to_string();
            assert!(
                message.ends_with(&format!("chmod 600 {}", path.display())),
                "{message}"
            );
        }
    }

    #[test]
    fn wide_mode_passes_only_where_it_cannot_be_mended() {
        let unused = || panic!("not asked");
        assert_eq!(too_open(0o600, true, unused), None);
        assert_eq!(too_open(0o644, false, unused), None);
        assert_eq!(too_open(0o440, true, || false), None);
        assert_eq!(too_open(0o440, true, || true), Some("read"));
        assert_eq!(too_open(0o666, false, unused), Some("write"));
        assert_eq!(too_open(0o620, true, unused), Some("write"));
    }

    #[test]
    fn what_is_no_key_is_told_without_its_text() {
        let key = encode_key(&[7; 32]);
        for text in [
            "",
            "# only this\n",
            "c2hvcnQ=",
            "hunter2 hunter2 hunter2 hunter2 hunter2 hunt",
            &format!("{}\n{}", *key, *key),
        ] {
            let (_directory, path) = file(text, 0o600);
            let error = KeySource::File(path).read().unwrap_err();
            assert!(
                matches!(error, SecretError::Empty { .. } | SecretError::Key { .. }),
                "{error}"
            );
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn long_files_folders_and_pipes_are_refused() {
        let (directory, path) = file([b'x'; 5000], 0o600);
        assert!(matches!(
            KeySource::File(path).read(),
            Err(SecretError::TooLong { .. })
        ));
        assert!(matches!(
            KeySource::File(directory.path().into()).read(),
            Err(SecretError::Kind { .. })
        ));
        assert!(matches!(
            KeySource::File(directory.path().join("none")).read(),
            Err(SecretError::Read { .. })
        ));
    }

    #[test]
    fn file_of_another_user_is_told_with_its_chown() {
        let (path, uid) = (PathBuf::from("/run/secrets/key"), own_uid().unwrap());
        let denied = SecretError::Read {
            path: path.clone(),
            source: io::ErrorKind::PermissionDenied.into(),
        };
        assert!(
            denied
                .to_string()
                .ends_with(&format!("chown {uid} /run/secrets/key")),
            "{denied}"
        );
        let missing = SecretError::Read {
            path,
            source: io::ErrorKind::NotFound.into(),
        };
        assert!(!missing.to_string().contains("chown"), "{missing}");
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret::Passphrase(Zeroizing::new("hunter2".into()));
        assert_eq!(format!("{secret:?}"), "Passphrase(…)");
    }

    #[test]
    fn every_unreadable_key_is_told() {
        let missing = |name: &str| KeySource::File(PathBuf::from(name));
        let channel = ChannelConfig {
            keys: vec![missing("/none/a"), missing("/none/b")],
            ..ChannelConfig::default()
        };
        assert_eq!(channel.secrets().unwrap_err().len(), 2);
    }
}
