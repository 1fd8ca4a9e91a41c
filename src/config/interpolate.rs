//! Replaces `${VAR}` and `${VAR:-default}` in texts by environment variables. Pure.
//!
//! A value is never expanded again, and all texts of a file share one budget of bytes, so no
//! environment can make a configuration grow without limit.

use super::environment::Environment;

/// Why the variables of a text can't be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ExpandError {
    #[error("the environment variable {name} is not set: set it, or write ${{{name}:-default}}")]
    Unset { name: String },
    #[error("\"${{\" has no closing \"}}\": write \"$${{\" for a literal \"${{\"")]
    Open,
    #[error(
        "{name:?} is not the name of an environment variable: write \"$${{\" for a literal \"${{\""
    )]
    Name { name: String },
    #[error("the configuration is longer than {limit} bytes with its environment variables: shorten their values", limit = super::place::MAX_BYTES)]
    TooLong,
}

/// A text whose variables were replaced, and the names of the variables.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    pub(super) variables: Vec<String>,
}

/// Replaces each `${VAR}` once. `budget` is the number of bytes that all texts of the file may
/// still have.
pub(super) fn expand(
    text: &str,
    environment: &dyn Environment,
    budget: &mut usize,
) -> Result<Expanded, ExpandError> {
    let mut out = Expanded::default();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            push(&mut out.text, before, budget)?;
            push(&mut out.text, "${", budget)?;
            rest = &from[2..];
            continue;
        }
        push(&mut out.text, before, budget)?;
        let (inner, after) = from[2..].split_once('}').ok_or(ExpandError::Open)?;
        let (name, default) = inner
            .split_once(":-")
            .map_or((inner, None), |(name, default)| (name, Some(default)));
        if !is_variable_name(name) {
            return Err(ExpandError::Name {
                name: name.chars().take(40).collect(),
            });
        }
        // As in a shell, `:-` also replaces an empty value.
        let value = environment
            .variable(name)
            .filter(|value| default.is_none() || !value.is_empty());
        // Shells set HOSTNAME but rarely export it.
        let value = value.or_else(|| {
            if name == "HOSTNAME" {
                environment.host_name()
            } else {
                None
            }
        });
        match value.as_deref().or(default) {
            Some(value) => push(&mut out.text, value, budget)?,
            None => return Err(ExpandError::Unset { name: name.into() }),
        }
        out.variables.push(name.into());
        rest = after;
    }
    push(&mut out.text, rest, budget)?;
    Ok(out)
}

fn push(out: &mut String, text: &str, budget: &mut usize) -> Result<(), ExpandError> {
    *budget = budget.checked_sub(text.len()).ok_or(ExpandError::TooLong)?;
    out.push_str(text);
    Ok(())
}

fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;

    impl Environment for Fixed {
        fn variable(&self, name: &str) -> Option<String> {
            match name {
                "SITE" => Some("home".into()),
                "EMPTY" => Some(String::new()),
                "TRICK" => Some("${SITE}\nrole: server".into()),
                "LONG" => Some("x".repeat(1000)),
                _ => None,
            }
        }

        fn host_name(&self) -> Option<String> {
            Some("kiosk".into())
        }

        fn is_root(&self) -> bool {
            false
        }
    }

    fn expanded(text: &str) -> Result<String, ExpandError> {
        expand(text, &Fixed, &mut 4096).map(|expanded| expanded.text)
    }

    #[test]
    fn variables_and_defaults_are_expanded() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${SITE}", "home"),
            ("a-${SITE}-${NONE:-b}", "a-home-b"),
            ("${EMPTY:-x}${EMPTY}", "x"),
            ("${NONE:-}", ""),
            ("${HOSTNAME}", "kiosk"),
            ("$${SITE}", "${SITE}"),
            ("$$${SITE}", "$${SITE}"),
            ("$SITE $ {", "$SITE $ {"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn value_is_not_expanded_again() {
        assert_eq!(expanded("${TRICK}").as_deref(), Ok("${SITE}\nrole: server"));
    }

    #[test]
    fn unset_or_unclosed_variable_is_an_error() {
        assert_eq!(
            expanded("${NONE}"),
            Err(ExpandError::Unset {
                name: "NONE".into()
            })
        );
        assert_eq!(expanded("${SITE"), Err(ExpandError::Open));
        assert_eq!(
            expanded("${1X}"),
            Err(ExpandError::Name { name: "1X".into() })
        );
        assert_eq!(
            expanded("${}"),
            Err(ExpandError::Name {
                name: String::new()
            })
        );
    }

    #[test]
    fn expansion_stops_at_its_budget() {
        assert_eq!(expanded(&"${LONG}".repeat(5)), Err(ExpandError::TooLong));
    }
}
