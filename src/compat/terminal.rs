//! A terminal of an old base: it answers the base's calls.
//!
//! Datagrams of a base go in; out come short TCP connections to the base, and calls to get updates for [`super::updates`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::socket::Listener;
use super::tally::Tally;
use crate::model::{Rate, RateLimiter, source_network};
use crate::net;
use crate::transport::Clock;
use crate::wire::compat::terminals::{Call, Request};

/// Calls of one source that are answered: this node must not flood a host whose address a caller forged.
const PER_SOURCE: Rate = Rate {
    per_second: 1,
    burst: 3,
};
/// Calls of all sources together.
const IN_ALL: Rate = Rate {
    per_second: 2,
    burst: 8,
};
/// How many answers run at once.
const MAX_ANSWERS: usize = 8;
/// How long one answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The queue for calls to get updates, each with the base's address; `None` where this node gets no file from a base.
pub(super) type Updates = Option<watch::Sender<Option<SocketAddr>>>;

/// Answers calls until the node stops.
pub(super) async fn serve(mut listener: Listener, port: u16, updates: Updates, tally: Tally) {
    let clock = Clock::new();
    let mut limit = RateLimiter::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    let free = Arc::new(Semaphore::new(MAX_ANSWERS));
    loop {
        listener.receive().await;
        while let Some((bytes, arrival)) = listener.next() {
            let Some(call) = Call::decode(bytes) else {
                tally.count("terminals.dropped_no_call");
                continue;
            };
            let mut base = arrival.from;
            if !may_be_a_base(base.ip())
                || !limit.admits(clock.now().elapsed, source_network(base.ip()))
            {
                tally.count("terminals.dropped_rate");
                continue;
            }
            base.set_port(port);
            tracing::debug!(?call, peer = %base, "received a call of a base");
            match (call, &updates) {
                (Call::ShowYourself, _) => match Arc::clone(&free).try_acquire_owned() {
                    Ok(permit) => drop(tokio::spawn(answer(base, permit, tally.clone()))),
                    Err(_) => tally.count("terminals.dropped_busy"),
                },
                (Call::GetUpdates, Some(updates)) => {
                    tally.count("terminals.updates_received");
                    updates.send_replace(Some(base));
                }
                (Call::GetUpdates, None) => tally.count("terminals.updates_not_accepted"),
            }
        }
    }
}

/// Answers a call to show this terminal. The permit bounds how many answers run at once.
async fn answer(base: SocketAddr, _permit: OwnedSemaphorePermit, tally: Tally) {
    let shown = tokio::time::timeout(ANSWER_LIMIT, show(base)).await;
    tally.count(if matches!(shown, Ok(Ok(()))) {
        "terminals.showed_itself"
    } else {
        tracing::debug!(peer = %base, ?shown, "failed to answer a base");
        "terminals.show_failed"
    });
}

/// Whether an address can be that of one host, which can be answered by TCP.
fn may_be_a_base(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255, 255, 255, 255])
}

/// Connects to a base, and sends it that this terminal is present.
async fn show(base: SocketAddr) -> std::io::Result<()> {
    let mut stream = net::connect(base, ANSWER_LIMIT).await?;
    stream.write_all(Request::Show.encode()).await?;
    stream.shutdown().await?;
    // The base closes the connection; its bytes have no meaning.
    let _ = stream.read(&mut [0; 64]).await;
    Ok(())
}
