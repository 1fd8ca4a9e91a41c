//! Binds the sockets of each legacy protocol, and describes its weakness.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use super::job::Job;
use super::socket::{Counters, Listener};
use super::{
    Compat, CompatError, DynipSettings, Part, PydiscoverAnswer, PydiscoverSettings,
    TerminalsSettings, TerminalsSide,
};
use crate::net::{self, FanoutSettings};

impl Compat {
    pub(super) fn bind_pydiscover(
        &mut self,
        settings: PydiscoverSettings,
        groups: FanoutSettings,
    ) -> Result<(), CompatError> {
        let PydiscoverSettings {
            channel,
            port,
            password,
            serves,
            searches,
        } = settings;
        if let Some(PydiscoverAnswer { hidden, info }) = serves {
            let groups = FanoutSettings { port, ..groups };
            let counters = Counters {
                too_long: "pydiscover.dropped_too_long",
                interface: "pydiscover.dropped_interface",
                failed: "pydiscover.receive_failed",
            };
            let listener = self.listener(port, Some(groups), "compat.pydiscover.port", counters)?;
            self.parts.push(Part {
                protocol: "pydiscover",
                side: "server",
                sockets: listener.addresses().collect(),
                target: None,
                weakness: pydiscover_weakness(password),
                job: Some(Job::PydiscoverServer {
                    listener,
                    channel: channel.clone(),
                    hidden,
                    info,
                }),
            });
        }
        if searches {
            self.parts.push(Part {
                protocol: "pydiscover",
                side: "requester",
                sockets: Vec::new(),
                target: Some(format!("broadcast, port {port}")),
                weakness: "anyone on this network can answer, so what is found is shown and nothing is done with it",
                job: Some(Job::PydiscoverRequester { channel, port }),
            });
        }
        Ok(())
    }

    pub(super) fn bind_dynip(&mut self, settings: &DynipSettings) -> Result<(), CompatError> {
        let counters = Counters {
            too_long: "dynip.dropped_too_long",
            interface: "dynip.dropped_interface",
            failed: "dynip.receive_failed",
        };
        let listener = self.listener(settings.port, None, "compat.dynip.port", counters)?;
        self.parts.push(Part {
            protocol: "dynip",
            side: "server",
            sockets: listener.addresses().collect(),
            target: None,
            weakness: "anyone who reaches this port can claim any name that no node of the channel holds, and move \
                       such a name to any address whose datagrams they can forge",
            job: Some(Job::DynipServer {
                listener,
                lease: settings.lease,
            }),
        });
        Ok(())
    }

    pub(super) fn publish_by_dynip(&mut self, server: String, every: Duration) {
        let (sender, wanted) = watch::channel(None);
        self.dynip.push(sender);
        self.parts.push(Part {
            protocol: "dynip",
            side: "client",
            sockets: Vec::new(),
            target: Some(server.clone()),
            weakness: "anyone on the path can read this node's name, and anyone can claim it at that server",
            job: Some(Job::DynipPublisher {
                wanted,
                server,
                every,
            }),
        });
    }

    pub(super) fn bind_terminals(
        &mut self,
        settings: TerminalsSettings,
    ) -> Result<(), CompatError> {
        let TerminalsSettings { port, side } = settings;
        let part = match side {
            TerminalsSide::Base { file } => {
                let (listener, sockets) = self.bind_base(port)?;
                self.base = Some((port, file.clone()));
                Part {
                    protocol: "terminals",
                    side: "base",
                    sockets,
                    target: None,
                    weakness: base_weakness(file.is_some()),
                    job: Some(Job::Base {
                        listener,
                        port,
                        file,
                    }),
                }
            }
            TerminalsSide::Terminal { accepted } => {
                let counters = Counters {
                    too_long: "terminals.dropped_too_long",
                    interface: "terminals.dropped_interface",
                    failed: "terminals.receive_failed",
                };
                let listener = self.listener(port, None, "compat.terminals.port", counters)?;
                Part {
                    protocol: "terminals",
                    side: "terminal",
                    sockets: listener.addresses().collect(),
                    target: None,
                    weakness: terminal_weakness(accepted.is_some()),
                    job: Some(Job::Terminal {
                        listener,
                        port,
                        accepted,
                    }),
                }
            }
        };
        self.parts.push(part);
        Ok(())
    }

    fn bind_base(&self, port: u16) -> Result<(TcpListener, Vec<SocketAddr>), CompatError> {
        const SETTING: &str = "compat.terminals.port";
        let listener =
            net::bind_tcp(self.address, port).map_err(|error| bind_error(SETTING, &error))?;
        let listener =
            TcpListener::from_std(listener).map_err(|error| bind_error(SETTING, &error))?;
        let sockets = listener.local_addr().into_iter().collect();
        Ok((listener, sockets))
    }

    fn listener(
        &self,
        port: u16,
        groups: Option<FanoutSettings>,
        setting: &'static str,
        counters: Counters,
    ) -> Result<Box<Listener>, CompatError> {
        let interfaces = self.interfaces.subscribe();
        Listener::open(
            self.address,
            port,
            groups,
            interfaces,
            counters,
            self.tally.clone(),
        )
        .map(Box::new)
        .map_err(|error| bind_error(setting, &error))
    }
}

/// The error of a socket that can't be bound. The text of `error` names the setting of our own port, which is replaced.
fn bind_error(setting: &'static str, error: &impl std::fmt::Display) -> CompatError {
    CompatError {
        setting,
        reason: error.to_string().replace("listen.port", setting),
    }
}

fn pydiscover_weakness(has_password: bool) -> &'static str {
    if has_password {
        "anyone on this network who knows or guesses one answer can read all others without the password, change them \
         unnoticed and answer in this server's place: PyDiscover reuses one key stream and checks nothing"
    } else {
        "anyone on this network can read the pairs of info and answer in this server's place"
    }
}

fn base_weakness(has_file: bool) -> &'static str {
    if has_file {
        "anyone on this network can appear as a terminal, get the terminals' file, and in this base's place \
         call the terminals and give them any file"
    } else {
        "anyone on this network can appear as a terminal, and can call the terminals in this base's place"
    }
}

fn terminal_weakness(accepts_file: bool) -> &'static str {
    if accepts_file {
        "anyone on this network can call this terminal, and give it any file in the base's place until a \
         server of the channel has given it one"
    } else {
        "anyone on this network can call this terminal and learn that it is present"
    }
}
