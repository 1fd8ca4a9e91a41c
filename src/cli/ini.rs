//! The INI files of the ancestors, as Python's `configparser` reads them. Pure.

use std::collections::BTreeMap;

/// The most bytes of a file: those of the ancestors have some hundreds.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// A file: sections by name, each with its values by key, keys in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ini(BTreeMap<String, BTreeMap<String, String>>);

/// Why a text is no such file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IniError {
    /// A line that is neither section, value, continuation nor comment.
    #[error("line {line}: a [section] or a key = value was expected")]
    Line {
        /// Its number, from 1.
        line: usize,
    },
    /// A value before any section.
    #[error("line {line}: a [section] has to stand before the first value")]
    NoSection {
        /// Its number, from 1.
        line: usize,
    },
    /// A value that takes in another, which is not followed here.
    #[error(
        "line {line}: '%' stands for another value here: write the value out, or %% for a plain one"
    )]
    Interpolation {
        /// Its number, from 1.
        line: usize,
    },
}

impl Ini {
    /// Parses a text.
    pub(super) fn parse(text: &str) -> Result<Self, IniError> {
        let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        let mut section: Option<String> = None;
        let mut key: Option<String> = None;
        for (number, line) in text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .lines()
            .enumerate()
        {
            let line_number = number + 1;
            let trimmed = line.trim();
            if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
                continue;
            }
            let values = section
                .as_ref()
                .and_then(|section| sections.get_mut(section));
            if line.starts_with([' ', '\t'])
                && let (Some(values), Some(key)) = (values, &key)
            {
                let value = values.entry(key.clone()).or_default();
                value.push('\n');
                value.push_str(&plain(trimmed, line_number)?);
                continue;
            }
            if let Some(name) = trimmed
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .map(|(name, _)| name)
            {
                sections.entry(name.to_owned()).or_default();
                (section, key) = (Some(name.to_owned()), None);
                continue;
            }
            let (name, value) = trimmed
                .split_once(['=', ':'])
                .ok_or(IniError::Line { line: line_number })?;
            let name = name.trim().to_lowercase();
            if name.is_empty() {
                return Err(IniError::Line { line: line_number });
            }
            let values = section
                .as_ref()
                .and_then(|section| sections.get_mut(section));
            let values = values.ok_or(IniError::NoSection { line: line_number })?;
            values.insert(name.clone(), plain(value.trim(), line_number)?);
            key = Some(name);
        }
        Ok(Self(sections))
    }

    /// A section, if it is there.
    pub(super) fn section(&self, name: &str) -> Option<&BTreeMap<String, String>> {
        self.0.get(name)
    }
}

fn plain(value: &str, line: usize) -> Result<String, IniError> {
    let doubled = value.replace("%%", "\0");
    if doubled.contains('%') {
        Err(IniError::Interpolation { line })
    } else {
        Ok(doubled.replace('\0', "%"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_configparser_does() {
        let text = "# note\n[DEFAULT]\nServices = 10.0.0.1\nlong: one\n  two\n; note\nempty =\nrate = 5%%\n\n[Other]\na=b=c\n";
        let ini = Ini::parse(text).unwrap();
        let pairs = |name: &str| {
            ini.section(name)
                .unwrap()
                .clone()
                .into_iter()
                .collect::<Vec<_>>()
        };
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        let expected = owned(&[
            ("empty", ""),
            ("long", "one\ntwo"),
            ("rate", "5%"),
            ("services", "10.0.0.1"),
        ]);
        assert_eq!(pairs("DEFAULT"), expected);
        assert_eq!(pairs("Other"), owned(&[("a", "b=c")]));
        assert_eq!(ini.section("default"), None);
    }

    #[test]
    fn what_is_no_ini_is_told_with_its_line() {
        assert_eq!(Ini::parse("a = 1"), Err(IniError::NoSection { line: 1 }));
        assert_eq!(
            Ini::parse("[x]\njust words"),
            Err(IniError::Line { line: 2 })
        );
        assert_eq!(Ini::parse("[x]\n= 1"), Err(IniError::Line { line: 2 }));
        assert_eq!(
            Ini::parse("[x]\na = %(b)s"),
            Err(IniError::Interpolation { line: 2 })
        );
    }

    proptest! {
        #[test]
        fn parse_no_panic(text in "\\PC{0,20}(\n[ \\[\\]a-z=:%#]{0,12}){0,8}") {
            let _ = Ini::parse(&text);
        }
    }
}
