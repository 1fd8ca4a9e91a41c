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
use crate::api::view::NodeView;
use crate::model::{Labels, State};

/// How long a whole list may take: a million nodes, page by page.
const LIST_LIMIT: Duration = Duration::from_secs(120);
/// Rows laid out together: a longer list is printed in parts, so that it never stands in memory whole.
const TABLE_PART: usize = 1_000;

/// List the registry: every node present, with its addresses
///
/// The registry is that of this machine where a server runs here, else that of the server that answers first. In a pipe, the
/// names alone are printed. What came by an ancestor's wire is marked as unproved: anyone on that network could have said it.
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
    let mut wanted = BTreeMap::new();
    for (key, value) in args.labels {
        if wanted.get(&key).is_some_and(|other| *other != value) {
            return Err(Failure::Usage(format!(
                "no node has two values of {key:?}: give each label once"
            ))
            .into());
        }
        wanted.insert(key, value);
    }
    let request = Request::Nodes {
        labels: wanted,
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
                row(&mut table, &node, now);
                if table.len() == TABLE_PART {
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
        Err(Failure::NothingFound("no node fits".to_owned()).into())
    }
}

fn row(table: &mut Table, node: &NodeView, now: crate::model::Timestamp) {
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
        state.push_str(&format!(", by {}, unproved", node.protocol));
    }
    let addresses: Vec<_> = node
        .addresses
        .iter()
        .map(|address| address.address.to_string())
        .collect();
    let files: Vec<_> = (node.files.iter())
        .map(|file| {
            format!(
                "{}={}{}",
                file.name,
                file.generation,
                if file.error.is_some() { "!" } else { "" }
            )
        })
        .collect();
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
