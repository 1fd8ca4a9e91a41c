//! The process and its host, as the loader sees them.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::model::{Account, Accounts};

/// The process and its host, as the loader sees them. Tests pass their own, so they need no global
/// state.
pub trait Environment {
    /// The value of an environment variable; `None` if it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
    /// The name of the host; `None` if it can't be read.
    fn host_name(&self) -> Option<String>;
    /// Whether the process runs as root.
    fn is_root(&self) -> bool;
    /// Whether this machine has a user or a group of this name or number.
    fn knows(&self, _accounts: Accounts, _account: &Account) -> bool {
        true
    }
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn host_name(&self) -> Option<String> {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().to_owned()).filter(|name| !name.is_empty())
    }

    fn is_root(&self) -> bool {
        own_uid() == Some(0)
    }

    fn knows(&self, accounts: Accounts, account: &Account) -> bool {
        accounts
            .number(account)
            .is_ok_and(|number| number.is_some())
    }
}

/// The user id of this process, read from `/proc`: a system call would need unsafe code.
pub(super) fn own_uid() -> Option<u32> {
    std::fs::metadata("/proc/self")
        .ok()
        .map(|metadata| metadata.uid())
}

/// The default state directory and its origin; `None` if the environment names no
/// directory.
pub(super) fn state_dir(environment: &dyn Environment) -> Option<(PathBuf, &'static str)> {
    let variable = |name: &str| environment.variable(name).filter(|value| !value.is_empty());
    // systemd separates several directories by colons; the first one is for the state
    // (systemd.exec(5)).
    let given =
        variable("STATE_DIRECTORY").and_then(|list| list.split(':').next().map(PathBuf::from));
    if let Some(directory) = given {
        return Some((directory, "$STATE_DIRECTORY"));
    }
    if environment.is_root() {
        return Some((
            PathBuf::from("/var/lib/hereabouts"),
            "root's state directory",
        ));
    }
    // A relative path must be ignored (XDG Base Directory Specification, "Environment variables").
    if let Some(directory) = variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|directory| directory.is_absolute())
    {
        return Some((directory.join("hereabouts"), "$XDG_STATE_HOME"));
    }
    variable("HOME").map(|home| (PathBuf::from(home).join(".local/state/hereabouts"), "$HOME"))
}
