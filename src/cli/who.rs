//! `hereabouts who`

use std::net::{AddrParseError, IpAddr, Ipv6Addr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, may_ask_network, unexpected};
use super::exit::{Failure, note};
use super::output::{Format, Output};
use super::table::{Emphasis, Table, or_dash};
use super::time;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::{HolderView, Seen};
use crate::model::Timestamp;

/// Print which node has an address, or had it last
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts who 192.168.1.20
  hereabouts who 203.0.113.7 --at '2026-11-20 18:00'")]
pub(super) struct WhoArgs {
    /// The address
    #[arg(value_parser = address)]
    address: IpAddr,
    /// Print who had it at that time: RFC 3339, 2026-11-20 18:00 (local time), or 2h (ago)
    #[arg(long, value_name = "TIME", value_parser = time::at)]
    at: Option<Timestamp>,
    /// Ask the network at most this long
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = time::limit)]
    timeout: Duration,
}

/// An address; the zone that `where` prints means nothing to whoever is asked (RFC 4007 §11.2).
fn address(text: &str) -> Result<IpAddr, AddrParseError> {
    let zoned = |(address, _): &(&str, &str)| {
        address
            .parse()
            .is_ok_and(|ip: Ipv6Addr| ip.is_unicast_link_local())
    };
    text.split_once('%')
        .filter(zoned)
        .map_or(text, |(address, _)| address)
        .parse()
}

pub(super) fn run(
    args: &WhoArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let address = args.address.to_canonical();
    let found = holders(address, args, context)?;
    if found.is_empty() {
        return Err(Failure::NothingFound(format!("nobody is known to have {address}")).into());
    }
    print(&found, output)?;
    for holder in found
        .iter()
        .filter(|holder| !holder.node.protocol.is_authenticated())
    {
        let (name, protocol) = (&holder.node.name, holder.node.protocol);
        note(format_args!(
            "note: {name} is known by {protocol} alone: nobody proved that it is there"
        ));
    }
    if args.at.is_none() && found.iter().all(|holder| !holder.current) {
        note(format_args!(
            "note: nobody has {address} now: this is who had it last"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The holders, from this machine's own registry, else from the servers of the network.
fn holders(
    address: IpAddr,
    args: &WhoArgs,
    context: &Context<'_>,
) -> anyhow::Result<Vec<HolderView>> {
    if args.at.is_some() {
        return only_holders(context.registry_items(
            &Request::Holder {
                address,
                at: args.at,
            },
            LOCAL_LIMIT,
        )?);
    }
    let mut answer = context.local_items(&Request::Holder { address, at: None }, LOCAL_LIMIT)?;
    if let Err(AskError::Refused {
        kind: ErrorKind::NotFound | ErrorKind::NotServer,
        ..
    }) = answer
    {
        answer = context.local_items(
            &Request::LookupHolder { address },
            LOCAL_LIMIT + args.timeout,
        )?;
    }
    match answer {
        Ok(items) => only_holders(items),
        Err(error) if may_ask_network(&error) => context.network()?.holders(address, args.timeout),
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

fn print(found: &[HolderView], output: &mut Output<'_>) -> Result<(), Failure> {
    match output.format() {
        Format::Json => found.iter().try_for_each(|holder| output.json(holder)),
        Format::Plain => {
            let mut names: Vec<_> = found.iter().map(|holder| &holder.node.name).collect();
            // An announced and an observed interval of one node are neighbours in time.
            names.dedup();
            names.into_iter().try_for_each(|name| output.line(name))
        }
        Format::Table => {
            let mut table = Table::new(&["NAME", "NODE ID", "STATE", "KNOWN BY", "FROM", "TO"]);
            for holder in found {
                let emphasis = if holder.current {
                    Emphasis::Normal
                } else {
                    Emphasis::Dim
                };
                let to = if holder.current {
                    "still".to_owned()
                } else {
                    or_dash(holder.to.map(time::local))
                };
                let node = &holder.node;
                let cells = [
                    node.name.to_string(),
                    node.node_id.short(),
                    node.state.to_string(),
                    or_dash(holder.seen.map(Seen::word)),
                    or_dash(holder.from.map(time::local)),
                    to,
                ];
                table.row(emphasis, cells);
            }
            output.table(&table)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_as_where_prints_it() {
        let taken = |text| address(text).ok().map(|ip| ip.to_string());
        assert_eq!(taken("fe80::7%eth0").as_deref(), Some("fe80::7"));
        assert_eq!(taken("10.0.0.1").as_deref(), Some("10.0.0.1"));
        for bad in ["10.0.0.1%eth0", "2001:db8::1%eth0", "%eth0", "laptop"] {
            assert_eq!(taken(bad), None, "{bad}");
        }
    }
}
