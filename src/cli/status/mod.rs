//! `hereabouts status`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, unexpected};
use super::exit::Failure;
use super::output::{Format, Output};
use super::table::{Emphasis, Table, ago, labels, or_dash, printable, rough};
use super::time;
use crate::api::request::{Item, Request};
use crate::api::view::{MethodState, PublicationState, StatusView};
use crate::model::Timestamp;

/// Show this machine's node: sockets, methods, interfaces, servers, registry, counters
///
/// Says of each discovery method why it failed, and of each interface which rule took or left it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts status
  hereabouts status --output json | jq .counters.dropped")]
pub(super) struct StatusArgs {}

pub(super) fn run(
    StatusArgs {}: &StatusArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let items = context.local_items(&Request::Status, LOCAL_LIMIT)??;
    match items.into_iter().next() {
        Some(Item::Status(status)) => match output.format() {
            Format::Json => output.json(&status)?,
            Format::Plain | Format::Table => print(&status, time::now(), output)?,
        },
        Some(item) => return Err(unexpected(&item)),
        None => anyhow::bail!("the node did not say how it is"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a status in sections; one that has nothing to tell is left out.
pub(super) fn print(
    status: &StatusView,
    now: Timestamp,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    own(status, output)?;
    section("Servers", &servers(status, now), output)?;
    section("Methods", &methods(status), output)?;
    section("Publications", &publications(status), output)?;
    section("Sockets", &sockets(status), output)?;
    section("Interfaces", &interfaces(status), output)?;
    section("Registry", &registry(status), output)?;
    section("Unauthenticated wires", &compat(status), output)?;
    section(
        "PyDiscover servers, unauthenticated",
        &pydiscover(status, now),
        output,
    )?;
    section("Offers", &offers(status), output)?;
    section("Accepted files", &accepts(status, now), output)?;
    section("Name conflicts", &conflicts(status, now), output)?;
    section("Cloned nodes", &clones(status, now), output)?;
    section("Counters", &counters(status), output)
}

fn section(title: &str, table: &Table, output: &mut Output<'_>) -> Result<(), Failure> {
    if table.is_empty() {
        return Ok(());
    }
    output.line("")?;
    output.line(title)?;
    for line in table.lines(output.colour()) {
        output.line(format_args!("  {line}"))?;
    }
    Ok(())
}

fn own(status: &StatusView, output: &mut Output<'_>) -> Result<(), Failure> {
    let node = &status.node;
    let up = rough(Duration::from_secs(node.uptime_seconds));
    let (role, version, pid) = (node.role, printable(&node.version), node.pid);
    output.line(format_args!(
        "{}: {role}, version {version}, PID {pid}, up {up}",
        node.name
    ))?;
    let addresses: Vec<_> = node
        .addresses
        .iter()
        .map(|address| address.address.to_string())
        .collect();
    let keys = node.key_ids.iter().enumerate().map(|(i, key)| match i {
        0 => format!("{key} (seals)"),
        _ => key.clone(),
    });
    let ready = if status.health.ready {
        "yes".to_owned()
    } else {
        format!("no: {}", status.health.reasons.join("; "))
    };
    for (what, value) in [
        ("ready", ready),
        ("node id", node.node_id.to_string()),
        ("channel", node.channel.clone()),
        ("keys", keys.collect::<Vec<_>>().join(", ")),
        ("addresses", addresses.join(" ")),
        ("labels", labels(&node.labels)),
        (
            "config",
            status
                .config
                .file
                .clone()
                .unwrap_or_else(|| "built-in defaults".to_owned()),
        ),
        ("state", status.config.state_dir.clone()),
    ] {
        if !value.is_empty() {
            output.line(format_args!("  {what:<9}  {}", printable(&value)))?;
        }
    }
    Ok(())
}

fn servers(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "SERVER",
        "ADDRESS",
        "FOUND BY",
        "LEASE",
        "LAST ACKNOWLEDGED",
        "SEEN AS",
        "LAST REFUSAL",
    ]);
    for server in &status.servers {
        let emphasis = if server.last_refusal.is_some() {
            Emphasis::Bad
        } else {
            Emphasis::Normal
        };
        let cells = [
            or_dash(server.name.as_ref()),
            server.address.to_string(),
            server.found_by.clone(),
            or_dash(server.lease_seconds.map(|seconds| format!("{seconds} s"))),
            server
                .last_acknowledged
                .map_or_else(|| "never".to_owned(), |time| ago(time, now)),
            or_dash(server.seen),
            or_dash(server.last_refusal.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn methods(status: &StatusView) -> Table {
    let mut table = Table::new(&["METHOD", "STATE", "SERVERS", "REASON"]);
    for method in &status.methods {
        let (emphasis, state) = match method.state {
            MethodState::NotYet => (Emphasis::Dim, "not yet"),
            MethodState::Trying => (Emphasis::Normal, "trying"),
            MethodState::Found => (Emphasis::Normal, "found"),
            MethodState::Failed => (Emphasis::Bad, "failed"),
        };
        let reason = or_dash(method.reason.as_ref());
        table.row(
            emphasis,
            [
                method.method.clone(),
                state.to_owned(),
                method.servers.to_string(),
                reason,
            ],
        );
    }
    table
}

fn publications(status: &StatusView) -> Table {
    let mut table = Table::new(&[
        "TARGET",
        "NAME",
        "INTERFACE",
        "STATE",
        "ADDRESSES",
        "REASON",
    ]);
    for publication in &status.publications {
        let (emphasis, state) = match publication.state {
            PublicationState::Waiting => (Emphasis::Dim, "waiting"),
            PublicationState::Asking => (Emphasis::Dim, "asking"),
            PublicationState::Published => (Emphasis::Normal, "published"),
            PublicationState::Sent => (Emphasis::Normal, "sent"),
            PublicationState::Conflict => (Emphasis::Bad, "conflict"),
            PublicationState::Failed => (Emphasis::Bad, "failed"),
        };
        let cells = [
            publication.target.clone(),
            publication.name.clone(),
            or_dash(publication.interface),
            state.to_owned(),
            publication
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            or_dash(publication.reason.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn sockets(status: &StatusView) -> Table {
    let mut table = Table::new(&["PURPOSE", "ADDRESS", "INTERFACE"]);
    for socket in &status.sockets {
        let interface = socket
            .interface
            .map_or_else(|| "all".to_owned(), |name| name.to_string());
        table.row(
            Emphasis::Normal,
            [
                socket.purpose.clone(),
                socket.address.to_string(),
                interface,
            ],
        );
    }
    table
}

fn interfaces(status: &StatusView) -> Table {
    let mut table = Table::new(&["INTERFACE", "USE", "RULE", "ADDRESSES", "GROUPS", "ERROR"]);
    for interface in &status.interfaces {
        let lost = interface.groups.iter().filter(|group| !group.joined);
        let errors: Vec<_> =
            (interface.error.iter().cloned())
                .chain(lost.map(|group| {
                    format!("not in {}: {}", group.group, or_dash(group.error.as_ref()))
                }))
                .collect();
        let joined = interface
            .groups
            .iter()
            .filter(|group| group.joined)
            .map(|group| group.group.to_string());
        let emphasis = match (errors.is_empty(), interface.taken) {
            (false, _) => Emphasis::Bad,
            (true, true) => Emphasis::Normal,
            (true, false) => Emphasis::Dim,
        };
        let cells = [
            interface.name.to_string(),
            if interface.taken { "taken" } else { "left" }.to_owned(),
            interface.rule.clone(),
            interface
                .addresses
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" "),
            joined.collect::<Vec<_>>().join(" "),
            errors.join("; "),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn registry(status: &StatusView) -> Table {
    let mut table = Table::new(&[
        "PRESENT", "EXPIRED", "LEFT", "TOTAL", "UNPROVED", "CAPACITY", "LAG", "STORE", "SIZE",
        "ERROR",
    ]);
    if let Some(registry) = &status.registry {
        let emphasis = if registry.store.last_error.is_some() {
            Emphasis::Bad
        } else {
            Emphasis::Normal
        };
        let cells = [
            registry.present.to_string(),
            registry.expired.to_string(),
            registry.left.to_string(),
            registry.total.to_string(),
            registry.unauthenticated.to_string(),
            registry.capacity.to_string(),
            format!("{} ms", registry.durable_lag_ms),
            registry.store.path.clone(),
            or_dash(
                registry
                    .store
                    .size_bytes
                    .map(|bytes| format!("{} KiB", bytes.div_ceil(1024))),
            ),
            or_dash(registry.store.last_error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn compat(status: &StatusView) -> Table {
    let mut table = Table::new(&["WIRE", "AS", "TELLS", "WEAKNESS", "ERROR"]);
    for part in &status.compat {
        let emphasis = if part.last_error.is_some() {
            Emphasis::Bad
        } else {
            Emphasis::Normal
        };
        let cells = [
            part.protocol.clone(),
            part.side.clone(),
            or_dash(part.target.as_ref()),
            part.weakness.clone(),
            or_dash(part.last_error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn offers(status: &StatusView) -> Table {
    let mut table = Table::new(&["FILE", "GENERATION", "SIZE", "PATH", "ERROR"]);
    for offer in &status.offers {
        let emphasis = if offer.error.is_some() {
            Emphasis::Bad
        } else {
            Emphasis::Normal
        };
        let cells = [
            offer.name.clone(),
            or_dash(offer.generation),
            or_dash(
                offer
                    .size
                    .map(|bytes| format!("{} KiB", bytes.div_ceil(1024))),
            ),
            offer.path.clone(),
            or_dash(offer.error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn accepts(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "FILE",
        "GENERATION",
        "TAKEN",
        "FROM",
        "LAST ATTEMPT",
        "PATH",
        "ERROR",
    ]);
    let when = |time: Option<Timestamp>| or_dash(time.map(|time| ago(time, now)));
    for accept in &status.accepts {
        let emphasis = if accept.error.is_some() {
            Emphasis::Bad
        } else {
            Emphasis::Normal
        };
        let from = accept.server_name.as_ref().map(ToString::to_string);
        let cells = [
            accept.name.clone(),
            or_dash(accept.generation),
            when(accept.taken),
            or_dash(from.or_else(|| accept.server.map(|server| server.short()))),
            when(accept.last_attempt),
            accept.path.clone(),
            or_dash(accept.error.as_ref()),
        ];
        table.row(emphasis, cells);
    }
    table
}

fn pydiscover(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&["ANSWERED FROM", "INFO", "LAST"]);
    for server in &status.pydiscover {
        let info: Vec<_> = server
            .info
            .iter()
            .map(|(key, value)| printable(&format!("{key}={value}")))
            .collect();
        table.row(
            Emphasis::Normal,
            [
                server.source.to_string(),
                info.join(" "),
                ago(server.last_time, now),
            ],
        );
    }
    table
}

fn conflicts(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "HOLDER", "CLAIMANT", "FROM", "LAST"]);
    for conflict in &status.conflicts {
        let cells = [
            conflict.name.to_string(),
            conflict.holder.short(),
            conflict.claimant.short(),
            conflict.source.to_string(),
            ago(conflict.last_time, now),
        ];
        table.row(Emphasis::Bad, cells);
    }
    table
}

fn clones(status: &StatusView, now: Timestamp) -> Table {
    let mut table = Table::new(&["NAME", "NODE ID", "FROM", "LAST"]);
    for clone in &status.clones {
        let sources: Vec<_> = clone.sources.iter().map(ToString::to_string).collect();
        let cells = [
            clone.name.to_string(),
            clone.node_id.short(),
            sources.join(" "),
            ago(clone.last_time, now),
        ];
        table.row(Emphasis::Bad, cells);
    }
    table
}

fn counters(status: &StatusView) -> Table {
    let mut table = Table::new(&["GROUP", "WHAT", "COUNT"]);
    for (group, counts) in &status.counters {
        for (what, count) in counts {
            let emphasis = if *count == 0 {
                Emphasis::Dim
            } else {
                Emphasis::Normal
            };
            table.row(emphasis, [group.clone(), what.clone(), count.to_string()]);
        }
    }
    table
}
