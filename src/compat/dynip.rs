//! DynIP: the server takes names, the client tells its own.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::limit::Limit;
use super::pause;
use super::socket::{Ears, Mouth};
use super::tally::Tally;
use crate::discovery::Rate;
use crate::model::{Lease, NodeName, Protocol};
use crate::net;
use crate::registry::UnverifiedClaim;
use crate::transport::Clock;
use crate::wire::compat::dynip;

/// Datagrams of one source: many hosts behind one router, all woken by the same minute of cron.
const PER_SOURCE: Rate = Rate {
    per_second: 8,
    burst: 64,
};
/// Datagrams of all sources together: a thousand hosts in the same minute, and what one core does aside.
const IN_ALL: Rate = Rate {
    per_second: 200,
    burst: 2000,
};

/// Takes datagrams until the node stops.
pub(super) async fn serve(
    mut ears: Ears,
    lease: Lease,
    heard: mpsc::Sender<UnverifiedClaim>,
    tally: Tally,
) {
    let clock = Clock::new();
    let mut limit = Limit::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    loop {
        ears.hear().await;
        while let Some((bytes, arrival)) = ears.next() {
            if !limit.admits(clock.now().elapsed, arrival.from.ip()) {
                tally.count("dynip.dropped_rate");
                continue;
            }
            let Ok(name) = dynip::decode(bytes) else {
                tally.count("dynip.dropped_not_a_name");
                continue;
            };
            tally.count("dynip.received");
            let claim = UnverifiedClaim {
                name,
                protocol: Protocol::Dynip,
                source: arrival.from,
                lease,
            };
            if heard.try_send(claim).is_err() {
                tally.count("dynip.dropped_busy");
            }
        }
    }
}

/// Tells a server the name that the plan gives, now and every so often, and at once when the plan says it anew.
pub(super) async fn publish(
    mut wanted: watch::Receiver<Option<NodeName>>,
    server: String,
    every: Duration,
    tally: Tally,
) {
    loop {
        let Some(name) = wanted.borrow_and_update().clone() else {
            // Without a sender nothing will be wanted any more.
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        let result = tell(&name, &server).await;
        tally.count(if result.is_ok() {
            "dynip.told"
        } else {
            "dynip.tell_failed"
        });
        let failure = result.as_ref().err().cloned();
        if tally.sent(&server, result) {
            match failure {
                Some(failure) => {
                    tracing::warn!("failed to tell DynIP server {server}: {failure}; tried again")
                }
                None => tracing::info!("DynIP server {server} is told again"),
            }
        }
        pause(every, &mut wanted).await;
    }
}

/// Tells a server a name, once.
pub(crate) async fn tell(name: &NodeName, server: &str) -> Result<(), String> {
    let addresses = net::resolve(server)
        .await
        .map_err(|error| format!("failed to {error}"))?;
    // The ancestor's server listens on IPv4 alone.
    let address = addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first());
    let address = *address.ok_or_else(|| format!("{server} has no address"))?;
    let mut mouth = Mouth::open(address.ip()).map_err(|error| format!("failed to {error}"))?;
    mouth
        .say(address, dynip::encode(name))
        .await
        .map_err(|error| format!("failed to send to {address}: {error}"))
}
