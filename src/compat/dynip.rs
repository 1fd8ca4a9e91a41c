//! DynIP: the server receives names, and the client sends its own.
//!
//! A name goes in as a raw datagram; out come unverified claims for the registry. Nothing is ever acknowledged.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::pause;
use super::socket::{Listener, Sender};
use super::tally::Tally;
use crate::model::{Lease, NodeName, Protocol, Rate, RateLimiter, source_network};
use crate::net;
use crate::registry::UnverifiedClaim;
use crate::transport::Clock;
use crate::wire::compat::dynip;

/// Datagrams of one source: there may be many hosts behind one router, whose cron jobs start in the same minute.
const PER_SOURCE: Rate = Rate {
    per_second: 8,
    burst: 64,
};
/// Datagrams of all sources together: enough for a thousand hosts in the same minute, and little load for one core.
const IN_ALL: Rate = Rate {
    per_second: 200,
    burst: 2000,
};

/// Receives datagrams until the node stops.
pub(super) async fn serve(
    mut listener: Listener,
    lease: Lease,
    claims: mpsc::Sender<UnverifiedClaim>,
    tally: Tally,
) {
    let clock = Clock::new();
    let mut limit = RateLimiter::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    loop {
        listener.receive().await;
        while let Some((bytes, arrival)) = listener.next() {
            if !limit.admits(clock.now().elapsed, source_network(arrival.from.ip())) {
                tally.count("dynip.dropped_rate");
                continue;
            }
            let Ok(name) = dynip::decode(bytes) else {
                tally.count("dynip.dropped_not_a_name");
                tracing::trace!(peer = %arrival.from, "dropped a datagram that is no name");
                continue;
            };
            tally.count("dynip.received");
            tracing::debug!(%name, peer = %arrival.from, "received a name by DynIP");
            let claim = UnverifiedClaim {
                name,
                protocol: Protocol::Dynip,
                source: arrival.from,
                lease,
            };
            if claims.try_send(claim).is_err() {
                tally.count("dynip.dropped_busy");
            }
        }
    }
}

/// Sends the wanted name to a server periodically, and at once when it is set, until the node stops.
pub(super) async fn publish(
    mut wanted: watch::Receiver<Option<NodeName>>,
    server: String,
    every: Duration,
    tally: Tally,
) {
    loop {
        let Some(name) = wanted.borrow_and_update().clone() else {
            // Without a sender no name will be wanted any more.
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let result = send_name(&name, &server).await;
        tally.count(if result.is_ok() {
            "dynip.sent"
        } else {
            "dynip.send_failed"
        });
        let failure = result.as_ref().err().cloned();
        if tally.set_result(&server, result) {
            match failure {
                Some(failure) => {
                    tracing::warn!(%server, "the name can't be sent to the DynIP server: {failure}; it is sent again in {} s", every.as_secs())
                }
                None => tracing::info!(%server, "the name is sent to the DynIP server again"),
            }
        }
        pause(every, &mut wanted).await;
    }
}

/// Sends a name to a server, once.
pub(crate) async fn send_name(name: &NodeName, server: &str) -> Result<(), String> {
    let addresses = net::resolve(server)
        .await
        .map_err(|error| format!("failed to {error}"))?;
    // The old server listens on IPv4 only, so an IPv4 address is preferred.
    let address = *addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first())
        .ok_or_else(|| format!("{server} has no address"))?;
    let mut sender = Sender::open(address.ip()).map_err(|error| format!("failed to {error}"))?;
    sender
        .send(address, dynip::encode(name))
        .await
        .map_err(|error| format!("failed to send to {address}: {error}"))
}
