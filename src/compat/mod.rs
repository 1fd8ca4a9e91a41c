//! The legacy protocols PyDiscover, DynIP and terminals: one task each, over the pure codecs of [`crate::wire::compat`].
//!
//! In go settings, interfaces and the name to publish; out come unverified claims for the registry, and views for
//! `status`. Each protocol is off unless the configuration names it. None of them proves who sends, so each claim is
//! unverified, and everything has a limit: messages a second of one source and of all, names, connections and their
//! duration. A task sends its claims through one bounded queue to the event loop, which owns the registry.

mod base;
mod bind;
pub(crate) mod dynip;
mod job;
pub(crate) mod pydiscover;
mod report;
mod served;
mod socket;
mod tally;
mod terminal;
mod updates;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::job::Job;
use self::tally::Tally;
pub(crate) use self::updates::Caller;
use crate::model::{Labels, Lease, NodeName};
use crate::net::{FanoutSettings, Interface};
use crate::publish::{self, CurrentState, Target};
use crate::registry::UnverifiedClaim;
use crate::transfer;
use crate::transfer::puller::Accepted;
use crate::wire::compat::pydiscover::Channel;

/// How many claims wait for the event loop. Further ones are dropped and counted, like a lost datagram.
const MAX_CLAIMS: usize = 1024;
/// Between two lines of the log about refused claims.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Why a legacy protocol can't be used as configured.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct CompatError {
    /// The setting, or the command.
    pub(crate) setting: &'static str,
    /// What happened, and the remedy.
    pub(crate) reason: String,
}

/// Which legacy protocols are on, and their settings.
pub(crate) struct Settings {
    /// The address on which servers listen.
    pub(crate) address: IpAddr,
    /// The multicast groups to which old clients may send queries.
    pub(crate) groups: FanoutSettings,
    pub(crate) pydiscover: Option<PydiscoverSettings>,
    /// The settings of the DynIP server.
    pub(crate) dynip: Option<DynipSettings>,
    /// The DynIP servers to which this node sends its name, and how often.
    pub(crate) dynip_servers: Vec<(String, Duration)>,
    pub(crate) terminals: Option<TerminalsSettings>,
}

pub(crate) struct PydiscoverSettings {
    pub(crate) channel: Channel,
    pub(crate) port: u16,
    /// Whether there is a password.
    pub(crate) password: bool,
    /// What a server answers; `None` where this node is no server.
    pub(crate) serves: Option<PydiscoverAnswer>,
    /// Whether this node searches servers.
    pub(crate) searches: bool,
}

/// What a PyDiscover server answers.
pub(crate) struct PydiscoverAnswer {
    /// Whether invalid queries get no answer.
    pub(crate) hidden: bool,
    pub(crate) info: Labels,
}

pub(crate) struct DynipSettings {
    pub(crate) port: u16,
    /// How long a name counts as present.
    pub(crate) lease: Lease,
}

pub(crate) struct TerminalsSettings {
    pub(crate) port: u16,
    pub(crate) side: TerminalsSide,
}

/// Which side of the protocol this node is.
pub(crate) enum TerminalsSide {
    /// The base; `file` is the offer that terminals get.
    Base { file: Option<Box<str>> },
    /// A terminal; `accepted` is the file that it gets from a base.
    Terminal { accepted: Option<Box<Accepted>> },
}

/// The legacy protocols of one node.
pub(crate) struct Compat {
    address: IpAddr,
    parts: Vec<Part>,
    interfaces: watch::Sender<Vec<Interface>>,
    /// The name for each DynIP server, in the configuration's order.
    dynip: Vec<watch::Sender<Option<NodeName>>>,
    /// The port of this node's base, and the file that its terminals get.
    base: Option<(u16, Option<Box<str>>)>,
    tally: Tally,
    tasks: JoinSet<()>,
    warned: Option<Duration>,
}

/// One protocol in one role.
struct Part {
    protocol: &'static str,
    side: &'static str,
    /// The addresses on which it listens.
    sockets: Vec<SocketAddr>,
    /// The peer to which it sends.
    target: Option<String>,
    /// What anyone on the network can do by it.
    weakness: &'static str,
    /// The task, until it is started.
    job: Option<Job>,
}

impl Compat {
    /// Binds the sockets of the configured protocols. No task runs yet.
    pub(crate) fn bind(settings: Settings) -> Result<Self, CompatError> {
        let Settings {
            address,
            groups,
            pydiscover,
            dynip,
            dynip_servers,
            terminals,
        } = settings;
        let mut compat = Self {
            address,
            parts: Vec::new(),
            interfaces: watch::Sender::default(),
            dynip: Vec::new(),
            base: None,
            tally: Tally::default(),
            tasks: JoinSet::new(),
            warned: None,
        };
        if let Some(pydiscover) = pydiscover {
            compat.bind_pydiscover(pydiscover, groups)?;
        }
        if let Some(dynip) = dynip {
            compat.bind_dynip(&dynip)?;
        }
        for (server, every) in dynip_servers {
            compat.publish_by_dynip(server, every);
        }
        if let Some(terminals) = terminals {
            compat.bind_terminals(terminals)?;
        }
        Ok(compat)
    }

    /// Starts the tasks. Their claims arrive in the queue.
    pub(crate) fn start(&mut self, files: &transfer::Handles) -> mpsc::Receiver<UnverifiedClaim> {
        let (sender, claims) = mpsc::channel(MAX_CLAIMS);
        let jobs: Vec<Job> = self
            .parts
            .iter_mut()
            .filter_map(|part| {
                tracing::warn!(
                    protocol = part.protocol,
                    side = part.side,
                    "unauthenticated: {}",
                    part.weakness
                );
                part.job.take()
            })
            .collect();
        for job in jobs {
            self.spawn(job, &sender, files);
        }
        claims
    }

    /// The caller of old terminals; `None` where this node is no base that serves this file.
    pub(crate) fn caller(&self, file: &str) -> Option<Caller> {
        let (port, served) = self.base.as_ref()?;
        (served.as_deref() == Some(file)).then(|| Caller {
            port: *port,
            interfaces: self.interfaces.subscribe(),
            tally: self.tally.clone(),
        })
    }

    /// Sets the interfaces that the policy uses now.
    pub(crate) fn set_interfaces(&self, used: Vec<Interface>) {
        self.interfaces.send_replace(used);
    }

    /// The state of each DynIP server, which is always unknown: nothing acknowledges a name, or its address.
    pub(crate) fn current_state(&self) -> impl Iterator<Item = (Target, CurrentState)> {
        (0..self.dynip.len())
            .map(|configured| (Target::Dynip { configured }, CurrentState::Unknown))
    }

    /// Sets the name that a DynIP server gets from now on. DynIP can't withdraw a name; it expires there by itself.
    pub(crate) fn publish(&self, configured: usize, change: publish::Change) {
        if let Some(wanted) = self.dynip.get(configured) {
            wanted.send_replace(change.into_wanted().map(|publication| publication.name));
        }
    }

    /// Whether a line about refused claims may be logged now.
    pub(crate) fn may_warn(&mut self, now: Duration) -> bool {
        let may = self.warned.is_none_or(|warned| now >= warned + WARN_EVERY);
        if may {
            self.warned = Some(now);
        }
        may
    }
}

/// Waits for a time, or until a watched value changes.
async fn pause<T>(every: Duration, watched: &mut watch::Receiver<T>) {
    let changed = async {
        // The sender is dropped only when the node stops, and this task ends with it.
        if watched.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = tokio::time::sleep(every) => {}
        () = changed => {}
    }
}
