//! Mode and owner of a file that is about to replace the target, or that is the target already.

use std::fs::File;
use std::io;

use rustix::fs::{AtFlags, Gid, Mode, Uid, fchmod, fchown, fstat, statat};
use rustix::process::geteuid;

use super::{Target, TargetError};
use crate::model::{Account, Accounts};

impl Target {
    /// Gives a file its mode and its owner: the configured owner, else that of the existing file if this process may set it.
    pub(super) fn give(&self, file: &File, mode: Option<Mode>) -> Result<(), TargetError> {
        let current = fstat(file).map_err(|error| self.failed("inspect it", error.into()))?;
        let old = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok();
        let (user, group) = self.owner.as_ref().map_or((None, None), |owner| {
            (owner.user.as_ref(), owner.group.as_ref())
        });
        // The group first, then the mode, and the user last: a process that has given the file away can change neither
        // without further capabilities. A change of owner clears only those mode bits that no `FileMode` has (chown(2)).
        let group = self.number("group", Accounts::Groups, group)?;
        let user = self.number("user", Accounts::Users, user)?;
        self.set(
            "group",
            current.st_gid,
            group,
            old.map(|old| old.st_gid),
            &|id| fchown(file, None, Some(Gid::from_raw(id))),
        )?;
        // A process that may write a file need not own it, and only the owner may set the mode, even to the same value.
        if let Some(mode) = mode.filter(|mode| *mode != Mode::from_raw_mode(current.st_mode)) {
            fchmod(file, mode).map_err(|error| self.failed("set its mode", error.into()))?;
        }
        self.set(
            "user",
            current.st_uid,
            user,
            old.map(|old| old.st_uid),
            &|id| fchown(file, Some(Uid::from_raw(id)), None),
        )
    }

    /// Tries with an empty file whether this process may set the configured owner, so that no content is pulled in vain.
    pub(super) fn rehearse(&self, file: &File) -> Result<(), TargetError> {
        if self.owner.is_none() {
            return Ok(());
        }
        let current = fstat(file).map_err(|error| self.failed("inspect it", error.into()))?;
        let given = self.give(file, None);
        // The owner is restored, so that an interrupted pull can open the part again. If that fails, the pull starts
        // from the beginning.
        let _ = fchown(
            file,
            Some(Uid::from_raw(current.st_uid)),
            Some(Gid::from_raw(current.st_gid)),
        );
        given
    }

    /// The number of a configured account.
    fn number<'o>(
        &self,
        what: &'static str,
        accounts: Accounts,
        account: Option<&'o Account>,
    ) -> Result<Option<(&'o Account, u32)>, TargetError> {
        let Some(account) = account else {
            return Ok(None);
        };
        // A missing table has no names.
        let number = accounts
            .number(account)
            .or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(None),
                _ => Err(self.failed("look up its owner", error)),
            })?;
        match number {
            Some(number) => Ok(Some((account, number))),
            None => Err(TargetError::Unknown {
                what,
                account: account.clone(),
                file: accounts.path(),
                path: self.path.clone(),
            }),
        }
    }

    /// Sets one of user and group where it differs. Only a failure for a configured account is an error.
    fn set(
        &self,
        what: &'static str,
        current: u32,
        configured: Option<(&Account, u32)>,
        old: Option<u32>,
        set: &dyn Fn(u32) -> rustix::io::Result<()>,
    ) -> Result<(), TargetError> {
        match (configured, old) {
            (Some((_, id)), _) if id == current => Ok(()),
            (Some((account, id)), _) => set(id).map_err(|error| TargetError::Owner {
                path: self.path.clone(),
                what,
                account: account.clone(),
                id,
                uid: geteuid().as_raw(),
                source: error.into(),
            }),
            (None, Some(id)) if id != current => {
                if let Err(error) = set(id) {
                    tracing::info!(
                        "{}: the {what} changes from {id} to {current}, as it can't be kept: {error}",
                        self.path.display()
                    );
                }
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }
}
