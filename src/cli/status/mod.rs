//! `hereabouts status`
//!
//! The status of the node goes in; sections with a title each come out. Every section is a
//! [`Table`] from the files beside this one.

mod files;
mod network;
mod registry;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, unexpected};
use super::exit::Failure;
use super::output::{Format, Output};
use super::table::{Emphasis, Table, labels, printable, rough};
use super::time;
use crate::api::request::{Item, Request};
use crate::api::view::StatusView;
use crate::model::Timestamp;

/// Show this machine's node: sockets, methods, interfaces, servers, registry, counters
///
/// Shows why each discovery method failed, and which rule decided that each interface is used or
/// not used. A section without content is left out.
///
/// Run it as the user of the node or as root. In a pipe, it prints the same as on a terminal.
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
        None => anyhow::bail!("the node of this machine answered without its status"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a status in sections; an empty section is left out.
pub(super) fn print(
    status: &StatusView,
    now: Timestamp,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    print_node(status, output)?;
    for (title, table) in [
        ("Servers", network::servers(status, now)),
        ("Methods", network::methods(status)),
        ("Publications", network::publications(status)),
        ("Sockets", network::sockets(status)),
        ("Interfaces", network::interfaces(status)),
        ("Registry", registry::registry(status)),
        ("Unauthenticated protocols", registry::compat(status)),
        (
            "PyDiscover servers, unauthenticated",
            registry::pydiscover(status, now),
        ),
        ("Offers", files::offers(status)),
        ("Accepted files", files::accepts(status, now)),
        ("Name conflicts", registry::conflicts(status, now)),
        ("Cloned nodes", registry::clones(status, now)),
        ("Counters", counters(status)),
    ] {
        print_section(title, &table, output)?;
    }
    Ok(())
}

fn print_section(title: &str, table: &Table, output: &mut Output<'_>) -> Result<(), Failure> {
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

/// Prints the facts about the node itself: the head of the status.
fn print_node(status: &StatusView, output: &mut Output<'_>) -> Result<(), Failure> {
    let node = &status.node;
    output.line(format_args!(
        "{}: {}, version {}, PID {}, up {}",
        node.name,
        node.role,
        printable(&node.version),
        node.pid,
        rough(Duration::from_secs(node.uptime_seconds))
    ))?;
    let addresses: Vec<_> = node
        .addresses
        .iter()
        .map(|address| address.address.to_string())
        .collect();
    let keys: Vec<_> = node
        .key_ids
        .iter()
        .enumerate()
        .map(|(index, key)| match index {
            0 => format!("{key} (seals)"),
            _ => key.clone(),
        })
        .collect();
    let ready = if status.health.ready {
        "yes".to_owned()
    } else {
        format!("no: {}", status.health.reasons.join("; "))
    };
    let config_file = status.config.file.clone();
    for (title, value) in [
        ("ready", ready),
        ("node id", node.node_id.to_string()),
        ("channel", node.channel.clone()),
        ("keys", keys.join(", ")),
        ("addresses", addresses.join(" ")),
        ("labels", labels(&node.labels)),
        (
            "configuration",
            config_file.unwrap_or_else(|| "built-in defaults".to_owned()),
        ),
        ("state", status.config.state_dir.clone()),
    ] {
        if !value.is_empty() {
            output.line(format_args!("  {title:<13}  {}", printable(&value)))?;
        }
    }
    Ok(())
}

fn kibibytes(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn counters(status: &StatusView) -> Table {
    let mut table = Table::new(&["GROUP", "COUNTER", "COUNT"]);
    for (group, counts) in &status.counters {
        for (counter, count) in counts {
            let emphasis = if *count == 0 {
                Emphasis::Dim
            } else {
                Emphasis::Normal
            };
            table.row(
                emphasis,
                [group.clone(), counter.clone(), count.to_string()],
            );
        }
    }
    table
}
