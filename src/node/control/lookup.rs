//! Requests that the registry's table answers at once.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::api::control::Call;
use crate::api::request::{ErrorKind, PAGE, Request, Response};
use crate::api::view::NodeView;
use crate::model::{NodeName, Now};
use crate::node::files::held::Held;
use crate::node::reply::{fail, finish, send};
use crate::node::views;
use crate::registry::{Filter, NodeRef, Table};

/// Nodes that are examined for one page. With a label that few nodes have, a page may be short or empty, so that other
/// requests get their turn.
const EXAMINED: usize = 10 * PAGE;

/// Answers a request from the registry's table.
pub(super) fn look_up(call: &Call, table: &Table, held: &Held, now: Now) {
    match &call.request {
        Request::Nodes {
            labels,
            absent,
            after,
        } => {
            let filter = Filter {
                present: true,
                absent: *absent,
            };
            nodes(call, table, held, now, labels, filter, after.as_deref());
        }
        Request::Node { name, at: None } => match table.by_name(name) {
            Some(node) => finish(call, [Response::from(view(&node, held, now))]),
            None => unknown_name(call, name),
        },
        Request::Node { name, at: Some(at) } => {
            let found = table
                .at(name, *at)
                .take(PAGE)
                .map(|(node, interval)| Response::from(views::history(&node, &interval)));
            found_or_not(call, found.collect(), || {
                format!("where '{name}' was at {at} is not known")
            });
        }
        Request::Holder { address, at } => {
            let address: IpAddr = address.to_canonical();
            let mut found: Vec<_> = table.holders(address, *at).take(PAGE).collect();
            found.sort_by_key(|(_, interval)| {
                let certain = at.is_none_or(|at| interval.covers(at));
                Reverse((certain, interval.to.is_none(), interval.to, interval.from))
            });
            let views = found
                .iter()
                .map(|(node, interval)| Response::from(views::holder(node, interval, *at, now)));
            found_or_not(call, views.collect(), || {
                format!("no node known here has or had {address}")
            });
        }
        Request::History { name, after } => history(call, table, name, after.as_deref()),
        _ => fail(
            call,
            ErrorKind::Failed,
            "this request is not for the registry: this is a bug",
        ),
    }
}

fn view(node: &NodeRef<'_>, held: &Held, now: Now) -> NodeView {
    let mut view = views::node(node, now);
    held.fill(&mut view);
    view
}

/// Answers with one page of nodes that have all of the labels.
fn nodes(
    call: &Call,
    table: &Table,
    held: &Held,
    now: Now,
    labels: &BTreeMap<String, String>,
    filter: Filter,
    after: Option<&str>,
) {
    let after = match after.map(NodeName::parse).transpose() {
        Ok(after) => after,
        Err(error) => {
            return fail(
                call,
                ErrorKind::BadRequest,
                format!("'after' is not a name: {error}"),
            );
        }
    };
    let fits = |node: &NodeRef<'_>| {
        let has = |(key, value): (&String, &String)| node.record().labels.value(key) == Some(value);
        labels.is_empty() || labels.iter().all(has)
    };
    let mut page = Vec::new();
    let mut last = None;
    let mut next = None;
    for (examined, node) in table.nodes(filter, after.as_ref()).enumerate() {
        if page.len() == PAGE || examined == EXAMINED {
            next = last.map(NodeName::to_string);
            break;
        }
        last = Some(node.name());
        if fits(&node) {
            page.push(view(&node, held, now));
        }
    }
    send(call, page.into_iter().map(Response::from), next);
}

/// Answers with one page of a node's history, the newest first.
fn history(call: &Call, table: &Table, name: &NodeName, after: Option<&str>) {
    let skip = match after.map(str::parse::<usize>).transpose() {
        Ok(skip) => skip.unwrap_or(0),
        Err(_) => return fail(call, ErrorKind::BadRequest, "'after' is not a number"),
    };
    let mut all: Vec<_> = table.history(name).collect();
    if all.is_empty() && table.by_name(name).is_none() {
        return unknown_name(call, name);
    }
    all.sort_by_key(|(_, interval)| Reverse((interval.to.is_none(), interval.from)));
    let page: Vec<_> = all
        .iter()
        .skip(skip)
        .take(PAGE)
        .map(|(node, interval)| Response::from(views::history(node, interval)))
        .collect();
    let next = (skip + page.len() < all.len()).then(|| (skip + page.len()).to_string());
    send(call, page, next);
}

fn unknown_name(call: &Call, name: &NodeName) {
    fail(
        call,
        ErrorKind::NotFound,
        format!("no node called '{name}' is known here"),
    );
}

fn found_or_not(call: &Call, items: Vec<Response>, message: impl FnOnce() -> String) {
    if items.is_empty() {
        fail(call, ErrorKind::NotFound, message());
    } else {
        finish(call, items);
    }
}
