//! PyDiscover: the server answers with `info`, the asker finds servers and their key/values.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::limit::Limit;
use super::pause;
use super::socket::{Ears, Mouth};
use super::tally::{Server, Tally};
use crate::discovery::Rate;
use crate::model::Labels;
use crate::net::Interface;
use crate::transport::Clock;
use crate::wire::compat::pydiscover::{Answer, Channel, MAX_ANSWER, Refusal};

/// Answers to one source: a person or a script with a loop.
const PER_SOURCE: Rate = Rate {
    per_second: 5,
    burst: 20,
};
/// Answers to all sources together: an answer is up to forty times its question, so a forged source must gain little.
const IN_ALL: Rate = Rate {
    per_second: 100,
    burst: 400,
};
/// How often servers are looked for.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Datagrams of one asking that are looked at: what more comes is a flood.
const ANSWERS: usize = 1024;
/// When one asking repeats its question, as datagrams are lost.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

/// Answers queries until the node stops.
pub(super) async fn serve(
    mut ears: Ears,
    channel: Channel,
    hidden: bool,
    info: Labels,
    tally: Tally,
) {
    let clock = Clock::new();
    let mut limit = Limit::new(clock.now().elapsed, PER_SOURCE, IN_ALL);
    let answer = channel.answer(&info);
    if answer.len() > MAX_ANSWER {
        tracing::warn!(
            "compat.pydiscover: the answer has {} bytes, and PyDiscover's clients read {MAX_ANSWER}: shorten info",
            answer.len()
        );
    }
    loop {
        ears.hear().await;
        while let Some((bytes, arrival)) = ears.next() {
            let now = clock.now();
            let reply = match channel.judge(bytes, now.wall) {
                Ok(()) => Ok(&answer),
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = reply {
                tally.count(counter(refusal));
                if hidden {
                    continue;
                }
            }
            if !limit.admits(now.elapsed, arrival.from.ip()) {
                tally.count("pydiscover.dropped_rate");
                continue;
            }
            let sent = match reply {
                Ok(answer) => ears.answer(&arrival, answer).await,
                Err(refusal) => ears.answer(&arrival, &channel.refusal(refusal)).await,
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
    /// Where its answer came from.
    pub(crate) source: SocketAddr,
    /// What it said.
    pub(crate) answer: Answer,
    /// From the question to its answer.
    pub(crate) after: Duration,
}

/// Asks by broadcast on these interfaces, for as long as `window`, and hands on each answer, each server once.
pub(crate) async fn ask(
    channel: &Channel,
    port: u16,
    interfaces: &[Interface],
    window: Duration,
    mut found: impl FnMut(Found) -> ControlFlow<()>,
) -> Result<(), String> {
    let clock = Clock::new();
    let mut mouth =
        Mouth::open(Ipv4Addr::UNSPECIFIED.into()).map_err(|error| format!("failed to {error}"))?;
    let mut seen: BTreeMap<SocketAddr, Answer> = BTreeMap::new();
    let start = Instant::now();
    let mut times = [Duration::ZERO]
        .into_iter()
        .chain(AGAIN)
        .filter(|at| *at < window)
        .peekable();
    let mut looked = 0;
    loop {
        if times.peek().is_some_and(|at| start.elapsed() >= *at) {
            times.next();
            let query = channel.query(clock.now().wall);
            match mouth.broadcast(interfaces, port, &query).await {
                (0, Some(error)) => return Err(format!("failed to broadcast: {error}")),
                (0, None) => {
                    return Err("no interface that the policy takes can broadcast".to_owned());
                }
                _ => {}
            }
        }
        let wake = times.peek().map_or(window, |at| (*at).min(window));
        let count = tokio::select! {
            received = mouth.hear() => received.unwrap_or(0),
            () = tokio::time::sleep_until(start + wake) => 0,
        };
        for place in 0..count {
            let Some((bytes, arrival)) = mouth.heard(place) else {
                break;
            };
            looked += 1;
            let Ok(answer) = channel.read(bytes) else {
                continue;
            };
            if arrival.truncated || seen.get(&arrival.from) == Some(&answer) {
                continue;
            }
            seen.insert(arrival.from, answer.clone());
            let after = start.elapsed();
            if found(Found {
                source: arrival.from,
                answer,
                after,
            })
            .is_break()
            {
                return Ok(());
            }
        }
        if start.elapsed() >= window || looked >= ANSWERS {
            return Ok(());
        }
    }
}

/// Looks for servers every so often, until the node stops.
pub(super) async fn look(
    channel: Channel,
    port: u16,
    mut interfaces: watch::Receiver<Vec<Interface>>,
    tally: Tally,
) {
    const WINDOW: Duration = Duration::from_secs(3);
    loop {
        let taken = interfaces.borrow_and_update().clone();
        if !taken.is_empty() {
            let own: Vec<_> = taken
                .iter()
                .flat_map(|interface| &interface.addresses)
                .map(|own| own.ip)
                .collect();
            let clock = Clock::new();
            let asked = ask(
                &channel,
                port,
                &taken,
                WINDOW,
                |Found { source, answer, .. }| {
                    match answer {
                        // This node's own answer is no news.
                        Answer::Info(_) if own.contains(&source.ip()) => {}
                        Answer::Info(info) => {
                            let told: Vec<_> = info
                                .iter()
                                .map(|(key, value)| format!("{key}={value}"))
                                .collect();
                            if tally.server(
                                source,
                                Server {
                                    info,
                                    last: clock.now().wall,
                                },
                            ) {
                                tracing::info!(%source, info = %told.join(" "), "a PyDiscover server answers, unauthenticated");
                            }
                        }
                        Answer::Refused(reason) => {
                            tracing::debug!(%source, %reason, "a PyDiscover server refused")
                        }
                    }
                    ControlFlow::Continue(())
                },
            );
            let asked = asked.await;
            tally.count("pydiscover.asked");
            let failure = asked.as_ref().err().cloned();
            if tally.sent(&format!("broadcast, port {port}"), asked)
                && let Some(failure) = failure
            {
                tracing::warn!("failed to look for PyDiscover servers: {failure}; tried again");
            }
        }
        pause(ASK_EVERY, &mut interfaces).await;
    }
}
