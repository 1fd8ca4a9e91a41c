//! The INI files of legacy programs, as Python's `configparser` reads them. Pure.

use std::collections::BTreeMap;

/// The longest file: those of the legacy programs have some hundred bytes.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// A file: sections by name, each with its values by key, keys in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ini(BTreeMap<String, Section>);

type Section = BTreeMap<String, String>;

/// Why a text is not an INI file. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum IniError {
    #[error("line {line}: a [section] or a key = value was expected")]
    Line { line: usize },
    #[error("line {line}: a [section] must come before the first value")]
    NoSection { line: usize },
    #[error(
        "line {line}: '%' refers to another value here: write that value instead, or %% for a plain %"
    )]
    Interpolation { line: usize },
}

/// Where a continuation line belongs: the section and the key of the lines before it.
#[derive(Default)]
struct Parser {
    sections: BTreeMap<String, Section>,
    section: Option<String>,
    key: Option<String>,
}

impl Ini {
    pub(super) fn parse(text: &str) -> Result<Self, IniError> {
        let mut parser = Parser::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, number) in text.lines().zip(1..) {
            parser.line(line, number)?;
        }
        Ok(Self(parser.sections))
    }

    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.0.get(name)
    }
}

impl Parser {
    fn line(&mut self, line: &str, number: usize) -> Result<(), IniError> {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return Ok(());
        }
        if line.starts_with([' ', '\t'])
            && let Some(key) = self.key.clone()
            && let Some(section) = self.current_section()
        {
            let value = section.entry(key).or_default();
            value.push('\n');
            value.push_str(&plain(trimmed, number)?);
            return Ok(());
        }
        if let Some((name, _)) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            self.sections.entry(name.to_owned()).or_default();
            self.section = Some(name.to_owned());
            self.key = None;
            return Ok(());
        }
        let (key, value) = trimmed
            .split_once(['=', ':'])
            .ok_or(IniError::Line { line: number })?;
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            return Err(IniError::Line { line: number });
        }
        let section = self
            .current_section()
            .ok_or(IniError::NoSection { line: number })?;
        section.insert(key.clone(), plain(value.trim(), number)?);
        self.key = Some(key);
        Ok(())
    }

    fn current_section(&mut self) -> Option<&mut Section> {
        self.sections.get_mut(self.section.as_ref()?)
    }
}

fn plain(value: &str, line: usize) -> Result<String, IniError> {
    let unescaped = value.replace("%%", "\0");
    if unescaped.contains('%') {
        Err(IniError::Interpolation { line })
    } else {
        Ok(unescaped.replace('\0', "%"))
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
    fn malformed_line_is_reported_with_its_number() {
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
        fn parse_never_panics(text in "\\PC{0,20}(\n[ \\[\\]a-z=:%#]{0,12}){0,8}") {
            let _ = Ini::parse(&text);
        }
    }
}
