//! Users and groups of this machine, by number or by name.
//!
//! A configuration names the owner of a pulled file as a text ([`Owner`]); [`Accounts`] turns the
//! names into the numbers that the kernel wants. This is the only part of `model` that reads a
//! file.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::str::FromStr;

use super::text_type;

/// A user or a group of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// The uid or gid; never `u32::MAX`, which means "leave it" to the kernel (chown(2)).
    Number(u32),
    /// A name that is looked up in `/etc/passwd` or `/etc/group` when it is needed.
    Name(Box<str>),
}

/// The owner that a file gets: `USER`, `USER:GROUP` or `:GROUP`, each a name or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user; `None` leaves the user of the file unchanged.
    pub user: Option<Account>,
    /// The group; `None` leaves the group of the file unchanged.
    pub group: Option<Account>,
}

/// A text is not an owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an owner is USER, USER:GROUP or :GROUP, each a number or a name of at most 32 letters, digits, '.', '_' and '-': \"kiosk\", \"kiosk:www-data\", \"1000:1000\""
)]
pub struct OwnerError;

impl Owner {
    /// The texts that [`Owner`] accepts, as a regular expression (ECMA-262).
    pub const PATTERN: &str = r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,31})?|:[A-Za-z0-9_][A-Za-z0-9._-]{0,31})$";
}

/// The longest line of `/etc/passwd` and `/etc/group` that is read in one piece: a group may have
/// thousands of members.
const MAX_LINE: u64 = 1024 * 1024;
/// How many lines are searched.
const MAX_LINES: usize = 1_000_000;

/// The file that maps names to numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// `/etc/passwd`.
    Users,
    /// `/etc/group`.
    Groups,
}

impl Accounts {
    /// The path of the file.
    pub fn path(self) -> &'static str {
        match self {
            Self::Users => "/etc/passwd",
            Self::Groups => "/etc/group",
        }
    }

    /// The number of an account on this machine; `None` if the machine has no such name. Fails if
    /// the file can't be read.
    pub fn number(self, account: &Account) -> io::Result<Option<u32>> {
        match account {
            Account::Number(number) => Ok(Some(*number)),
            Account::Name(_) => account.number(&mut BufReader::new(File::open(self.path())?)),
        }
    }
}

impl Account {
    /// The number of this account in `table`, the text of `/etc/passwd` or `/etc/group`; `None` if
    /// the table lacks the name.
    ///
    /// Both files have the name in the first field and the number in the third (passwd(5),
    /// group(5)). The files are read directly, because a static program can't load the modules of
    /// the system's name service.
    pub fn number(&self, table: &mut dyn BufRead) -> io::Result<Option<u32>> {
        let name = match self {
            Self::Number(number) => return Ok(Some(*number)),
            Self::Name(name) => name.as_bytes(),
        };
        let mut line = Vec::new();
        for _ in 0..MAX_LINES {
            line.clear();
            if table.take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let mut fields = line.trim_ascii_end().splitn(4, |b| *b == b':');
            if fields.next() == Some(name) {
                let number = fields
                    .nth(1)
                    .and_then(|number| std::str::from_utf8(number).ok());
                return Ok(number
                    .and_then(|number| number.parse().ok())
                    .filter(|number| *number != u32::MAX));
            }
        }
        Ok(None)
    }
}

impl FromStr for Account {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text
                .parse()
                .ok()
                .filter(|number| *number != u32::MAX)
                .map(Self::Number)
                .ok_or(OwnerError);
        }
        let is_name = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        if is_name {
            Ok(Self::Name(text.into()))
        } else {
            Err(OwnerError)
        }
    }
}

impl FromStr for Owner {
    type Err = OwnerError;

    fn from_str(text: &str) -> Result<Self, OwnerError> {
        let (user, group) = match text.split_once(':') {
            None => (Some(text.parse()?), None),
            Some(("", group)) => (None, Some(group.parse()?)),
            Some((user, group)) => (Some(user.parse()?), Some(group.parse()?)),
        };
        Ok(Self { user, group })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            user.fmt(f)?;
        }
        match &self.group {
            Some(group) => write!(f, ":{group}"),
            None => Ok(()),
        }
    }
}

text_type!(Owner);

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# kiosk:x:5:5\nbroken\nkiosk2:x:7\nkiosk:x:1000:1001::/:/bin/sh\n";

    fn number(name: &str, table: &str) -> Option<u32> {
        name.parse::<Account>()
            .unwrap()
            .number(&mut table.as_bytes())
            .unwrap()
    }

    #[test]
    fn owner_prints_as_it_is_written() {
        for text in [
            "kiosk",
            "kiosk:www-data",
            "1000:1000",
            "kiosk:4",
            ":media",
            "_apt",
            "user.name",
        ] {
            assert_eq!(text.parse::<Owner>().unwrap().to_string(), text);
        }
        let owner: Owner = "0:www-data".parse().unwrap();
        assert_eq!(
            owner,
            Owner {
                user: Some(Account::Number(0)),
                group: Some(Account::Name("www-data".into()))
            }
        );
        for text in [
            "",
            ":",
            "a:",
            "a:b:c",
            "a b",
            "-a",
            "4294967295",
            "99999999999",
            "a/b",
            "kiosk:\n",
            &"a".repeat(33),
        ] {
            assert_eq!(text.parse::<Owner>(), Err(OwnerError), "{text:?}");
        }
    }

    #[test]
    fn account_is_found_by_its_whole_name() {
        assert_eq!(number("kiosk", PASSWD), Some(1000));
        assert_eq!(number("root", PASSWD), Some(0));
        assert_eq!(number("kiosk2", PASSWD), Some(7));
        for missing in ["kios", "broken", "x", "nobody"] {
            assert_eq!(number(missing, PASSWD), None, "{missing}");
        }
        assert_eq!(
            number("1234", PASSWD),
            Some(1234),
            "a number needs no table"
        );
        assert_eq!(number("a", "a:x:-1:\n"), None);
        assert_eq!(number("a", "a:x:4294967295:\n"), None);
        assert_eq!(
            number("a", "b:x:1:\na:x:2:"),
            Some(2),
            "the last line needs no line break"
        );
    }

    #[test]
    fn long_line_hides_no_other_line() {
        let table = format!("big:x:1:{}\nsmall:x:2:\n", "member,".repeat(300_000));
        assert_eq!(number("small", &table), Some(2));
        assert_eq!(number("big", &table), Some(1));
    }
}
