//! `hereabouts announce`

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, LOCAL_LIMIT, unexpected};
use super::exit::{self, Failure, note};
use super::output::{Format, Output};
use super::table::{Emphasis, Table, or_dash};
use super::time;
use crate::api::control::AskError;
use crate::api::request::{ErrorKind, Item, Request};
use crate::api::view::AnnouncedView;
use crate::config::DynipServer;
use crate::net::Interface;

/// Register this machine once and leave, as from cron
///
/// Prints the address that each server saw. Where a node runs already, that node registers again at
/// once.
///
/// A link-local IPv6 address has this machine's zone: fe80::7%eth0. A server sees one only where it
/// can be reached by link-local addresses alone.
///
/// Ends with 0 if at least one server acknowledged, with 1 if all refused, and with 3 if no server
/// was found. In a pipe, each line is an address; refusals are on stderr.
///
/// With --compat it ends with 0 if at least one datagram was sent, with 1 if none was, and with 2
/// if no server is known.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  */5 * * * * hereabouts announce --output plain >/dev/null
  */5 * * * * hereabouts announce --compat dynip --to hub.example.org")]
pub(super) struct AnnounceArgs {
    /// Wait for servers at most this long
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = time::limit)]
    timeout: Duration,
    /// Send the name to servers of a legacy protocol instead, unauthenticated: one datagram, which
    /// is never acknowledged
    #[arg(long, value_name = "PROTOCOL", value_enum)]
    compat: Option<AnnounceProtocol>,
    /// Send it to this DynIP server, HOST or HOST:PORT; may be given more than once [default: those
    /// of publish]
    #[arg(long, value_name = "SERVER", requires = "compat")]
    to: Vec<DynipServer>,
}

/// Legacy protocols by which a name can be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum AnnounceProtocol {
    Dynip,
}

pub(super) fn run(
    args: &AnnounceArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    if args.compat == Some(AnnounceProtocol::Dynip) {
        return super::legacy::announce(&args.to, context, output);
    }
    let mut announced = only_announced(announce(args, context)?)?;
    if announced.is_empty() {
        return Err(Failure::NothingFound(
            "no server answered (`hereabouts doctor` finds the cause)".to_owned(),
        )
        .into());
    }
    let acknowledged = announced.iter().any(|view| view.seen.is_some());
    let interfaces = context.client().interfaces();
    announced
        .iter_mut()
        .for_each(|view| set_zone(view, &interfaces));
    print(&announced, &interfaces, output)?;
    Ok(ExitCode::from(if acknowledged { 0 } else { exit::FAILED }))
}

fn announce(args: &AnnounceArgs, context: &Context<'_>) -> anyhow::Result<Vec<Item>> {
    match context.local_items(&Request::Announce, LOCAL_LIMIT + args.timeout)? {
        Ok(items) => Ok(items),
        // Only where no node runs: two processes that register one node id would look like a cloned
        // disk.
        Err(AskError::NoNode { .. } | AskError::TooLong { .. }) => {
            context.network_items(&Request::Announce, args.timeout)
        }
        Err(AskError::Refused {
            kind: ErrorKind::NotFound,
            ..
        }) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn only_announced(items: Vec<Item>) -> anyhow::Result<Vec<AnnouncedView>> {
    let announced = items.into_iter().map(|item| match item {
        Item::Announced(view) => Ok(view),
        item => Err(unexpected(&item)),
    });
    announced.collect()
}

/// Gives a link-local IPv6 address its zone on this machine, without which it can't be used. One
/// that no interface has is taken away.
fn set_zone(view: &mut AnnouncedView, interfaces: &[Interface]) {
    let Some(SocketAddr::V6(seen)) = &mut view.seen else {
        return;
    };
    if !seen.ip().is_unicast_link_local() {
        return;
    }
    match holder(IpAddr::V6(*seen.ip()), interfaces) {
        Some(interface) => seen.set_scope_id(interface.index),
        None => {
            view.error = Some(format!(
                "it saw {}, a link-local address of no interface of this machine",
                seen.ip()
            ));
            view.seen = None;
        }
    }
}

fn holder(ip: IpAddr, interfaces: &[Interface]) -> Option<&Interface> {
    interfaces
        .iter()
        .find(|interface| interface.addresses.iter().any(|held| held.ip == ip))
}

/// An address with the name of its zone, if it has one.
fn with_zone(address: SocketAddr, interfaces: &[Interface]) -> String {
    let ip = address.ip().to_canonical();
    match address {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => match holder(ip, interfaces) {
            Some(interface) => format!("{ip}%{}", interface.name),
            None => format!("{ip}%{}", v6.scope_id()),
        },
        _ => ip.to_string(),
    }
}

fn print(
    announced: &[AnnouncedView],
    interfaces: &[Interface],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match output.format() {
        Format::Json => announced.iter().try_for_each(|view| output.json(view)),
        Format::Plain => {
            for view in announced {
                match (view.seen, &view.error) {
                    (Some(seen), _) => output.line(with_zone(seen, interfaces))?,
                    (None, error) => note(format_args!(
                        "{}: {}",
                        view.server,
                        or_dash(error.as_deref())
                    )),
                }
            }
            Ok(())
        }
        Format::Table => {
            let mut table = Table::new(&["SERVER", "ADDRESS", "SEEN AS", "LEASE", "ERROR"]);
            for view in announced {
                let emphasis = Emphasis::bad_if(view.seen.is_none());
                let cells = [
                    or_dash(view.name.as_ref()),
                    view.server.to_string(),
                    or_dash(view.seen),
                    or_dash(view.lease_seconds.map(|seconds| format!("{seconds} s"))),
                    or_dash(view.error.as_ref()),
                ];
                table.row(emphasis, cells);
            }
            output.table(&table)
        }
    }
}
