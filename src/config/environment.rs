//! What the loader may know of the process and its host.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::model::{Account, Accounts};

/// What the loader may know of the process and its host, so that tests need no global state.
pub trait Environment {
    /// An environment variable; `None` if it is unset or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;
    /// The host's name.
    fn host_name(&self) -> Option<String>;
    /// Whether the process runs as root.
    fn is_root(&self) -> bool;
    /// Whether this machine has a user or a group.
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

/// The user id of this process, without a system call of our own.
pub(super) fn own_uid() -> Option<u32> {
    std::fs::metadata("/proc/self")
        .ok()
        .map(|metadata| metadata.uid())
}

/// The directory for what outlives a restart, and where that came from.
pub(super) fn state_dir(environment: &dyn Environment) -> Option<(PathBuf, &'static str)> {
    let variable = |name: &str| environment.variable(name).filter(|value| !value.is_empty());
    // systemd lists several directories with colons; the first is the unit's own.
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
    // A relative XDG path is to be ignored (XDG Base Directory Specification, "Environment variables").
    if let Some(directory) = variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|directory| directory.is_absolute())
    {
        return Some((directory.join("hereabouts"), "$XDG_STATE_HOME"));
    }
    variable("HOME").map(|home| (PathBuf::from(home).join(".local/state/hereabouts"), "$HOME"))
}
