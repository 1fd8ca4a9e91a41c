//! Converts the INI files of PyDiscover and DynIP into sections of a configuration.
//!
//! A legacy file goes in; [`Converted`] comes out: YAML text for sections, and notes for the
//! operator. Nothing is written here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::ini::{Ini, MAX_BYTES};
use crate::cli::legacy::read;
use crate::cli::table::printable;
use crate::config::DynipServer;
use crate::model::{Labels, Role};

/// The content of a legacy file, as sections of a configuration.
#[derive(Debug, Default)]
pub(super) struct Converted {
    /// The role of the legacy program; `None` leaves the role to the command.
    pub(super) role: Option<Role>,
    /// Sections by name, each as lines of YAML that begin with `NAME:`.
    pub(super) sections: BTreeMap<&'static str, String>,
    /// DynIP's file of records, which must be copied before a server writes over it.
    pub(super) records: Option<PathBuf>,
    /// Facts that an operator should know.
    pub(super) notes: Vec<String>,
}

/// Any text as a YAML string, in which nothing is interpolated.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::String(text.replace("${", "$${")).to_string()
}

fn read_ini(path: &Path) -> anyhow::Result<Ini> {
    let text = String::from_utf8(read(path, MAX_BYTES)?)
        .map_err(|_| anyhow!("{} is not UTF-8 text", path.display()))?;
    Ini::parse(&text).with_context(|| format!("{} is not an INI file", path.display()))
}

/// Converts PyDiscover's file: its `[DEFAULT]` section becomes `info`.
pub(super) fn from_pydiscover(path: &Path) -> anyhow::Result<Converted> {
    let ini = read_ini(path)?;
    let pairs = ini
        .section("DEFAULT")
        .ok_or_else(|| anyhow!("{} has no [DEFAULT] section", path.display()))?;
    Labels::new(
        pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str())),
    )
    .with_context(|| format!("{} can't be given to PyDiscover's clients", path.display()))?;
    let info = if pairs.is_empty() {
        "info: {}\n".to_owned()
    } else {
        let lines: String = pairs
            .iter()
            .map(|(key, value)| format!("  {}: {}\n", quoted(key), quoted(value)))
            .collect();
        format!("info:\n{lines}")
    };
    let compat = "compat:\n  # As pydiscover-server's flags -p, -m, --password and --disable-hidden set them; these are its defaults.\n  \
                  pydiscover: { port: 50000, magic: fna349fn, password_file: null, hidden: true }\n";
    let notes = vec![
        "PyDiscover's port, magic and password were flags of its command: set them in compat.pydiscover".to_owned(),
        "with a password, PyDiscover uses one key stream for all datagrams and no tag: it hides little, see docs/reference/legacy-protocols.md"
            .to_owned(),
    ];
    Ok(Converted {
        role: None,
        sections: BTreeMap::from([("info", info), ("compat", compat.to_owned())]),
        records: None,
        notes,
    })
}

/// Converts DynIP's file: its server becomes `compat.dynip` and the export, its client a target of
/// `publish`.
pub(super) fn from_dynip(path: &Path) -> anyhow::Result<Converted> {
    let ini = read_ini(path)?;
    let server = ini.section("DynIP:Server");
    let client = ini.section("DynIP:Client");
    if server.is_none() && client.is_none() {
        return Err(anyhow!(
            "{} has neither a [DynIP:Server] nor a [DynIP:Client] section",
            path.display()
        ));
    }
    let mut converted = Converted {
        role: server.is_none().then_some(Role::Client),
        ..Converted::default()
    };
    if let Some(server) = server {
        add_dynip_server(&mut converted, server, path)?;
    }
    if let Some(client) = client {
        add_dynip_client(&mut converted, client, path, server.is_some())?;
    }
    Ok(converted)
}

fn add_dynip_server(
    converted: &mut Converted,
    section: &BTreeMap<String, String>,
    path: &Path,
) -> anyhow::Result<()> {
    let port = port(section, path, "DynIP:Server")?;
    converted.sections.insert(
        "compat",
        format!("compat:\n  dynip: {{ port: {port}, lease: 1h }}\n"),
    );
    let log = section
        .get("client_log_path")
        .map_or("dynip.json", String::as_str);
    // DynIP resolved the path where it was started, which no file records: the directory of the INI
    // file is the best guess.
    let log = std::path::absolute(path.parent().unwrap_or(Path::new("")).join(log))?;
    let export = quoted(&log.display().to_string());
    converted.sections.insert(
        "registry",
        format!(
            "registry:\n  export: {{ path: {export}, format: dynip }}   # DynIP's own file, as before\n"
        ),
    );
    if let Some(address) = section.get("server_ip").filter(|address| *address != "*") {
        converted.notes.push(format!(
            "DynIP listened on {} alone; hereabouts listens on every address: see listen",
            printable(address)
        ));
    }
    converted.records = Some(log);
    Ok(())
}

fn add_dynip_client(
    converted: &mut Converted,
    section: &BTreeMap<String, String>,
    path: &Path,
    with_server: bool,
) -> anyhow::Result<()> {
    let host = section
        .get("server_hostname")
        .map_or("localhost", String::as_str);
    let target = format!("{host}:{}", port(section, path, "DynIP:Client")?);
    let target: DynipServer = target.parse().map_err(|error| {
        anyhow!(
            "{}: server_hostname of [DynIP:Client] can't be used: {error}",
            path.display()
        )
    })?;
    if with_server && matches!(host, "localhost" | "127.0.0.1" | "::1") {
        converted.notes.push(
            "[DynIP:Client] is not converted: it names the server of this machine, which knows its own name"
                .to_owned(),
        );
        return Ok(());
    }
    let target = quoted(&target.to_string());
    converted.sections.insert(
        "publish",
        format!("publish:\n  - {{ type: server }}\n  - {{ type: dynip, server: {target} }}\n"),
    );
    Ok(())
}

fn port(section: &BTreeMap<String, String>, path: &Path, name: &str) -> anyhow::Result<u16> {
    let Some(text) = section.get("server_port") else {
        return Ok(DynipServer::PORT);
    };
    let port = text.parse::<u16>().ok().filter(|port| *port != 0);
    port.ok_or_else(|| {
        anyhow!(
            "{}: server_port of [{name}] is not a port from 1 to 65535",
            path.display()
        )
    })
}
