//! The ancestors' wires: one small shell each, over the pure codecs of [`crate::wire::compat`].
//!
//! Each wire is off unless the configuration names it. Nothing that comes by one is proved, so it goes into the registry as
//! hearsay, within limits: so many messages a second of one source and of all, so many names, so many connections, each
//! for so long. A shell is a task; what it hears goes through one bounded queue into the node's loop, which owns the table.

mod base;
pub(crate) mod dynip;
mod limit;
pub(crate) mod pydiscover;
mod report;
mod served;
mod socket;
mod tally;
mod terminal;
mod updates;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::socket::{Counts, Ears};
use self::tally::Tally;
pub(crate) use self::updates::Caller;
use crate::model::{Labels, Lease, NodeName};
use crate::net::{self, FanoutSettings, Interface};
use crate::publish::{self, CurrentState, Target};
use crate::registry::UnverifiedClaim;
use crate::transfer;
use crate::transfer::puller::Accepted;
use crate::wire::compat::pydiscover::Channel;

/// Claims that wait for the node's loop; more are dropped and counted, as a datagram that never came.
const CLAIMS: usize = 1024;
/// Between two lines of the log about claims that were refused.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// An ancestor's wire can't be used as configured.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {reason}")]
pub struct CompatError {
    /// The setting, or what was to be done.
    pub(crate) setting: &'static str,
    /// Why, and how to mend it.
    pub(crate) reason: String,
}

/// Which wires are on, and how.
pub(crate) struct Settings {
    /// Where servers listen.
    pub(crate) address: IpAddr,
    /// The groups that old clients may ask.
    pub(crate) groups: FanoutSettings,
    pub(crate) pydiscover: Option<PydiscoverSettings>,
    /// DynIP's server.
    pub(crate) dynip: Option<DynipSettings>,
    /// The DynIP servers that are told this node's name, and how often.
    pub(crate) dynip_servers: Vec<(String, Duration)>,
    pub(crate) terminals: Option<TerminalsSettings>,
}

/// PyDiscover's wire.
pub(crate) struct PydiscoverSettings {
    pub(crate) channel: Channel,
    pub(crate) port: u16,
    /// Whether there is a password.
    pub(crate) password: bool,
    /// What a server answers; `None` where this node is no server.
    pub(crate) serves: Option<Served>,
    /// Whether this node looks for servers.
    pub(crate) asks: bool,
}

/// What a PyDiscover server answers.
pub(crate) struct Served {
    /// Whether wrong queries get no answer.
    pub(crate) hidden: bool,
    pub(crate) info: Labels,
}

/// DynIP's server.
pub(crate) struct DynipSettings {
    pub(crate) port: u16,
    /// How long a name counts as present.
    pub(crate) lease: Lease,
}

/// The wire of base and terminals.
pub(crate) struct TerminalsSettings {
    pub(crate) port: u16,
    pub(crate) side: TerminalsSide,
}

/// Which side of it this node is.
pub(crate) enum TerminalsSide {
    /// The base; `file` is the offer that terminals get.
    Base { file: Option<Box<str>> },
    /// A terminal; `accepted` is the file that it takes.
    Terminal { accepted: Option<Box<Accepted>> },
}

/// The ancestors' wires of one node.
pub(crate) struct Compat {
    address: IpAddr,
    parts: Vec<Part>,
    interfaces: watch::Sender<Vec<Interface>>,
    /// The name that each DynIP server is to be told, in the configuration's order.
    dynip: Vec<watch::Sender<Option<NodeName>>>,
    /// The port of the base that runs here, and the file that its terminals get.
    base: Option<(u16, Option<Box<str>>)>,
    tally: Tally,
    tasks: JoinSet<()>,
    warned: Option<Duration>,
}

/// One wire in one role.
struct Part {
    protocol: &'static str,
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
    PydiscoverServer {
        ears: Box<Ears>,
        channel: Channel,
        hidden: bool,
        info: Labels,
    },
    PydiscoverRequester {
        channel: Channel,
        port: u16,
    },
    DynipServer {
        ears: Box<Ears>,
        lease: Lease,
    },
    DynipPublisher {
        wanted: watch::Receiver<Option<NodeName>>,
        server: String,
        every: Duration,
    },
    Base {
        listener: TcpListener,
        port: u16,
        file: Option<Box<str>>,
    },
    Terminal {
        ears: Box<Ears>,
        port: u16,
        accepted: Option<Box<Accepted>>,
    },
}

impl Compat {
    /// Binds the sockets of the wires that the settings name.
    pub(crate) fn bind(settings: Settings) -> Result<Self, CompatError> {
        let Settings {
            address,
            groups,
            pydiscover,
            dynip,
            dynip_servers,
            terminals,
        } = settings;
        let (interfaces, _) = watch::channel(Vec::new());
        let mut compat = Self {
            address,
            parts: Vec::new(),
            interfaces,
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

    fn bind_pydiscover(
        &mut self,
        settings: PydiscoverSettings,
        groups: FanoutSettings,
    ) -> Result<(), CompatError> {
        let PydiscoverSettings {
            channel,
            port,
            password,
            serves,
            asks,
        } = settings;
        if let Some(Served { hidden, info }) = serves {
            let groups = FanoutSettings { port, ..groups };
            let counts = Counts {
                too_long: "pydiscover.dropped_too_long",
                interface: "pydiscover.dropped_interface",
                failed: "pydiscover.receive_failed",
            };
            let ears = self.ears(port, Some(groups), "compat.pydiscover.port", counts)?;
            let sockets = ears.addresses().collect();
            let job = Some(Job::PydiscoverServer {
                ears,
                channel: channel.clone(),
                hidden,
                info,
            });
            let weakness = weakness(password);
            self.parts.push(Part {
                protocol: "pydiscover",
                side: "server",
                sockets,
                target: None,
                weakness,
                job,
            });
        }
        if asks {
            let target = Some(format!("broadcast, port {port}"));
            let job = Some(Job::PydiscoverRequester { channel, port });
            let weakness = "anyone on this network can answer, so what is found is shown and nothing is done with it";
            self.parts.push(Part {
                protocol: "pydiscover",
                side: "asker",
                sockets: Vec::new(),
                target,
                weakness,
                job,
            });
        }
        Ok(())
    }

    fn bind_dynip(&mut self, settings: &DynipSettings) -> Result<(), CompatError> {
        let counts = Counts {
            too_long: "dynip.dropped_too_long",
            interface: "dynip.dropped_interface",
            failed: "dynip.receive_failed",
        };
        let ears = self.ears(settings.port, None, "compat.dynip.port", counts)?;
        let sockets = ears.addresses().collect();
        let job = Some(Job::DynipServer {
            ears,
            lease: settings.lease,
        });
        let weakness = "anyone who reaches this port can claim any name that no node of the channel holds, and move \
                        such a name to any address whose datagrams they can forge";
        self.parts.push(Part {
            protocol: "dynip",
            side: "server",
            sockets,
            target: None,
            weakness,
            job,
        });
        Ok(())
    }

    fn publish_by_dynip(&mut self, server: String, every: Duration) {
        let (sender, wanted) = watch::channel(None);
        self.dynip.push(sender);
        let job = Some(Job::DynipPublisher {
            wanted,
            server: server.clone(),
            every,
        });
        let weakness = "anyone on the way reads this node's name, and anyone can claim it there";
        let (sockets, target) = (Vec::new(), Some(server));
        self.parts.push(Part {
            protocol: "dynip",
            side: "client",
            sockets,
            target,
            weakness,
            job,
        });
    }

    fn bind_terminals(&mut self, settings: TerminalsSettings) -> Result<(), CompatError> {
        let TerminalsSettings { port, side } = settings;
        let (side, sockets, weakness, job) = match side {
            TerminalsSide::Base { file } => {
                let setting = "compat.terminals.port";
                // The text names the setting of our own port.
                let failed = |error: String| CompatError {
                    setting,
                    reason: error.replace("listen.port", setting),
                };
                let listener =
                    net::bind_tcp(self.address, port).map_err(|error| failed(error.to_string()))?;
                let listener =
                    TcpListener::from_std(listener).map_err(|error| failed(error.to_string()))?;
                let sockets = listener.local_addr().into_iter().collect();
                let weakness = if file.is_some() {
                    "anyone on this network can appear as a terminal, get the terminals' file, and in this base's place \
                     call the terminals and give them any file"
                } else {
                    "anyone on this network can appear as a terminal, and can call the terminals in this base's place"
                };
                self.base = Some((port, file.clone()));
                (
                    "base",
                    sockets,
                    weakness,
                    Job::Base {
                        listener,
                        port,
                        file,
                    },
                )
            }
            TerminalsSide::Terminal { accepted } => {
                let counts = Counts {
                    too_long: "terminals.dropped_too_long",
                    interface: "terminals.dropped_interface",
                    failed: "terminals.receive_failed",
                };
                let ears = self.ears(port, None, "compat.terminals.port", counts)?;
                let sockets = ears.addresses().collect();
                let weakness = if accepted.is_some() {
                    "anyone on this network can call this terminal, and give it any file in the base's place until a \
                     server of the channel has given it one"
                } else {
                    "anyone on this network can call this terminal and learn that it is there"
                };
                (
                    "terminal",
                    sockets,
                    weakness,
                    Job::Terminal {
                        ears,
                        port,
                        accepted,
                    },
                )
            }
        };
        self.parts.push(Part {
            protocol: "terminals",
            side,
            sockets,
            target: None,
            weakness,
            job: Some(job),
        });
        Ok(())
    }

    fn ears(
        &self,
        port: u16,
        groups: Option<FanoutSettings>,
        setting: &'static str,
        counts: Counts,
    ) -> Result<Box<Ears>, CompatError> {
        let interfaces = self.interfaces.subscribe();
        let opened = Ears::open(
            self.address,
            port,
            groups,
            interfaces,
            counts,
            self.tally.clone(),
        );
        opened.map(Box::new).map_err(|error| {
            // The text names the setting of our own port.
            CompatError {
                setting,
                reason: error.to_string().replace("listen.port", setting),
            }
        })
    }

    /// Starts every part; what they hear comes out of the queue.
    pub(crate) fn start(&mut self, files: &transfer::Handles) -> mpsc::Receiver<UnverifiedClaim> {
        let (heard, claims) = mpsc::channel(CLAIMS);
        for part in &mut self.parts {
            let (tally, interfaces) = (self.tally.clone(), self.interfaces.subscribe());
            tracing::warn!(
                protocol = part.protocol,
                side = part.side,
                "unauthenticated: {}",
                part.weakness
            );
            match part.job.take() {
                Some(Job::PydiscoverServer {
                    ears,
                    channel,
                    hidden,
                    info,
                }) => {
                    self.tasks
                        .spawn(pydiscover::serve(*ears, channel, hidden, info, tally));
                }
                Some(Job::PydiscoverRequester { channel, port }) => {
                    self.tasks
                        .spawn(pydiscover::look(channel, port, interfaces, tally));
                }
                Some(Job::DynipServer { ears, lease }) => {
                    self.tasks
                        .spawn(dynip::serve(*ears, lease, heard.clone(), tally));
                }
                Some(Job::DynipPublisher {
                    wanted,
                    server,
                    every,
                }) => {
                    self.tasks
                        .spawn(dynip::publish(wanted, server, every, tally));
                }
                Some(Job::Base {
                    listener,
                    port,
                    file,
                }) => {
                    self.tasks
                        .spawn(base::call(port, interfaces, tally.clone()));
                    let offers = || -> Arc<dyn base::Offers> { Arc::new(files.offers.clone()) };
                    let served = file.map(|name| (name, offers()));
                    self.tasks
                        .spawn(base::serve(listener, heard.clone(), served, tally));
                }
                Some(Job::Terminal {
                    ears,
                    port,
                    accepted,
                }) => {
                    let takes = accepted
                        .zip(files.puller.clone())
                        .map(|(accepted, puller)| {
                            let (called, calls) = watch::channel(None);
                            self.tasks.spawn(updates::take(
                                *accepted,
                                puller,
                                calls,
                                tally.clone(),
                            ));
                            called
                        });
                    self.tasks.spawn(terminal::serve(*ears, port, takes, tally));
                }
                None => {}
            }
        }
        claims
    }

    /// Who calls the old terminals to get a file; `None` where they don't get that one here.
    pub(crate) fn caller(&self, file: &str) -> Option<Caller> {
        let (port, theirs) = self.base.as_ref()?;
        let (interfaces, tally) = (self.interfaces.subscribe(), self.tally.clone());
        (theirs.as_deref() == Some(file)).then_some(Caller {
            port: *port,
            interfaces,
            tally,
        })
    }

    /// Takes the interfaces that take part now.
    pub(crate) fn set_interfaces(&self, taken: Vec<Interface>) {
        self.interfaces.send_replace(taken);
    }

    /// What stands at each DynIP server: nothing says whether it took the last name, or under which address.
    pub(crate) fn current_state(&self) -> impl Iterator<Item = (Target, CurrentState)> {
        (0..self.dynip.len())
            .map(|configured| (Target::Dynip { configured }, CurrentState::Unknown))
    }

    /// Tells a DynIP server what the plan says, now and from now on. The wire has no goodbye: a name ends by itself there.
    pub(crate) fn publish(&self, configured: usize, change: publish::Change) {
        if let Some(wanted) = self.dynip.get(configured) {
            wanted.send_replace(change.into_wanted().map(|publication| publication.name));
        }
    }

    /// Whether a line about refused claims may go to the log now.
    pub(crate) fn may_warn(&mut self, now: Duration) -> bool {
        let may = self.warned.is_none_or(|warned| now >= warned + WARN_EVERY);
        if may {
            self.warned = Some(now);
        }
        may
    }
}

fn weakness(password: bool) -> &'static str {
    if password {
        "anyone on this network who knows or guesses one answer reads all others without the password, can change them \
         unseen and can answer in this server's place: PyDiscover reuses one key stream and checks nothing"
    } else {
        "anyone on this network can read the key/values and can answer in this server's place"
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
