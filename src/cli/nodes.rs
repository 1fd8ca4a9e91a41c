//! `hereabouts nodes`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, unexpected};
use super::exit::Failure;
use super::output::{Format, Output};
use super::table::{Emphasis, Table, ago, labels, or_dash};
use super::time;
use crate::api::request::{Item, Request};
use crate::api::view::{FileView, NodeView};
use crate::model::{Labels, State, Timestamp};

/// How long a whole list may take: a million nodes, page by page.
const LIST_LIMIT: Duration = Duration::from_secs(120);
/// How many rows are laid out together. A longer list is printed in parts, so that it is never in
/// memory as a whole.
const ROWS_PER_PART: usize = 1_000;

/// List the registry: every node present, with its addresses
///
/// The registry is that of this machine where a server runs here, else that of the server that
/// answers first.
///
/// The column KEY is the id of the channel key under which the node seals. A generation with ! in
/// the column FILES means that the last attempt to get a newer one failed. A record that came by a
/// legacy protocol is marked as unverified: anyone on that network could have sent it.
///
/// Ends with 3 if no node matches. In a pipe, each line is a name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts nodes --label site=home --label room=kitchen
  hereabouts nodes --absent --output json | jq -r 'select(.state == \"expired\").name'")]
pub(super) struct NodesArgs {
    /// Only nodes with this label; may be given more than once
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// Also nodes that expired or left
    #[arg(long)]
    absent: bool,
}

/// Parses `key=value` by the rules of labels.
fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Labels::new([(key, value)]).map_err(|error| error.to_string())?;
    Ok((key.to_owned(), value.to_owned()))
}

pub(super) fn run(
    args: NodesArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let request = Request::Nodes {
        labels: one_value_each(args.labels)?,
        absent: args.absent,
        after: None,
    };
    let now = time::now();
    let mut table = Table::new(&[
        "NAME",
        "STATE",
        "ADDRESSES",
        "SEEN FROM",
        "LAST SEEN",
        "KEY",
        "LABELS",
        "FILES",
    ]);
    let mut any = false;
    context.registry(&request, LIST_LIMIT, &mut |item| {
        let Item::Node(node) = item else {
            return Err(unexpected(&item));
        };
        any = true;
        match output.format() {
            Format::Json => output.json(&node)?,
            Format::Plain => output.line(&node.name)?,
            Format::Table => {
                add_row(&mut table, &node, now);
                if table.len() == ROWS_PER_PART {
                    output.table(&table)?;
                    table.next_part();
                }
            }
        }
        Ok(())
    })?;
    output.table(&table)?;
    if any {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(Failure::NothingFound("no node matches".to_owned()).into())
    }
}

fn one_value_each(labels: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failure> {
    let mut filter = BTreeMap::new();
    for (key, value) in labels {
        if filter.get(&key).is_some_and(|other| *other != value) {
            return Err(Failure::Usage(format!(
                "label {key:?} has two values, but no node has both: give each label once"
            )));
        }
        filter.insert(key, value);
    }
    Ok(filter)
}

fn add_row(table: &mut Table, node: &NodeView, now: Timestamp) {
    let emphasis = match node.state {
        _ if node.cloned => Emphasis::Bad,
        State::Present => Emphasis::Normal,
        State::Expired | State::Left => Emphasis::Dim,
    };
    let mut state = node.state.to_string();
    if node.cloned {
        state.push_str(", cloned");
    }
    if !node.protocol.is_authenticated() {
        state.push_str(&format!(", by {}, unverified", node.protocol));
    }
    let addresses: Vec<_> = node
        .addresses
        .iter()
        .map(|address| address.address.to_string())
        .collect();
    let files: Vec<_> = node.files.iter().map(file).collect();
    let cells = [
        node.name.to_string(),
        state,
        addresses.join(" "),
        or_dash(node.source.map(|source| source.ip())),
        ago(node.last_seen, now),
        or_dash(node.key.as_ref()),
        labels(&node.labels),
        files.join(" "),
    ];
    table.row(emphasis, cells);
}

fn file(file: &FileView) -> String {
    let mark = if file.error.is_some() { "!" } else { "" };
    format!("{}={}{mark}", file.name, file.generation)
}
