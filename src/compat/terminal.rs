//! A terminal of an old base: it answers the base's calls.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, watch};

use super::limit::Limit;
use super::socket::Ears;
use super::tally::Tally;
use crate::discovery::Rate;
use crate::net;
use crate::transport::Clock;
use crate::wire::compat::terminals::{Call, Request};

/// Calls of one source that are answered: whoever forges a source must not make a flood of this node.
const PER_SOURCE: Rate = Rate {
    per_second: 1,
    burst: 3,
};
/// Calls of all sources together.
const IN_ALL: Rate = Rate {
    per_second: 2,
    burst: 8,
};
/// Answers at a time.
const AT_A_TIME: usize = 8;
/// How long one answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// Where calls to get updates go, each with the base's address.
pub(super) type Updates = Option<watch::Sender<Option<SocketAddr>>>;

/// Answers calls until the node stops.
pub(super) async fn serve(mut ears: Ears, port: u16, updates: Updates, tally: Tally) {
    let clock = Clock::new();
    let mut limit = Limit::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    loop {
        ears.hear().await;
        while let Some((bytes, arrival)) = ears.next() {
            let Some(call) = Call::decode(bytes) else {
                tally.count("terminals.dropped_no_call");
                continue;
            };
            let base = arrival.from.ip();
            if !may_be_a_base(base) || !limit.admits(clock.now().elapsed, base) {
                tally.count("terminals.dropped_rate");
                continue;
            }
            match call {
                Call::ShowYourself => match Arc::clone(&room).try_acquire_owned() {
                    Ok(permit) => {
                        let (tally, mut base) = (tally.clone(), arrival.from);
                        base.set_port(port);
                        tokio::spawn(async move {
                            let shown = tokio::time::timeout(WITHIN, show(base)).await;
                            let told = matches!(shown, Ok(Ok(())));
                            tally.count(if told {
                                "terminals.showed_itself"
                            } else {
                                "terminals.show_failed"
                            });
                            drop(permit);
                        });
                    }
                    Err(_) => tally.count("terminals.dropped_busy"),
                },
                Call::GetUpdates => match &updates {
                    Some(updates) => {
                        tally.count("terminals.updates_heard");
                        let mut base = arrival.from;
                        base.set_port(port);
                        updates.send_replace(Some(base));
                    }
                    None => tally.count("terminals.updates_not_taken"),
                },
            }
        }
    }
}

/// Whether an address may be answered by TCP at all: one host's, as a broadcast can't be its source.
fn may_be_a_base(ip: IpAddr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast() && ip != IpAddr::from([255, 255, 255, 255])
}

/// Tells a base that this terminal is there.
async fn show(base: SocketAddr) -> std::io::Result<()> {
    let mut stream = net::connect(base, WITHIN).await?;
    stream.write_all(Request::Show.encode()).await?;
    stream.shutdown().await?;
    // The base hangs up; what it may say is of no use.
    let _ = stream.read(&mut [0; 64]).await;
    Ok(())
}
