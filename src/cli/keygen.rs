//! `hereabouts keygen`, and the files that `init` writes.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use zeroize::Zeroizing;

use crate::config::encode_key;

/// Make a random key for a channel
///
/// All nodes of a channel have the same key: copy it to each of them. The line that is printed goes
/// into a key file, which channel.keys names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts keygen
  hereabouts keygen /etc/hereabouts/home.key")]
pub(super) struct KeygenArgs {
    /// Write the key to this file (mode 0600), never over an existing one [default: print it]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
}

pub(super) fn run(args: KeygenArgs) -> anyhow::Result<ExitCode> {
    let key = random_key()?;
    match args.path {
        None => writeln!(std::io::stdout(), "{}", *encode_key(&key))?,
        Some(path) => write_key(&path, &key)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// 32 random bytes of the kernel.
pub(super) fn random_key() -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key)
        .map_err(|error| anyhow!("the kernel returned no random bytes: {error}"))?;
    Ok(key)
}

/// Writes a new key file that only its owner may read.
pub(super) fn write_key(path: &Path, key: &[u8; 32]) -> anyhow::Result<()> {
    write_new(path, 0o600, format!("{}\n", *encode_key(key)).as_bytes())
}

/// Writes a new file. It never overwrites an existing file, and never makes a directory.
pub(super) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(path);
    let mut file = match opened {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(anyhow!(
                "{} exists already and is not changed",
                path.display()
            ));
        }
        other => other.with_context(|| format!("{} can't be written", path.display()))?,
    };
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.with_context(|| format!("{} can't be written", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn key_file_is_private_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        run(KeygenArgs {
            path: Some(path.clone()),
        })
        .unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let before = std::fs::read(&path).unwrap();
        assert!(
            run(KeygenArgs {
                path: Some(path.clone())
            })
            .is_err()
        );
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert!(
            run(KeygenArgs {
                path: Some(directory.path().join("none/a.key"))
            })
            .is_err()
        );
    }
}
