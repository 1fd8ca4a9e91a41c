//! The registry as a file for other programs, written whole or not at all.
//!
//! [`Export::begin`] opens a file beside the target. [`Export::push`] adds one node.
//! [`Export::finish`] syncs the file, renames it over the target and syncs the directory. Nodes
//! pass through a buffer, so the export of a large registry needs little memory. The caller decides
//! how often to export, and may push nodes in portions with [`super::Table::nodes`] and its cursor.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Filter, NodeRef, Table};
use crate::durable::Replacement;
use crate::model::{
    ExportFormat, Labels, NodeId, NodeName, Origin, Protocol, Scope, State, Timestamp,
};

/// The version of the `hereabouts` format: one JSON object with `version`, `generated`, and `nodes` in
/// the order of their names. Times are RFC 3339 in UTC.
const VERSION: u32 = 1;

#[derive(Debug, thiserror::Error)]
#[error("write {}: {source}; the directory must exist and be writable; the previous file is unchanged", path.display())]
pub struct ExportError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// An export file that is being written.
#[derive(Debug)]
pub struct Export {
    target: PathBuf,
    replacement: Replacement,
    out: BufWriter<File>,
    format: ExportFormat,
    zone: jiff::tz::TimeZone,
    first: bool,
}

/// Exports all nodes of a table whose name is bound to them.
pub fn write(
    path: &Path,
    format: ExportFormat,
    generated: Timestamp,
    table: &Table,
) -> Result<(), ExportError> {
    let mut export = Export::begin(path, format, generated)?;
    for node in table.nodes(Filter::ALL, None) {
        export.push(node)?;
    }
    export.finish()
}

#[derive(Serialize)]
struct Node<'a> {
    name: &'a NodeName,
    id: NodeId,
    state: State,
    protocol: Protocol,
    addresses: Vec<Address>,
    source: SocketAddr,
    last_seen: Timestamp,
    labels: &'a Labels,
}

#[derive(Serialize)]
struct Address {
    ip: IpAddr,
    interface: Option<crate::model::InterfaceName>,
    scope: Scope,
    origin: Origin,
}

impl Export {
    /// Opens a file beside `path`, in the same directory.
    pub fn begin(
        path: &Path,
        format: ExportFormat,
        generated: Timestamp,
    ) -> Result<Self, ExportError> {
        let begun = Replacement::begin(path, 0o644);
        let (replacement, file) = begun.map_err(|source| ExportError {
            path: path.to_owned(),
            source,
        })?;
        let mut export = Self {
            target: path.to_owned(),
            replacement,
            out: BufWriter::new(file),
            format,
            zone: jiff::tz::TimeZone::system(),
            first: true,
        };
        match format {
            ExportFormat::Hereabouts => {
                export.text(&format!(
                    "{{\"version\":{VERSION},\"generated\":\"{generated}\",\"nodes\":["
                ))?;
            }
            ExportFormat::Dynip => export.text("{")?,
        }
        Ok(export)
    }

    /// Adds a node.
    pub fn push(&mut self, node: NodeRef<'_>) -> Result<(), ExportError> {
        match self.format {
            ExportFormat::Hereabouts => {
                self.separate()?;
                self.push_hereabouts(node)
            }
            ExportFormat::Dynip => match dynip_address(node) {
                Some(address) => {
                    self.separate()?;
                    self.push_dynip(node, address)
                }
                None => Ok(()),
            },
        }
    }

    fn separate(&mut self) -> Result<(), ExportError> {
        let separator = match (std::mem::take(&mut self.first), self.format) {
            (true, ExportFormat::Hereabouts) => "\n",
            (true, ExportFormat::Dynip) => "",
            (false, ExportFormat::Hereabouts) => ",\n",
            (false, ExportFormat::Dynip) => ", ",
        };
        self.text(separator)
    }

    fn push_hereabouts(&mut self, node: NodeRef<'_>) -> Result<(), ExportError> {
        let record = node.record();
        let addresses = record.addresses.iter().map(|address| Address {
            ip: address.ip,
            interface: address.interface,
            scope: address.scope(),
            origin: address.origin,
        });
        let line = Node {
            name: node.name(),
            id: node.id(),
            state: node.state(),
            protocol: node.protocol(),
            addresses: addresses.collect(),
            source: node.source(),
            last_seen: node.last_seen(),
            labels: &record.labels,
        };
        let text = serde_json::to_string(&line).map_err(|error| self.error(error.into()))?;
        self.text(&text)
    }

    /// Adds a node as DynIP's server wrote it, with the time of the last message in local time.
    fn push_dynip(&mut self, node: NodeRef<'_>, address: IpAddr) -> Result<(), ExportError> {
        // A node name has letters, digits, '-', '_' and '.' only: no character that JSON escapes.
        let time = local_time(node.last_seen(), &self.zone);
        self.text(&format!("\"{}\": [\"{address}\", \"{time}\"]", node.name()))
    }

    /// Syncs the file and replaces the target by it.
    pub fn finish(mut self) -> Result<(), ExportError> {
        match self.format {
            ExportFormat::Hereabouts => self.text("\n]}\n")?,
            ExportFormat::Dynip => self.text("}")?,
        }
        let Self {
            target,
            replacement,
            out,
            ..
        } = self;
        let written = out.into_inner().map_err(io::IntoInnerError::into_error);
        written
            .and_then(|file| replacement.commit(&file))
            .map_err(|source| ExportError {
                path: target,
                source,
            })
    }

    fn text(&mut self, text: &str) -> Result<(), ExportError> {
        let written = self.out.write_all(text.as_bytes());
        written.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> ExportError {
        ExportError {
            path: self.target.clone(),
            source,
        }
    }
}

/// The address of a node that a program without knowledge of zones can use.
fn dynip_address(node: NodeRef<'_>) -> Option<IpAddr> {
    let source = node.source().ip();
    if !is_zoned(source) {
        return Some(source);
    }
    let announced = node.record().addresses;
    let usable = announced
        .iter()
        .map(|address| address.ip)
        .filter(|ip| !is_zoned(*ip) && Scope::of(*ip) != Scope::Loopback);
    // DynIP knew IPv4 alone. Of one family, the node's own order counts.
    usable.min_by_key(IpAddr::is_ipv6)
}

/// Whether an address means nothing without a zone (RFC 4007).
fn is_zoned(ip: IpAddr) -> bool {
    ip.is_ipv6() && Scope::of(ip) == Scope::Link
}

/// Formats a time as `2013-02-01 10:00:00.123456`, as Python's `str(datetime.now())` does.
fn local_time(time: Timestamp, zone: &jiff::tz::TimeZone) -> String {
    let millis = i64::try_from(time.0.min(Timestamp::MAX.0)).unwrap_or(0);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M:%S%.6f")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::fixture;

    #[test]
    fn dynip_time_has_six_digits_and_no_zone() {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(
            local_time(Timestamp(1_359_712_800_120), &zone),
            "2013-02-01 12:00:00.120000"
        );
    }

    #[test]
    fn export_replaces_the_target_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        std::fs::write(&path, "old").unwrap();
        let mut table = Table::new(Default::default());
        for index in 0..3 {
            table.register(fixture::now(1), fixture::registration(index, 1, 1));
        }
        write(&path, ExportFormat::Hereabouts, Timestamp(0), &table).unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["nodes"].as_array().unwrap().len(), 3);
        assert_eq!(value["nodes"][1]["name"], "node-1");
        assert_eq!(value["nodes"][1]["addresses"][0]["ip"], "10.0.0.1");
        assert_eq!(value["nodes"][1]["addresses"][0]["scope"], "private");
        assert_eq!(value["nodes"][1]["state"], "present");
        assert_eq!(value["nodes"][1]["protocol"], "hereabouts");
        assert_eq!(value["nodes"][1]["labels"]["site"], "home");
        write(&path, ExportFormat::Dynip, Timestamp(0), &table).unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["node-2"][0], "10.0.0.2");
        assert_eq!(value["node-2"][1].as_str().unwrap().len(), 26);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn dynip_export_shows_no_link_local_address_for_a_node_that_was_heard_from_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dynip.json");
        let mut table = Table::new(Default::default());
        let link_local: SocketAddr = "[fe80::7%2]:24373".parse().unwrap();
        let announced: [&[&str]; 4] = [
            &["fe80::7", "2001:db8::7", "10.0.0.7"],
            &["fe80::7", "fd00::7"],
            &["fe80::7", "::1"],
            &[],
        ];
        for (addresses, index) in announced.into_iter().zip(0..) {
            let mut registration = fixture::changed(index, 1, 1, |record| {
                let own = record.addresses[0].clone();
                let addresses = addresses.iter().map(|ip| crate::model::Address {
                    ip: ip.parse().unwrap(),
                    ..own.clone()
                });
                record.addresses = addresses.collect();
            });
            registration.source = link_local;
            table.register(fixture::now(1), registration);
        }
        table.register(fixture::now(1), fixture::registration(9, 1, 1));
        write(&path, ExportFormat::Dynip, Timestamp(0), &table).unwrap();
        let value: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["node-0"][0], "10.0.0.7");
        assert_eq!(value["node-1"][0], "fd00::7");
        assert_eq!(value["node-9"][0], "10.0.0.9");
        assert_eq!(value.as_object().unwrap().len(), 3, "{value}");
    }

    #[test]
    fn abandoned_export_leaves_the_target_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        std::fs::write(&path, "old").unwrap();
        drop(Export::begin(&path, ExportFormat::Dynip, Timestamp(0)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn export_of_an_empty_table_is_valid() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes.json");
        for format in [ExportFormat::Hereabouts, ExportFormat::Dynip] {
            write(&path, format, Timestamp(0), &Table::new(Default::default())).unwrap();
            serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path).unwrap()).unwrap();
        }
    }
}
