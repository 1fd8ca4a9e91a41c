//! One-time queries of the network: for servers, for all nodes, for a node, or for the holder of an address.
//!
//! Each kind of query decides by [`Outcome`] whether to wait for more answers; [`super::exchange`] sends and receives.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use super::exchange::Outcome;
use super::found::{FoundNode, found_node, found_view, unverified_node};
use super::port::Requester;
use crate::api::view::FoundView;
use crate::model::{Scope, State};
use crate::session::Peer;
use crate::wire::v1::{Answer, Message, Subject, Want};

/// The limit of servers that are tried for a session.
const MAX_SERVERS: usize = 8;
/// The limit of nodes that one query lists; further answers are ignored.
const MAX_NODES: usize = 4096;

impl Requester {
    /// Queries for servers: those that answer first, and all that answer immediately after them.
    pub(crate) async fn servers(mut self, limit: Duration) -> Vec<Peer> {
        let mut found: Vec<Peer> = Vec::new();
        self.query(
            Want::Servers,
            Duration::ZERO,
            limit,
            &[],
            |received, context| {
                let Message::Answer(Answer {
                    subject: Subject::Own { record, .. },
                    ..
                }) = &received.message
                else {
                    return Outcome::Continue;
                };
                let Some(body) = context.verified(record).filter(|body| body.role.serves()) else {
                    return Outcome::Continue;
                };
                if found.len() < MAX_SERVERS && !found.iter().any(|server| server.id == record.node)
                {
                    let (address, id) = (received.from, record.node);
                    found.push(Peer {
                        address,
                        id,
                        name: body.name,
                        clock_ahead: 0,
                    });
                }
                Outcome::Present
            },
        )
        .await;
        for server in &mut found {
            let clock = self
                .clocks
                .iter()
                .find(|(address, _)| *address == server.address);
            server.clock_ahead = clock.map_or(0, |(_, ahead)| *ahead);
        }
        found
    }

    /// Queries for servers, or for all nodes, and hands each node on once, when it answers.
    pub(crate) async fn discover(
        mut self,
        all: bool,
        limit: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) {
        let want = if all { Want::All } else { Want::Servers };
        // An answer at the end of the window must still arrive within the limit.
        let window = limit.mul_f64(0.7);
        let mut seen = HashSet::new();
        self.query(want, window, limit, &[], |received, context| {
            let Message::Answer(Answer {
                seen: own,
                subject: Subject::Own { record, info },
                ..
            }) = &received.message
            else {
                return Outcome::Continue;
            };
            let Some(body) = context.verified(record) else {
                return Outcome::Continue;
            };
            if seen.len() >= MAX_NODES || !seen.insert(record.node) {
                return Outcome::Continue;
            }
            let view = found_view(
                record.node,
                body,
                info.clone(),
                received.from,
                *own,
                context,
            );
            match found(view) {
                ControlFlow::Continue(()) => Outcome::Continue,
                ControlFlow::Break(()) => Outcome::Complete,
            }
        })
        .await;
    }

    /// Queries for a node by name, or for the holder of an address. Returns the newest of the answers.
    ///
    /// `known` are servers that this node is registered with, in addition to the configured ones.
    pub(crate) async fn look_up(
        mut self,
        want: Want,
        known: &[SocketAddr],
        limit: Duration,
    ) -> Option<FoundNode> {
        let mut best = Best::default();
        self.query(want, Duration::ZERO, limit, known, |received, context| {
            let Message::Answer(Answer { subject, .. }) = &received.message else {
                return Outcome::Continue;
            };
            let (signed, sighting) = match subject {
                Subject::Own { record, .. } => (record, None),
                Subject::Found {
                    record, sighting, ..
                } => (record, Some(sighting)),
                Subject::UnverifiedClaim {
                    name,
                    protocol,
                    sighting,
                    ..
                } => {
                    best.offer_unverified(unverified_node(name, *protocol, sighting));
                    return Outcome::Unknown;
                }
                Subject::Unknown { .. } => return Outcome::Unknown,
            };
            let Some(record) = context.verified(signed) else {
                tracing::debug!(peer = %received.from, node = %signed.node.short(), "answer dropped: the signature of its record is wrong");
                return Outcome::Continue;
            };
            let order = record.order();
            let found = found_node(signed, record, sighting, received.from, context.now.wall);
            let outcome = outcome(&found);
            best.offer(found, order);
            outcome
        })
        .await;
        best.0.map(|(found, _)| found)
    }
}

/// What the answer with a verified record means for the rest of the exchange.
fn outcome(found: &FoundNode) -> Outcome {
    // A server can't know by which of our links such a node is reached; only the node's own answer shows that.
    let by_link = found
        .node
        .addresses
        .iter()
        .all(|address| address.scope == Scope::Link);
    if found.itself {
        Outcome::Complete
    } else if found.node.state == State::Present && !by_link {
        Outcome::Present
    } else {
        Outcome::Unknown
    }
}

/// The best answer so far, with the order of its record.
#[derive(Default)]
struct Best(Option<(FoundNode, (u64, u64))>);

impl Best {
    /// An unverified claim counts only where no verified record of the name is known, and then the latest.
    fn offer_unverified(&mut self, claim: FoundNode) {
        let is_better = self.0.as_ref().is_none_or(|(held, _)| {
            !held.node.protocol.is_authenticated() && held.node.last_seen < claim.node.last_seen
        });
        if is_better {
            self.0 = Some((claim, (0, 0)));
        }
    }

    /// A verified record replaces an unverified claim and an older record.
    fn offer(&mut self, found: FoundNode, order: (u64, u64)) {
        let present = |found: &FoundNode| found.node.state == State::Present;
        let rank = |found: &FoundNode, order: (u64, u64)| {
            (present(found), found.itself, order, found.node.last_seen)
        };
        let is_better = self.0.as_ref().is_none_or(|(held, held_order)| {
            if !held.node.protocol.is_authenticated() {
                true
            } else if held.node.node_id == found.node.node_id {
                rank(&found, order) > rank(held, *held_order)
            } else {
                // The order is comparable only between records of one node; of two nodes, the one seen last counts.
                (present(&found), found.node.last_seen) > (present(held), held.node.last_seen)
            }
        });
        if is_better {
            self.0 = Some((found, order));
        }
    }
}
