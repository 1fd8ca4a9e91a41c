//! Users and groups of the machine, by number or by name.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::str::FromStr;

/// A user or a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Its number.
    Number(u32),
    /// Its name, to be looked up.
    Name(Box<str>),
}

/// Whose a file is to be: `USER`, `USER:GROUP` or `:GROUP`, each a name or a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The user; `None` to leave it.
    pub user: Option<Account>,
    /// The group; `None` to leave it.
    pub group: Option<Account>,
}

/// Why a text names no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an owner is USER, USER:GROUP or :GROUP, each a name (letters, digits, '.', '_', '-', at most 32) or a number: \"kiosk\", \"kiosk:www-data\", \"1000:1000\""
)]
pub struct OwnerError;

impl Owner {
    /// What [`Owner`] takes, as a regular expression.
    pub const PATTERN: &str = r"^([A-Za-z0-9_][A-Za-z0-9._-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9._-]{0,31})?|:[A-Za-z0-9_][A-Za-z0-9._-]{0,31})$";
}

/// The longest line of `/etc/passwd` and `/etc/group` that is read whole: a group may have thousands of members.
const LINE: u64 = 1024 * 1024;
/// The most lines that are looked at.
const LINES: usize = 1_000_000;

/// Where the numbers of names stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accounts {
    /// `/etc/passwd`.
    Users,
    /// `/etc/group`.
    Groups,
}

impl Accounts {
    /// The file.
    pub fn path(self) -> &'static str {
        match self {
            Self::Users => "/etc/passwd",
            Self::Groups => "/etc/group",
        }
    }

    /// The number of an account on this machine; `None` if it has no such name.
    pub fn number(self, account: &Account) -> io::Result<Option<u32>> {
        match account {
            Account::Number(number) => Ok(Some(*number)),
            Account::Name(_) => account.number(&mut BufReader::new(File::open(self.path())?)),
        }
    }
}

impl Account {
    /// Its number, by the text of `/etc/passwd` or of `/etc/group`; `None` if that has no such name.
    ///
    /// Both files have the name first and the number third (passwd(5), group(5)). The file is read, and not the system's
    /// name service asked: a static program can't load its modules.
    pub fn number(&self, table: &mut dyn BufRead) -> io::Result<Option<u32>> {
        let name = match self {
            Self::Number(number) => return Ok(Some(*number)),
            Self::Name(name) => name.as_bytes(),
        };
        let mut line = Vec::new();
        for _ in 0..LINES {
            line.clear();
            if table.take(LINE).read_until(b'\n', &mut line)? == 0 {
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
            // The greatest number means "leave it" to the kernel (chown(2)).
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

impl serde::Serialize for Owner {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Owner {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

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
    fn owners_print_as_they_are_written() {
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
    fn names_are_found_by_their_whole_first_field() {
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
            "the last line need not end"
        );
    }

    #[test]
    fn a_long_line_hides_no_other() {
        let table = format!("big:x:1:{}\nsmall:x:2:\n", "member,".repeat(300_000));
        assert_eq!(number("small", &table), Some(2));
        assert_eq!(number("big", &table), Some(1));
    }
}
