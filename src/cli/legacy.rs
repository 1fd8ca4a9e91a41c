//! What commands do by the ancestors' wires, and how their files become a config.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use super::context::Context;
use super::exit::{self, Failure, note};
use super::ini::{Ini, MAX_BYTES};
use super::output::{Format, Output};
use super::table::{Emphasis, Table, or_dash, printable};
use crate::api::view::PydiscoverFoundView;
use crate::config::DynipServer;
use crate::model::{Labels, Role};

/// `discover --compat pydiscover`: prints each answer as it comes.
pub(super) fn discover(
    window: Duration,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    note("note: PyDiscover proves nothing: anyone on this network can give these answers");
    let mut any = false;
    let mut printed = Ok(());
    context
        .network()?
        .discover_pydiscover(window, &mut |found| {
            any |= found.info.is_some();
            printed = print(&found, output);
            if printed.is_ok() {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
    printed?;
    if !any {
        return Err(Failure::NothingFound(format!(
            "no PyDiscover server answered within {window:?}"
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &PydiscoverFoundView, output: &mut Output<'_>) -> Result<(), Failure> {
    match (output.format(), &found.info) {
        (Format::Json, _) => output.json(found)?,
        (_, Some(info)) => {
            let pairs: Vec<_> = info
                .iter()
                .map(|(key, value)| printable(&format!("{key}={value}")))
                .collect();
            output.line(format_args!("{}\t{}", found.source, pairs.join(" ")))?;
        }
        (_, None) => {
            let reason = printable(found.refused.as_deref().unwrap_or("without a reason"));
            note(format_args!("{} refused: {reason}", found.source));
        }
    }
    output.flush()
}

/// `announce --compat dynip`: tells each server once.
pub(super) fn announce(
    servers: &[DynipServer],
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let told = context.network()?.announce_dynip(&servers)?;
    if told.is_empty() {
        return Err(Failure::Usage(
            "no DynIP server is known: give --to SERVER, or name one in publish: [{ type: dynip, server: … }]"
                .to_owned(),
        )
        .into());
    }
    let mut table = Table::new(&["SERVER", "SENT", "ERROR"]);
    for view in &told {
        match (output.format(), &view.error) {
            (Format::Json, _) => output.json(view)?,
            (Format::Plain, None) => output.line(&view.server)?,
            (Format::Plain, Some(error)) => note(format_args!("{}: {error}", view.server)),
            (Format::Table, error) => {
                let emphasis = if error.is_none() {
                    Emphasis::Normal
                } else {
                    Emphasis::Bad
                };
                let sent = if error.is_none() {
                    "yes, unacknowledged"
                } else {
                    "no"
                };
                table.row(
                    emphasis,
                    [
                        view.server.clone(),
                        sent.to_owned(),
                        or_dash(error.as_ref()),
                    ],
                );
            }
        }
    }
    output.table(&table)?;
    let any = told.iter().any(|view| view.error.is_none());
    Ok(ExitCode::from(if any { 0 } else { exit::FAILED }))
}

/// What an ancestor's file says, as sections of a config.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    /// The role that it had; `None` leaves it to the command.
    pub(super) role: Option<Role>,
    /// Sections by name, each as lines of YAML that begin with `NAME:`.
    pub(super) sections: BTreeMap<&'static str, String>,
    /// DynIP's file of records, which is to be kept before anything writes over it.
    pub(super) records: Option<PathBuf>,
    /// What an operator should know.
    pub(super) notes: Vec<String>,
}

/// A text as YAML takes it, whatever is in it.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::String(text.replace("${", "$${")).to_string()
}

/// Reads a file of an ancestor, within a limit.
pub(super) fn read(path: &Path, limit: usize) -> anyhow::Result<Vec<u8>> {
    let cannot = || format!("{} can't be read", path.display());
    let file = std::fs::File::open(path).with_context(cannot)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1)
        .read_to_end(&mut bytes)
        .with_context(cannot)?;
    if bytes.len() > limit {
        return Err(anyhow!("{} has more than {limit} bytes", path.display()));
    }
    Ok(bytes)
}

fn ini(path: &Path) -> anyhow::Result<Ini> {
    let text = String::from_utf8(read(path, MAX_BYTES)?)
        .map_err(|_| anyhow!("{} is not UTF-8 text", path.display()))?;
    Ini::parse(&text).with_context(|| format!("{} is not an INI file", path.display()))
}

/// PyDiscover's file: its `[DEFAULT]` section becomes `info`.
pub(super) fn from_pydiscover(path: &Path) -> anyhow::Result<Inherited> {
    let ini = ini(path)?;
    let pairs = ini
        .section("DEFAULT")
        .ok_or_else(|| anyhow!("{} has no [DEFAULT] section", path.display()))?;
    let labels = Labels::new(
        pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    );
    labels.with_context(|| format!("{} can't be given to PyDiscover's clients", path.display()))?;
    let lines = pairs
        .iter()
        .map(|(key, value)| format!("  {}: {}\n", quoted(key), quoted(value)));
    let info = if pairs.is_empty() {
        "info: {}\n".to_owned()
    } else {
        format!("info:\n{}", lines.collect::<String>())
    };
    let compat = "compat:\n  # As pydiscover-server's flags -p, -m, --password and --disable-hidden said; these are its defaults.\n  \
                  pydiscover: { port: 50000, magic: fna349fn, password_file: null, hidden: true }\n";
    let notes = vec![
        "PyDiscover's port, magic and password were flags of its command: set them in compat.pydiscover".to_owned(),
        "with a password, PyDiscover uses one key stream for all datagrams and no tag: it hides little, see docs/reference/legacy-protocols.md"
            .to_owned(),
    ];
    let sections = BTreeMap::from([("info", info), ("compat", compat.to_owned())]);
    Ok(Inherited {
        role: None,
        sections,
        records: None,
        notes,
    })
}

/// DynIP's file: its server becomes `compat.dynip` and the export, its client a target of `publish`.
pub(super) fn from_dynip(path: &Path) -> anyhow::Result<Inherited> {
    let ini = ini(path)?;
    let (server, client) = (ini.section("DynIP:Server"), ini.section("DynIP:Client"));
    if server.is_none() && client.is_none() {
        return Err(anyhow!(
            "{} has neither a [DynIP:Server] nor a [DynIP:Client] section",
            path.display()
        ));
    }
    let mut inherited = Inherited {
        role: server.is_none().then_some(Role::Client),
        ..Inherited::default()
    };
    if let Some(server) = server {
        let port = port(server, path, "DynIP:Server")?;
        inherited.sections.insert(
            "compat",
            format!("compat:\n  dynip: {{ port: {port}, lease: 1h }}\n"),
        );
        let log = server
            .get("client_log_path")
            .map_or("dynip.json", String::as_str);
        // DynIP took it relative to where it was started, which nobody wrote down: its own directory is the best guess.
        let log = std::path::absolute(path.parent().unwrap_or(Path::new("")).join(log))?;
        let export = quoted(&log.display().to_string());
        let registry = format!(
            "registry:\n  export: {{ path: {export}, format: dynip }}   # DynIP's own file, as before\n"
        );
        inherited.sections.insert("registry", registry);
        if let Some(address) = server.get("server_ip").filter(|address| *address != "*") {
            let told = format!(
                "DynIP listened on {} alone; hereabouts listens on every address: see listen",
                printable(address)
            );
            inherited.notes.push(told);
        }
        inherited.records = Some(log);
    }
    if let Some(client) = client {
        let host = client
            .get("server_hostname")
            .map_or("localhost", String::as_str);
        let target = format!("{host}:{}", port(client, path, "DynIP:Client")?);
        let target: DynipServer = target.parse().map_err(|error| {
            anyhow!(
                "{}: server_hostname of [DynIP:Client] can't be used: {error}",
                path.display()
            )
        })?;
        if server.is_some() && matches!(host, "localhost" | "127.0.0.1" | "::1") {
            inherited.notes.push(
                "[DynIP:Client] tells the server on this machine, which knows itself: left out"
                    .to_owned(),
            );
        } else {
            let target = quoted(&target.to_string());
            let publish = format!(
                "publish:\n  - {{ type: server }}\n  - {{ type: dynip, server: {target} }}\n"
            );
            inherited.sections.insert("publish", publish);
        }
    }
    Ok(inherited)
}

fn port(section: &BTreeMap<String, String>, path: &Path, name: &str) -> anyhow::Result<u16> {
    let Some(text) = section.get("server_port") else {
        return Ok(DynipServer::PORT);
    };
    let port = text.parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| {
        anyhow!(
            "{}: server_port of [{name}] is no port from 1 to 65535",
            path.display()
        )
    })
}
