//! `hereabouts forget`

use std::process::ExitCode;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, needs_server, unexpected};
use super::output::{Format, Output};
use crate::api::request::{Item, Request};
use crate::model::NodeName;

/// Drop a node's record and free its name
///
/// The next node that registers the name gets it. A node that still runs comes back with its next
/// registration.
///
/// Each server keeps a registry of its own: run this on each server, as the user of its node or as
/// root. Ends with 3 if the registry does not have the name. In a pipe, the line is the name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts forget old-laptop")]
pub(super) struct ForgetArgs {
    /// The node's name
    name: NodeName,
}

pub(super) fn run(
    args: ForgetArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let items = context
        .local_items(&Request::Forget { name: args.name }, LOCAL_LIMIT)?
        .map_err(needs_server)?;
    for item in items {
        let node = match item {
            Item::Node(node) => node,
            item => return Err(unexpected(&item)),
        };
        match output.format() {
            Format::Json => output.json(&node)?,
            Format::Plain => output.line(&node.name)?,
            Format::Table => output.line(format_args!(
                "{} is free again; node {} had it",
                node.name, node.node_id
            ))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
