//! The jobs of the legacy protocols, and the tasks that do them.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::socket::Listener;
use super::{Compat, base, dynip, pydiscover, terminal, updates};
use crate::model::{Labels, Lease, NodeName};
use crate::registry::UnverifiedClaim;
use crate::transfer;
use crate::transfer::puller::Accepted;
use crate::wire::compat::pydiscover::Channel;

/// What one protocol does in one role while the node runs.
pub(super) enum Job {
    PydiscoverServer {
        listener: Box<Listener>,
        channel: Channel,
        hidden: bool,
        info: Labels,
    },
    PydiscoverRequester {
        channel: Channel,
        port: u16,
    },
    DynipServer {
        listener: Box<Listener>,
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
        listener: Box<Listener>,
        port: u16,
        accepted: Option<Box<Accepted>>,
    },
}

impl Compat {
    /// Starts the tasks of one job.
    pub(super) fn spawn(
        &mut self,
        job: Job,
        claims: &mpsc::Sender<UnverifiedClaim>,
        files: &transfer::Handles,
    ) {
        let tally = self.tally.clone();
        let interfaces = self.interfaces.subscribe();
        let tasks = &mut self.tasks;
        match job {
            Job::PydiscoverServer {
                listener,
                channel,
                hidden,
                info,
            } => {
                tasks.spawn(pydiscover::serve(*listener, channel, hidden, info, tally));
            }
            Job::PydiscoverRequester { channel, port } => {
                tasks.spawn(pydiscover::search(channel, port, interfaces, tally));
            }
            Job::DynipServer { listener, lease } => {
                tasks.spawn(dynip::serve(*listener, lease, claims.clone(), tally));
            }
            Job::DynipPublisher {
                wanted,
                server,
                every,
            } => {
                tasks.spawn(dynip::publish(wanted, server, every, tally));
            }
            Job::Base {
                listener,
                port,
                file,
            } => {
                tasks.spawn(base::call(port, interfaces, tally.clone()));
                let file = file.map(|name| {
                    let offers: Arc<dyn base::OfferSource> = Arc::new(files.offers.clone());
                    (name, offers)
                });
                tasks.spawn(base::serve(listener, claims.clone(), file, tally));
            }
            Job::Terminal {
                listener,
                port,
                accepted,
            } => {
                let updates = accepted
                    .zip(files.puller.clone())
                    .map(|(accepted, puller)| {
                        let (called, calls) = watch::channel(None);
                        tasks.spawn(updates::pull_when_called(
                            *accepted,
                            puller,
                            calls,
                            tally.clone(),
                        ));
                        called
                    });
                tasks.spawn(terminal::serve(*listener, port, updates, tally));
            }
        }
    }
}
