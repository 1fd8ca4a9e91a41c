//! `hereabouts who`

use std::net::{AddrParseError, IpAddr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, may_ask_network, unexpected};
use super::exit::{Failure, note};
use super::interval;
use super::output::{Format, Output};
use super::table::{Emphasis, Table, or_dash};
use super::time;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::{Evidence, HolderView};
use crate::model::Timestamp;

/// Print which node has an address, or had it last
///
/// Without --at, the registry of this machine answers where a server runs here, else the network is
/// asked. With --at, a registry answers: that of this machine, else that of the server that answers
/// first. A node that was lost without a word between two messages is marked as a probable holder,
/// with a note on stderr.
///
/// A node that had the address before, or that is known by a legacy protocol alone, is printed with
/// a note on stderr. Ends with 3 if no node is known to have it. In a pipe, each line is a name.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts who 192.168.1.20
  hereabouts who 203.0.113.7 --at '2026-11-20 18:00'")]
pub(super) struct WhoArgs {
    /// The address; the zone of a link-local one is ignored
    #[arg(value_parser = address)]
    address: IpAddr,
    /// Print which node had it at that time: RFC 3339, 2026-11-20 18:00 (local time), or 2h (ago)
    #[arg(long, value_name = "TIME", value_parser = time::at)]
    at: Option<Timestamp>,
    /// Query the network at most this long
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = time::limit)]
    timeout: Duration,
}

/// Parses an address as `where` prints it. The zone means nothing to another machine (RFC 4007
/// §11.2), so it is dropped.
fn address(text: &str) -> Result<IpAddr, AddrParseError> {
    if let Some((address, _zone)) = text.split_once('%')
        && let Ok(ip) = address.parse::<Ipv6Addr>()
        && ip.is_unicast_link_local()
    {
        return Ok(ip.into());
    }
    text.parse()
}

pub(super) fn run(
    args: &WhoArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let address = args.address.to_canonical();
    let holders = holders(address, args, context)?;
    if holders.is_empty() {
        return Err(Failure::NothingFound(format!("no node is known to have {address}")).into());
    }
    print(&holders, output)?;
    for holder in &holders {
        let node = &holder.node;
        if holder.probable {
            interval::note_probable(&node.name, address, holder.to, holder.lost_by);
        }
        if !node.protocol.is_authenticated() {
            note(format_args!(
                "note: {} is unverified: it is known by {} alone, where any machine can use any name",
                node.name, node.protocol
            ));
        }
    }
    if args.at.is_none() && holders.iter().all(|holder| !holder.current) {
        note(format_args!(
            "note: no node has {address} now: this is the one that had it last"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The holders, from this machine's own registry, else from the network: through the node of this
/// machine, or without it.
fn holders(
    address: IpAddr,
    args: &WhoArgs,
    context: &Context<'_>,
) -> anyhow::Result<Vec<HolderView>> {
    let request = Request::Holder {
        address,
        at: args.at,
    };
    if args.at.is_some() {
        return only_holders(context.registry_items(&request, LOCAL_LIMIT)?);
    }
    let lookup = Request::LookupHolder { address };
    let mut answer = context.local_items(&request, LOCAL_LIMIT)?;
    if let Err(AskError::Refused {
        kind: ErrorKind::NotFound | ErrorKind::NotServer,
        ..
    }) = answer
    {
        answer = context.local_items(&lookup, LOCAL_LIMIT + args.timeout)?;
    }
    match answer {
        Ok(items) => only_holders(items),
        Err(error) if may_ask_network(&error) => {
            only_holders(context.network_items(&lookup, args.timeout)?)
        }
        Err(_) => Ok(Vec::new()),
    }
}

fn only_holders(items: Vec<Item>) -> anyhow::Result<Vec<HolderView>> {
    let holders = items.into_iter().map(|item| match item {
        Item::Holder(holder) => Ok(*holder),
        item => Err(unexpected(&item)),
    });
    holders.collect()
}

fn print(holders: &[HolderView], output: &mut Output<'_>) -> Result<(), Failure> {
    match output.format() {
        Format::Json => holders.iter().try_for_each(|holder| output.json(holder)),
        Format::Plain => {
            let mut names: Vec<_> = holders.iter().map(|holder| &holder.node.name).collect();
            // An announced and an observed interval of one node are neighbours in time.
            names.dedup();
            names.into_iter().try_for_each(|name| output.line(name))
        }
        Format::Table => output.table(&table(holders)),
    }
}

fn table(holders: &[HolderView]) -> Table {
    let mut table = Table::new(&["NAME", "NODE ID", "STATE", "KNOWN BY", "FROM", "TO"]);
    for holder in holders {
        let node = &holder.node;
        let (emphasis, to) = match (holder.current, holder.to) {
            (true, _) => (Emphasis::Normal, "still".to_owned()),
            (false, None) => (Emphasis::Dim, or_dash(None::<String>)),
            (false, to) => (Emphasis::Dim, interval::end(to, holder.lost_by)),
        };
        let cells = [
            node.name.to_string(),
            node.node_id.short(),
            node.state.to_string(),
            or_dash(holder.evidence.map(Evidence::word)),
            or_dash(holder.from.map(time::local)),
            to,
        ];
        table.row(emphasis, cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_accepted_as_where_prints_it() {
        let parsed = |text| address(text).ok().map(|ip| ip.to_string());
        assert_eq!(parsed("fe80::7%eth0").as_deref(), Some("fe80::7"));
        assert_eq!(parsed("10.0.0.1").as_deref(), Some("10.0.0.1"));
        for bad in ["10.0.0.1%eth0", "2001:db8::1%eth0", "%eth0", "laptop"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
