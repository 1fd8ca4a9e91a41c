//! PyDiscover: the server answers queries with `info`, and the requester finds servers and their pairs.
//!
//! Queries and answers go in; out come answers, and servers for `status`. Nothing is done with what is found, as any host
//! on the network can answer.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::pause;
use super::socket::{Listener, Sender};
use super::tally::{Server, Tally};
use crate::model::{Labels, Rate, RateLimiter, source_network};
use crate::net::Interface;
use crate::transport::Clock;
use crate::wire::compat::pydiscover::{Answer, Channel, MAX_ANSWER, Refusal};

/// Answers to one source: enough for a person, or a script with a loop.
const PER_SOURCE: Rate = Rate {
    per_second: 5,
    burst: 20,
};
/// Answers to all sources together: an answer is up to forty times as long as its query, so forging a source must gain
/// little.
const IN_ALL: Rate = Rate {
    per_second: 100,
    burst: 400,
};
/// How often servers are searched.
const SEARCH_EVERY: Duration = Duration::from_secs(60);
/// How many datagrams one search reads: more are a flood.
const MAX_ANSWERS: usize = 1024;
/// When one search repeats its query, as datagrams can be lost.
const REPEAT_AT: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Answers queries until the node stops.
pub(super) async fn serve(
    mut listener: Listener,
    channel: Channel,
    hidden: bool,
    info: Labels,
    tally: Tally,
) {
    let clock = Clock::new();
    let mut limit = RateLimiter::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    let answer = channel.answer(&info);
    if answer.len() > MAX_ANSWER {
        tracing::warn!(
            "compat.pydiscover: the answer has {} bytes, and PyDiscover's clients read {MAX_ANSWER}: shorten info",
            answer.len()
        );
    }
    loop {
        listener.receive().await;
        while let Some((bytes, arrival)) = listener.next() {
            let now = clock.now();
            let reply = match channel.check(bytes, now.wall) {
                Ok(()) => Ok(&answer),
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = reply {
                tracing::debug!(peer = %arrival.from, ?refusal, "refused a PyDiscover query");
                tally.count(counter(refusal));
                if hidden {
                    continue;
                }
            }
            if !limit.admits(now.elapsed, source_network(arrival.from.ip())) {
                tally.count("pydiscover.dropped_rate");
                continue;
            }
            let sent = match reply {
                Ok(answer) => listener.answer(&arrival, answer).await,
                Err(refusal) => listener.answer(&arrival, &channel.refusal(refusal)).await,
            };
            tally.count(if sent.is_ok() {
                "pydiscover.answered"
            } else {
                "pydiscover.send_failed"
            });
        }
    }
}

fn counter(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Channel => "pydiscover.refused_channel",
        Refusal::Timestamp => "pydiscover.refused_timestamp",
        Refusal::TooOld => "pydiscover.refused_too_old",
    }
}

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// The source of its answer.
    pub(crate) source: SocketAddr,
    pub(crate) answer: Answer,
    /// The time from the first query to this answer.
    pub(crate) after: Duration,
}

/// Broadcasts queries on these interfaces for as long as `window`, and passes each answer on. A repeated answer of the same
/// server is passed on once. Ends early if `found` breaks, or after [`MAX_ANSWERS`] datagrams.
pub(crate) async fn query(
    channel: &Channel,
    port: u16,
    interfaces: &[Interface],
    window: Duration,
    mut found: impl FnMut(Found) -> ControlFlow<()>,
) -> Result<(), String> {
    let clock = Clock::new();
    let mut sender =
        Sender::open(Ipv4Addr::UNSPECIFIED.into()).map_err(|error| format!("failed to {error}"))?;
    let mut answers: BTreeMap<SocketAddr, Answer> = BTreeMap::new();
    let start = Instant::now();
    let mut times = [Duration::ZERO]
        .into_iter()
        .chain(REPEAT_AT)
        .filter(|at| *at < window)
        .peekable();
    let mut received = 0;
    loop {
        if times.peek().is_some_and(|at| start.elapsed() >= *at) {
            times.next();
            let query = channel.query(clock.now().wall);
            sender
                .broadcast(interfaces, port, &query)
                .await
                .map_err(|error| format!("failed to broadcast: {error}"))?;
        }
        let wake = times.peek().map_or(window, |at| (*at).min(window));
        let count = tokio::select! {
            received = sender.receive() => received.unwrap_or(0),
            () = tokio::time::sleep_until(start + wake) => 0,
        };
        for index in 0..count {
            let Some((bytes, arrival)) = sender.datagram(index) else {
                break;
            };
            received += 1;
            let Ok(answer) = channel.read(bytes) else {
                tracing::trace!(peer = %arrival.from, "dropped a datagram that is no answer");
                continue;
            };
            if arrival.truncated || answers.get(&arrival.from) == Some(&answer) {
                continue;
            }
            answers.insert(arrival.from, answer.clone());
            let found = found(Found {
                source: arrival.from,
                answer,
                after: start.elapsed(),
            });
            if found.is_break() {
                return Ok(());
            }
        }
        if start.elapsed() >= window || received >= MAX_ANSWERS {
            return Ok(());
        }
    }
}

/// Searches servers periodically, and whenever the interfaces change, until the node stops.
pub(super) async fn search(
    channel: Channel,
    port: u16,
    mut interfaces: watch::Receiver<Vec<Interface>>,
    tally: Tally,
) {
    const WINDOW: Duration = Duration::from_secs(3);
    loop {
        let used = interfaces.borrow_and_update().clone();
        if !used.is_empty() {
            let result = query(&channel, port, &used, WINDOW, |found| {
                on_answer(found, &used, &tally);
                ControlFlow::Continue(())
            })
            .await;
            tally.count("pydiscover.asked");
            let failure = result.as_ref().err().cloned();
            if tally.set_result(&format!("broadcast, port {port}"), result)
                && let Some(failure) = failure
            {
                tracing::warn!(
                    "PyDiscover servers can't be searched: {failure}; the next search is in {} s",
                    SEARCH_EVERY.as_secs()
                );
            }
        }
        pause(SEARCH_EVERY, &mut interfaces).await;
    }
}

/// Stores a server that answered, unless it is this node.
fn on_answer(found: Found, interfaces: &[Interface], tally: &Tally) {
    let Found { source, answer, .. } = found;
    let info = match answer {
        Answer::Info(info) => info,
        Answer::Refused(reason) => {
            tracing::debug!(peer = %source, %reason, "a PyDiscover server refused the query");
            return;
        }
    };
    let is_own = interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .any(|own| own.ip == source.ip());
    if is_own {
        return;
    }
    let pairs: Vec<_> = info
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let last = Clock::new().now().wall;
    if tally.set_server(source, Server { info, last }) {
        tracing::info!(peer = %source, info = %pairs.join(" "), "a PyDiscover server answers, unauthenticated");
    }
}
