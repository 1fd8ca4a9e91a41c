//! `hereabouts init`
//!
//! Arguments and, if there is one, a legacy file go in; a commented configuration and a key file
//! come out. An existing file is never overwritten.

mod convert;
mod ini;

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use zeroize::Zeroizing;

use super::exit::note;
use super::keygen::{random_key, write_key, write_new};
use super::legacy;
use crate::config::{ChannelName, KeySource, SystemEnvironment, decode_key, load};
use crate::model::{NodeName, Role, Secret};
use convert::{Converted, quoted};

/// Every section; a setting that is commented out has its default.
const TEMPLATE: &str = include_str!("template.yaml");

/// Write a commented configuration and its key file
///
/// The configuration explains each setting, and the key file is beside it (hereabouts.key). An
/// existing file is never overwritten. On the first machine, a new key is made. Another machine
/// joins with --key -, which asks for the text in that key file.
///
/// --from-pydiscover and --from-dynip convert the file of a legacy program. The role of a DynIP
/// file that has only a client is client, unless --role says otherwise.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts init
  hereabouts init /etc/hereabouts/hereabouts.yaml --role client --key -
  hereabouts init --from-dynip /etc/dynip.conf")]
pub(super) struct InitArgs {
    /// Write the configuration to this file
    #[arg(value_name = "PATH", default_value = "hereabouts.yaml")]
    path: PathBuf,
    /// The key of the channel to join; - reads it from stdin, where ps does not show it [default: a
    /// new key]
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    key: Option<String>,
    /// Use this existing key file
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What this node runs as: client, server or both [default: both]
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    role: Option<Role>,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    name: Option<NodeName>,
    /// The channel's name
    #[arg(long, value_name = "NAME", default_value = "home")]
    channel: ChannelName,
    /// Convert PyDiscover's INI file: its [DEFAULT] section becomes info
    #[arg(long, value_name = "FILE")]
    from_pydiscover: Option<PathBuf>,
    /// Convert DynIP's INI file: server, client, and a copy of its records for hereabouts import
    #[arg(long, value_name = "FILE", conflicts_with = "from_pydiscover")]
    from_dynip: Option<PathBuf>,
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "client" => Ok(Role::Client),
        "server" => Ok(Role::Server),
        "both" => Ok(Role::Both),
        _ => Err("client, server or both was expected".into()),
    }
}

pub(super) fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    if args.path.exists() {
        return Err(anyhow!(
            "{} exists already and is not changed",
            args.path.display()
        ));
    }
    // Before anything is written, so that a legacy file that can't be read leaves nothing behind.
    let converted = match (&args.from_pydiscover, &args.from_dynip) {
        (Some(path), _) => convert::from_pydiscover(path)?,
        (None, Some(path)) => convert::from_dynip(path)?,
        (None, None) => Converted::default(),
    };
    let key_path = key_path(&args)?;
    let records = copy_records(&args.path, &converted)?;
    let text = text(&args, &key_path, &converted);
    write_new(&args.path, 0o644, text.as_bytes())?;
    // `check` must accept what `init` writes.
    load(&SystemEnvironment, Some(&args.path))?;
    print_next_steps(&args.path, &key_path, records.as_deref(), &converted);
    Ok(ExitCode::SUCCESS)
}

/// The path of the key as the configuration names it; the key file is written unless `--key-file`
/// names one.
fn key_path(args: &InitArgs) -> anyhow::Result<PathBuf> {
    if let Some(path) = &args.key_file {
        let path = std::path::absolute(path)?;
        let Secret::Key(_) = KeySource::File(path.clone()).read()? else {
            return Err(anyhow!("{} contains no key", path.display()));
        };
        return Ok(path);
    }
    let beside = args.path.with_extension("key");
    write_key(&beside, &*key(args.key.as_deref())?)?;
    // Relative to the configuration, so that both can be moved together.
    Ok(beside.file_name().map(PathBuf::from).unwrap_or(beside))
}

fn print_next_steps(path: &Path, key: &Path, records: Option<&Path>, converted: &Converted) {
    for text in &converted.notes {
        note(format_args!("note: {text}"));
    }
    let config = path.display();
    let key = path.parent().unwrap_or(Path::new("")).join(key);
    note(format_args!(
        "{config} is written; its key is in {}.",
        key.display()
    ));
    note(format_args!("Next: hereabouts run --config {config}"));
    if let Some(records) = records {
        note(format_args!(
            "Then, while it runs: hereabouts import --config {config} --dynip {}",
            records.display()
        ));
    }
    note(
        "Another machine joins with 'hereabouts init --key -', which asks for the text in the key file.",
    );
}

/// Copies DynIP's records beside the configuration, because the server overwrites that file as soon
/// as it starts.
fn copy_records(config: &Path, converted: &Converted) -> anyhow::Result<Option<PathBuf>> {
    let Some(records) = converted
        .records
        .as_deref()
        .filter(|records| records.exists())
    else {
        return Ok(None);
    };
    let copy = config.with_extension("dynip.json");
    let bytes = legacy::read(records, super::import::MAX_FILE_BYTES)?;
    write_new(&copy, 0o644, &bytes)?;
    Ok(Some(copy))
}

fn key(given: Option<&str>) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let malformed = "this is not a key: 44 characters of base64 were expected, as hereabouts keygen prints them";
    match given {
        None => random_key(),
        Some("-") => {
            let text = read_key()?;
            decode_key(text.trim()).ok_or_else(|| anyhow!(malformed))
        }
        Some(text) => decode_key(text).ok_or_else(|| anyhow!(malformed)),
    }
}

fn read_key() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        write!(
            std::io::stderr(),
            "The key of the channel (44 characters): "
        )?;
    }
    // One line is enough: at a terminal, few people would think of ending the input.
    stdin
        .lock()
        .take(4096)
        .read_line(&mut text)
        .context("the key can't be read from stdin")?;
    Ok(text)
}

fn text(args: &InitArgs, key: &Path, converted: &Converted) -> String {
    let name = match &args.name {
        Some(name) => format!("  name: {}", quoted(name.as_str())),
        None => "  # name: kiosk                  # default: the host's name".into(),
    };
    let role = args.role.or(converted.role).unwrap_or(Role::Both);
    let mut template = TEMPLATE.to_owned();
    for (name, section) in &converted.sections {
        template = replace_section(&template, name, section);
    }
    template
        .replace("{role}", &role.to_string())
        .replace("{name}", &name)
        .replace("{channel}", &quoted(args.channel.as_str()))
        .replace("{key}", &quoted(&key.display().to_string()))
}

/// Puts a section in the place of the one that is commented out.
fn replace_section(template: &str, name: &str, section: &str) -> String {
    let head = format!("# {name}:");
    let mut text = String::new();
    let mut in_section = false;
    for line in template.split_inclusive('\n') {
        if line.starts_with(&head) {
            text.push_str(section);
            in_section = true;
        } else if !(in_section && line.starts_with("#   ")) {
            in_section = false;
            text.push_str(line);
        }
    }
    text
}

#[cfg(test)]
mod tests;
