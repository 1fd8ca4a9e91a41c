//! `hereabouts where`
//!
//! [`run`] finds the node or its history, [`location`] orders its addresses as this machine reaches
//! them, and this file prints them.

mod location;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, may_ask_network, unexpected};
use super::exit::{Failure, note};
use super::interval;
use super::output::{Format, Output};
use super::table::{Emphasis, Table, ago, or_dash};
use super::time;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::{HistoryView, NodeView};
use crate::model::{NodeName, Scope, State, Timestamp};
use crate::net::rank::{AddressSelector, PolicyTable};
use location::Location;

/// Print a node's addresses, best first
///
/// Best is what this machine reaches most directly: an address on one of its own networks, then
/// what its address policy prefers (RFC 6724, /etc/gai.conf), then link-local ones, with the zone
/// if this machine knows it: fe80::7%eth0. The address from which a server received the node's
/// messages is last, if the node does not announce it.
///
/// Without --at, the registry of this machine answers where a server runs here, else the network is
/// asked. With --at, a registry answers: that of this machine, else that of the server that answers
/// first. Where the node was lost without a word between two messages, the answer is marked as
/// probable, with a note on stderr.
///
/// A node that is absent, or that is known by a legacy protocol alone, is printed with a note on
/// stderr. Ends with 3 if the name is unknown, or if the node announces no address. In a pipe, each
/// line is an address.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ssh $(hereabouts where laptop --first)
  hereabouts where laptop --at '2026-11-20 18:00'
  hereabouts where laptop --at 2h --output json")]
pub(super) struct WhereArgs {
    /// The node's name
    name: NodeName,
    /// Print where the node was at that time: RFC 3339, 2026-11-20 18:00 (local time), or 2h (ago)
    #[arg(long, value_name = "TIME", value_parser = time::at)]
    at: Option<Timestamp>,
    /// Print the best address only
    #[arg(long)]
    first: bool,
    /// Query the network at most this long
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = time::limit)]
    timeout: Duration,
}

pub(super) fn run(
    args: &WhereArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    // A configuration that can't be used is reported before anything is read of this machine.
    context.loaded()?;
    let selector = AddressSelector::new(
        context.client().interfaces(),
        PolicyTable::of_this_machine(),
    );
    let mut location = match args.at {
        None => location::now(&node(args, context)?, &selector),
        Some(at) => past(args, at, context, &selector)?,
    };
    if args.first {
        location.addresses.truncate(1);
    }
    print(&location, output)?;
    note_doubts(&location);
    if location.addresses.is_empty() {
        return Err(Failure::NothingFound(format!(
            "{} is known, but announces no address",
            args.name
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// Notes on stderr why the addresses may be useless: the node is absent, or no node proved them.
fn note_doubts(location: &Location) {
    let name = &location.name;
    if let (Some(state @ (State::Expired | State::Left)), Some(seen)) =
        (location.state, location.last_seen)
    {
        note(format_args!(
            "note: {name} is absent ({state}): last seen {}",
            ago(seen, time::now())
        ));
    }
    if let Some(protocol) = location.protocol
        && !protocol.is_authenticated()
    {
        note(format_args!(
            "note: {name} is unverified: it is known by {protocol} alone, where any machine can use any name"
        ));
    }
}

/// The node, from this machine's own registry, else from the network: through the node of this
/// machine, or without it.
fn node(args: &WhereArgs, context: &Context<'_>) -> anyhow::Result<NodeView> {
    let lookup = Request::Lookup {
        name: args.name.clone(),
    };
    let mut answer = context.local_items(
        &Request::Node {
            name: args.name.clone(),
            at: None,
        },
        LOCAL_LIMIT,
    )?;
    if let Err(AskError::Refused {
        kind: ErrorKind::NotFound | ErrorKind::NotServer,
        ..
    }) = answer
    {
        answer = context.local_items(&lookup, LOCAL_LIMIT + args.timeout)?;
    }
    let error = match answer {
        Ok(items) => return only_node(items, &args.name),
        Err(error) if may_ask_network(&error) => error,
        Err(_) => return Err(unknown(&args.name).into()),
    };
    match context.network_items(&lookup, args.timeout) {
        Ok(items) => only_node(items, &args.name),
        Err(network) if matches!(error, AskError::NoNode { .. }) => Err(network),
        Err(network) => Err(network.context(format!(
            "neither the node of this machine ({error}) nor the network could be asked"
        ))),
    }
}

fn only_node(items: Vec<Item>, name: &NodeName) -> anyhow::Result<NodeView> {
    match items.into_iter().next() {
        Some(Item::Node(node)) => Ok(*node),
        Some(item) => Err(unexpected(&item)),
        None => Err(unknown(name).into()),
    }
}

fn unknown(name: &NodeName) -> Failure {
    Failure::NothingFound(format!(
        "{name} is unknown: no node that answered knows it (`hereabouts nodes --absent` lists the names)"
    ))
}

fn past(
    args: &WhereArgs,
    at: Timestamp,
    context: &Context<'_>,
    selector: &AddressSelector,
) -> anyhow::Result<Location> {
    let request = Request::Node {
        name: args.name.clone(),
        at: Some(at),
    };
    let mut intervals = Vec::new();
    for item in context.registry_items(&request, LOCAL_LIMIT)? {
        match item {
            Item::History(interval) => intervals.push(interval),
            item => return Err(unexpected(&item)),
        }
    }
    let location = location::at(&intervals, at, selector).ok_or_else(|| {
        Failure::NothingFound(format!("no address of {} is known at {at}", args.name))
    })?;
    let is_probable = |interval: &&HistoryView| {
        let mut places = location.addresses.iter();
        places.any(|place| place.probable && place.address == interval.address)
    };
    if let Some(interval) = intervals.iter().find(is_probable) {
        let (name, address) = (&interval.name, &interval.address);
        interval::note_probable(name, *address, interval.to, interval.lost_by);
    }
    Ok(location)
}

fn print(location: &Location, output: &mut Output<'_>) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(location),
        Format::Plain => location
            .addresses
            .iter()
            .try_for_each(|place| output.line(place)),
        Format::Table => output.table(&table(location)),
    }
}

fn table(location: &Location) -> Table {
    let mut table = Table::new(&["ADDRESS", "SCOPE", "INTERFACE", "KNOWN BY", "SAME SUBNET"]);
    for place in &location.addresses {
        let evidence = match (place.announced, place.seen) {
            (true, true) => "announced, observed",
            (true, false) => "announced",
            (false, _) => "observed",
        };
        let evidence = if place.probable {
            format!("{evidence}, probably")
        } else {
            evidence.to_owned()
        };
        let scope = match place.scope {
            Scope::Loopback => "loopback",
            Scope::Link => "link",
            Scope::Private => "private",
            Scope::Global => "global",
        };
        let emphasis = if place.announced {
            Emphasis::Normal
        } else {
            Emphasis::Dim
        };
        let cells = [
            place.to_string(),
            scope.to_owned(),
            or_dash(place.interface),
            evidence,
            if place.same_subnet { "yes" } else { "no" }.to_owned(),
        ];
        table.row(emphasis, cells);
    }
    table
}
