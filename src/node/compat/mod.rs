//! The ancestors' wires: one small shell each, over the pure codecs of [`crate::wire::compat`].
//!
//! Each wire is off unless the configuration names it. Nothing that comes by one is proved, so it goes into the registry as
//! hearsay, within limits: so many messages a second of one source and of all, so many names, so many connections, each
//! for so long. A shell is a task; what it hears goes through one bounded queue into the node's loop, which owns the table.

pub(super) mod ask;
mod base;
mod dynip;
mod import;
mod limit;
mod pydiscover;
mod report;
mod served;
mod socket;
mod tally;
mod terminal;
mod updates;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::socket::{Counts, Ears};
use self::tally::Tally;
pub(super) use self::updates::Caller;
use super::core::Heard;
use super::files::Files;
use super::shell::Node;
use super::{RunError, wiring};
use crate::config::{Config, Method, PublishTarget};
use crate::model::{Lease, NodeName, Now, Wire};
use crate::net::{self, FanoutSettings, Interface};
use crate::publish::{self, Standing, Target};
use crate::registry::Hearsay;
use crate::wire::compat::pydiscover::Channel;

/// Claims that wait for the node's loop; more are dropped and counted, as a datagram that never came.
const CLAIMS: usize = 1024;
/// Claims taken in a row before the loop turns to its other work.
const CLAIMS_IN_A_ROW: usize = 256;
/// Between two lines of the log about claims that were refused.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// How old the times in DynIP's export file may be.
const EXPORT_WITHIN: Duration = Duration::from_secs(10);

/// The ancestors' wires of one node.
pub(super) struct Compat {
    parts: Vec<Part>,
    interfaces: watch::Sender<Vec<Interface>>,
    /// The name that each DynIP server is to be told, in the configuration's order.
    dynip: Vec<watch::Sender<Option<NodeName>>>,
    tally: Tally,
    tasks: JoinSet<()>,
    warned: Option<Duration>,
}

/// One wire in one role.
struct Part {
    wire: &'static str,
    side: &'static str,
    /// Where it listens.
    sockets: Vec<SocketAddr>,
    /// Whom it tells.
    target: Option<String>,
    /// What everybody on the network can do by it.
    weakness: &'static str,
    job: Option<Job>,
}

/// What a part does while the node runs.
enum Job {
    PydiscoverServer { ears: Ears, channel: Channel, hidden: bool },
    PydiscoverAsker { channel: Channel, port: u16 },
    DynipServer { ears: Ears, lease: Lease },
    DynipPublisher { wanted: watch::Receiver<Option<NodeName>>, server: String, every: Duration },
    Base { listener: TcpListener, port: u16 },
    Terminal { ears: Ears, port: u16 },
}

impl Compat {
    /// Binds the sockets of the wires that the configuration names.
    pub(super) fn bind(config: &Config) -> Result<Self, RunError> {
        let (interfaces, _) = watch::channel(Vec::new());
        let mut compat = Self {
            parts: Vec::new(),
            interfaces,
            dynip: Vec::new(),
            tally: Tally::default(),
            tasks: JoinSet::new(),
            warned: None,
        };
        compat.bind_pydiscover(config)?;
        compat.bind_dynip(config)?;
        compat.bind_terminals(config)?;
        Ok(compat)
    }

    fn bind_pydiscover(&mut self, config: &Config) -> Result<(), RunError> {
        let serves = config.role.serves() && config.compat.pydiscover.is_some();
        let asks = config.discovery.methods.contains(&Method::Pydiscover);
        if !serves && !asks {
            return Ok(());
        }
        let (channel, wire) = pydiscover::channel(config)?;
        let weakness = if wire.password_file.is_some() {
            "anyone on this network who knows or guesses one answer reads all others without the password, can change them \
             unseen and can answer in this server's place: PyDiscover reuses one key stream and checks nothing"
        } else {
            "anyone on this network can read the key/values and can answer in this server's place"
        };
        if serves {
            let groups = FanoutSettings { port: wire.port, ..wiring::fanout(config) };
            let counts = Counts {
                too_long: "pydiscover.dropped_too_long",
                interface: "pydiscover.dropped_interface",
                failed: "pydiscover.receive_failed",
            };
            let ears = self.ears(config, wire.port, Some(groups), "compat.pydiscover.port", counts)?;
            let sockets = ears.addresses().collect();
            let job = Some(Job::PydiscoverServer { ears, channel: channel.clone(), hidden: wire.hidden });
            self.parts.push(Part { wire: "pydiscover", side: "server", sockets, target: None, weakness, job });
        }
        if asks {
            let target = Some(format!("broadcast, port {}", wire.port));
            let job = Some(Job::PydiscoverAsker { channel, port: wire.port });
            let weakness = "anyone on this network can answer, so what is found is shown and nothing is done with it";
            self.parts.push(Part { wire: "pydiscover", side: "asker", sockets: Vec::new(), target, weakness, job });
        }
        Ok(())
    }

    fn bind_dynip(&mut self, config: &Config) -> Result<(), RunError> {
        if let Some(wire) = config.compat.dynip.as_ref().filter(|_| config.role.serves()) {
            let counts = Counts {
                too_long: "dynip.dropped_too_long",
                interface: "dynip.dropped_interface",
                failed: "dynip.receive_failed",
            };
            let ears = self.ears(config, wire.port, None, "compat.dynip.port", counts)?;
            let sockets = ears.addresses().collect();
            let lease = Lease(u32::try_from(wire.lease.0.as_secs()).unwrap_or(u32::MAX));
            let job = Some(Job::DynipServer { ears, lease });
            let weakness = "anyone who reaches this port can claim any name that no node of the channel holds, and move \
                            such a name to any address whose datagrams they can forge";
            self.parts.push(Part { wire: "dynip", side: "server", sockets, target: None, weakness, job });
        }
        for target in &config.publish {
            let PublishTarget::Dynip { server, every } = target else { continue };
            let server = server.to_string();
            let (sender, wanted) = watch::channel(None);
            self.dynip.push(sender);
            let job = Some(Job::DynipPublisher { wanted, server: server.clone(), every: every.0 });
            let weakness = "anyone on the way reads this node's name, and anyone can claim it there";
            let (sockets, target) = (Vec::new(), Some(server));
            self.parts.push(Part { wire: "dynip", side: "client", sockets, target, weakness, job });
        }
        Ok(())
    }

    fn bind_terminals(&mut self, config: &Config) -> Result<(), RunError> {
        let Some(wire) = &config.compat.terminals else { return Ok(()) };
        let port = wire.port;
        let (side, sockets, weakness, job) = if config.role.serves() {
            let setting = "compat.terminals.port";
            // The text names the setting of our own port.
            let failed = |error: String| RunError::Compat { setting, reason: error.replace("listen.port", setting) };
            let listener = net::bind_tcp(config.listen.address, port).map_err(|error| failed(error.to_string()))?;
            let listener = TcpListener::from_std(listener).map_err(|error| failed(error.to_string()))?;
            let sockets = listener.local_addr().into_iter().collect();
            let weakness = if wire.file.is_some() {
                "anyone on this network can appear as a terminal, get the terminals' file, and in this base's place call the \
                 terminals and give them any file"
            } else {
                "anyone on this network can appear as a terminal, and can call the terminals in this base's place"
            };
            ("base", sockets, weakness, Job::Base { listener, port })
        } else {
            let counts = Counts {
                too_long: "terminals.dropped_too_long",
                interface: "terminals.dropped_interface",
                failed: "terminals.receive_failed",
            };
            let ears = self.ears(config, port, None, "compat.terminals.port", counts)?;
            let sockets = ears.addresses().collect();
            let weakness = if wire.file.is_some() {
                "anyone on this network can call this terminal, and give it any file in the base's place until a server of \
                 the channel has given it one"
            } else {
                "anyone on this network can call this terminal and learn that it is there"
            };
            ("terminal", sockets, weakness, Job::Terminal { ears, port })
        };
        self.parts.push(Part { wire: "terminals", side, sockets, target: None, weakness, job: Some(job) });
        Ok(())
    }

    fn ears(
        &self,
        config: &Config,
        port: u16,
        groups: Option<FanoutSettings>,
        setting: &'static str,
        counts: Counts,
    ) -> Result<Ears, RunError> {
        let (address, interfaces) = (config.listen.address, self.interfaces.subscribe());
        Ears::open(address, port, groups, interfaces, counts, self.tally.clone()).map_err(|error| {
            // The text names the setting of our own port.
            RunError::Compat { setting, reason: error.to_string().replace("listen.port", setting) }
        })
    }

    /// Starts every part; what they hear comes out of the queue.
    pub(super) fn start(&mut self, config: &Config, files: &Files) -> mpsc::Receiver<Hearsay> {
        let file = config.compat.terminals.as_ref().and_then(|wire| wire.file.as_ref());
        let (heard, claims) = mpsc::channel(CLAIMS);
        for part in &mut self.parts {
            let (tally, interfaces) = (self.tally.clone(), self.interfaces.subscribe());
            tracing::warn!(wire = part.wire, side = part.side, "unauthenticated: {}", part.weakness);
            match part.job.take() {
                Some(Job::PydiscoverServer { ears, channel, hidden }) => {
                    self.tasks.spawn(pydiscover::serve(ears, channel, hidden, config.info.clone(), tally));
                }
                Some(Job::PydiscoverAsker { channel, port }) => {
                    self.tasks.spawn(pydiscover::look(channel, port, interfaces, tally));
                }
                Some(Job::DynipServer { ears, lease }) => {
                    self.tasks.spawn(dynip::serve(ears, lease, heard.clone(), tally));
                }
                Some(Job::DynipPublisher { wanted, server, every }) => {
                    self.tasks.spawn(dynip::publish(wanted, server, every, tally));
                }
                Some(Job::Base { listener, port }) => {
                    self.tasks.spawn(base::call(port, interfaces, tally.clone()));
                    let offers = || -> Arc<dyn base::Offers> { Arc::new(files.offers.clone()) };
                    let served = file.map(|name| (name.clone(), offers()));
                    self.tasks.spawn(base::serve(listener, heard.clone(), served, tally));
                }
                Some(Job::Terminal { ears, port }) => {
                    let accept = config.files.accept.iter().find(|accept| Some(&accept.name) == file);
                    let takes = accept.map(wiring::accepted).zip(files.puller.clone()).map(|(accepted, puller)| {
                        let (called, calls) = watch::channel(None);
                        self.tasks.spawn(updates::take(accepted, puller, calls, tally.clone()));
                        called
                    });
                    self.tasks.spawn(terminal::serve(ears, port, takes, tally));
                }
                None => {}
            }
        }
        claims
    }

    /// Who calls the old terminals to get a file; `None` where they don't get that one here.
    pub(super) fn caller(&self, config: &Config, file: &str) -> Option<Caller> {
        let wire = config.compat.terminals.as_ref().filter(|_| config.role.serves())?;
        let (interfaces, tally) = (self.interfaces.subscribe(), self.tally.clone());
        let is_theirs = wire.file.as_ref().is_some_and(|theirs| theirs.as_str() == file);
        is_theirs.then_some(Caller { port: wire.port, interfaces, tally })
    }

    /// Takes the interfaces that take part now.
    pub(super) fn set_interfaces(&self, taken: Vec<Interface>) {
        self.interfaces.send_replace(taken);
    }

    /// What stands at each DynIP server: nothing says whether it took the last name, or under which address.
    pub(super) fn standing(&self) -> impl Iterator<Item = (Target, Standing)> {
        (0..self.dynip.len()).map(|configured| (Target::Dynip { configured }, Standing::Unknown))
    }

    /// Tells a DynIP server what the plan says, now and from now on. The wire has no goodbye: a name ends by itself there.
    pub(super) fn publish(&self, configured: usize, change: publish::Change) {
        if let Some(wanted) = self.dynip.get(configured) {
            wanted.send_replace(change.into_wanted().map(|publication| publication.name));
        }
    }

    /// Whether a line about refused claims may go to the log now.
    fn may_warn(&mut self, now: Duration) -> bool {
        let may = self.warned.is_none_or(|warned| now >= warned + WARN_EVERY);
        if may {
            self.warned = Some(now);
        }
        may
    }
}

impl Node {
    /// Takes a claim that an ancestor's wire brought, and those that wait behind it.
    pub(super) fn heard_claims(&mut self, first: &Hearsay, claims: &mut mpsc::Receiver<Hearsay>) {
        let now = self.ticker.now();
        self.hear(now, first);
        for _ in 1..CLAIMS_IN_A_ROW {
            let Ok(claim) = claims.try_recv() else { break };
            self.hear(now, &claim);
        }
    }

    fn hear(&mut self, now: Now, claim: &Hearsay) {
        let Hearsay { name, wire, source, .. } = claim;
        match self.core.hear(now, claim) {
            Heard::Taken { news: true } => {}
            Heard::Taken { news: false } if *wire == Wire::Dynip => self.refresh_export(now, EXPORT_WITHIN),
            Heard::Taken { news: false } => {}
            Heard::Owned { holder } if self.compat.may_warn(now.elapsed) => tracing::warn!(
                %name, %source, %wire, holder = %holder.short(),
                "an unauthenticated claim was refused: a node of the channel holds the name"
            ),
            Heard::Full if self.compat.may_warn(now.elapsed) => tracing::warn!(
                %name, %source, %wire,
                "an unauthenticated claim was refused: there are too many such names, in all or from this address"
            ),
            Heard::Owned { .. } | Heard::Full => {}
        }
    }
}

/// Waits for the next turn: some time, or until what is watched changes.
async fn pause<T>(every: Duration, watched: &mut watch::Receiver<T>) {
    let changed = async {
        // The sender goes only when the node stops, and this task with it.
        if watched.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = tokio::time::sleep(every) => {}
        () = changed => {}
    }
}
