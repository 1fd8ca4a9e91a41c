//! `hereabouts where`

use std::fmt;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::context::{Context, LOCAL_LIMIT, may_ask_network, unexpected};
use super::exit::{Failure, note};
use super::output::{Format, Output};
use super::rank::{Links, PolicyTable, Reach, Requester};
use super::table::{Emphasis, Table, ago, or_dash};
use super::time;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::{AddressView, HistoryView, NodeView, Seen};
use crate::model::{InterfaceName, NodeId, NodeName, Origin, Protocol, Scope, State, Timestamp};

/// Print a node's addresses, best first
///
/// Best is what this machine reaches most directly: an address on one of its own networks, then what its address policy
/// prefers (RFC 6724, /etc/gai.conf), then link-local ones, with the zone where this machine knows it: fe80::7%eth0. The
/// address that a server saw the node's messages come from stands last where the node does not announce it. A node that
/// is gone, or that is known by an ancestor's wire alone, is printed with a note on stderr.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  ssh $(hereabouts where laptop --first)
  hereabouts where laptop --at '2026-11-20 18:00'
  hereabouts where laptop --at 2h --output json")]
pub(super) struct WhereArgs {
    /// The node's name
    name: NodeName,
    /// Print where it was at that time: RFC 3339, 2026-11-20 18:00 (local time), or 2h (ago)
    #[arg(long, value_name = "TIME", value_parser = time::at)]
    at: Option<Timestamp>,
    /// Print the best address only
    #[arg(long)]
    first: bool,
    /// Ask the network at most this long
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = time::limit)]
    timeout: Duration,
}

/// Where a node is, or was: the JSON shape of this command.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Whereabouts {
    name: NodeName,
    node_id: NodeId,
    /// By which protocol it is known; null for a time in the past.
    protocol: Option<Protocol>,
    /// Null for a time in the past.
    state: Option<State>,
    /// The time asked about; null for now.
    at: Option<Timestamp>,
    /// Null for a time in the past.
    last_seen: Option<Timestamp>,
    /// Best first.
    addresses: Vec<Place>,
}

/// One address of a node.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Place {
    address: IpAddr,
    /// The asker's interface that a link-local IPv6 address is reached by; null for others, and where it is not known.
    zone: Option<InterfaceName>,
    /// The node's interface that holds it.
    interface: Option<InterfaceName>,
    scope: Scope,
    origin: Option<Origin>,
    /// Whether the node announces it.
    announced: bool,
    /// Whether a server saw the node's messages come from it.
    seen: bool,
    /// Whether it is on a network of the asker.
    same_subnet: bool,
}

/// The address as programs take it (RFC 4007 §11).
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone {
            Some(zone) => write!(f, "{}%{zone}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

pub(super) fn run(
    args: &WhereArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let requester = Requester::new(
        context.network()?.interfaces(),
        PolicyTable::of_this_machine(),
    );
    let mut found = match args.at {
        None => now_at(&node(args, context)?, &requester),
        Some(at) => past(args, at, context, &requester)?,
    };
    if args.first {
        found.addresses.truncate(1);
    }
    print(&found, output)?;
    if let (Some(state @ (State::Expired | State::Left)), Some(seen)) =
        (found.state, found.last_seen)
    {
        note(format_args!(
            "note: {} is gone ({state}): last seen {}",
            found.name,
            ago(seen, time::now())
        ));
    }
    if let Some(protocol) = found
        .protocol
        .filter(|protocol| !protocol.is_authenticated())
    {
        note(format_args!(
            "note: {} is known by {protocol} alone: nobody proved that it is there",
            found.name
        ));
    }
    if found.addresses.is_empty() {
        return Err(Failure::NothingFound(format!(
            "{} is known, but announces no address",
            args.name
        ))
        .into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The node, from this machine's own registry, else from the network: through the node that runs here, or without it.
fn node(args: &WhereArgs, context: &Context<'_>) -> anyhow::Result<NodeView> {
    let unknown = || Failure::NothingFound(format!("nobody knows {}", args.name));
    let limit = LOCAL_LIMIT + args.timeout;
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
        answer = context.local_items(
            &Request::Lookup {
                name: args.name.clone(),
            },
            limit,
        )?;
    }
    let local = match answer {
        Ok(items) => {
            return match items.into_iter().next() {
                Some(Item::Node(node)) => Ok(*node),
                Some(item) => Err(unexpected(&item)),
                None => Err(unknown().into()),
            };
        }
        Err(error) if may_ask_network(&error) => error,
        Err(_) => return Err(unknown().into()),
    };
    match context.network()?.look_up(&args.name, args.timeout) {
        Ok(node) => Ok(node.ok_or_else(unknown)?),
        Err(error) if matches!(local, AskError::NoNode { .. }) => Err(error),
        Err(error) => Err(error.context(format!(
            "the node of this machine could not be asked ({local}), nor the network"
        ))),
    }
}

fn past(
    args: &WhereArgs,
    at: Timestamp,
    context: &Context<'_>,
    requester: &Requester,
) -> anyhow::Result<Whereabouts> {
    let request = Request::Node {
        name: args.name.clone(),
        at: Some(at),
    };
    let items = context.registry_items(&request, LOCAL_LIMIT)?;
    let mut intervals = Vec::new();
    for item in items {
        match item {
            Item::History(interval) => intervals.push(interval),
            item => return Err(unexpected(&item)),
        }
    }
    let unknown = || Failure::NothingFound(format!("nothing is known of {} at {at}", args.name));
    Ok(then_at(&intervals, at, requester).ok_or_else(unknown)?)
}

/// Where a node is now.
fn now_at(node: &NodeView, requester: &Requester) -> Whereabouts {
    let source = node.source.map(|source| source.ip().to_canonical());
    let held = node
        .addresses
        .iter()
        .map(|address| (address.address, address.interface));
    let links = requester.links(held, node.source);
    let mut addresses = Vec::new();
    for AddressView {
        address,
        interface,
        scope,
        origin,
    } in &node.addresses
    {
        addresses.push(Place {
            address: *address,
            zone: links.zone(*address, *interface),
            interface: *interface,
            scope: *scope,
            origin: Some(*origin),
            announced: true,
            seen: source == Some(*address),
            same_subnet: requester.shares_subnet(*address),
        });
    }
    if let Some(source) = source
        && addresses.iter().all(|place| place.address != source)
    {
        addresses.push(observed(source, requester, &links));
    }
    Whereabouts {
        name: node.name.clone(),
        node_id: node.node_id,
        protocol: Some(node.protocol),
        state: Some(node.state),
        at: None,
        last_seen: Some(node.last_seen),
        addresses: best_first(addresses, requester),
    }
}

/// Where a node was: the intervals of one time, an announced and an observed one of the same address as one place.
fn then_at(intervals: &[HistoryView], at: Timestamp, requester: &Requester) -> Option<Whereabouts> {
    let first = intervals.first()?;
    let mut addresses: Vec<Place> = Vec::new();
    for interval in intervals {
        let known = addresses
            .iter()
            .position(|place| place.address == interval.address)
            .unwrap_or_else(|| {
                addresses.push(Place {
                    seen: false,
                    ..observed(interval.address, requester, &Links::default())
                });
                addresses.len() - 1
            });
        match interval.seen {
            Seen::Announced => addresses[known].announced = true,
            Seen::Observed => addresses[known].seen = true,
        }
    }
    Some(Whereabouts {
        name: first.name.clone(),
        node_id: first.node_id,
        protocol: None,
        state: None,
        at: Some(at),
        last_seen: None,
        addresses: best_first(addresses, requester),
    })
}

fn observed(address: IpAddr, requester: &Requester, links: &Links) -> Place {
    Place {
        address,
        zone: links.zone(address, None),
        interface: None,
        scope: Scope::of(address),
        origin: None,
        announced: false,
        seen: true,
        same_subnet: requester.shares_subnet(address),
    }
}

/// What the node says of itself goes before what others saw, which may be a router in between; but what can't be used as it
/// stands goes after all others.
fn best_first(mut addresses: Vec<Place>, requester: &Requester) -> Vec<Place> {
    addresses.sort_by_key(|place| {
        let merit = requester.merit(place.address, place.zone);
        (merit.reach() >= Reach::OtherLink, !place.announced, merit)
    });
    addresses
}

fn print(found: &Whereabouts, output: &mut Output<'_>) -> Result<(), Failure> {
    match output.format() {
        Format::Json => output.json(found),
        Format::Plain => found
            .addresses
            .iter()
            .try_for_each(|place| output.line(place)),
        Format::Table => {
            let mut table =
                Table::new(&["ADDRESS", "SCOPE", "INTERFACE", "KNOWN BY", "SAME SUBNET"]);
            for place in &found.addresses {
                let known = match (place.announced, place.seen) {
                    (true, true) => "announced, seen",
                    (true, false) => "announced",
                    (false, _) => "seen",
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
                let near = if place.same_subnet { "yes" } else { "no" };
                let interface = or_dash(place.interface);
                table.row(
                    emphasis,
                    [
                        place.to_string(),
                        scope.into(),
                        interface,
                        known.into(),
                        near.into(),
                    ],
                );
            }
            output.table(&table)
        }
    }
}

#[cfg(test)]
#[path = "where_tests.rs"]
mod tests;
