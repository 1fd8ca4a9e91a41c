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
        match job {
            Job::PydiscoverServer {
                listener,
                channel,
                hidden,
                info,
            } => {
                self.tasks
                    .spawn(pydiscover::serve(*listener, channel, hidden, info, tally));
            }
            Job::PydiscoverRequester { channel, port } => {
                self.tasks
                    .spawn(pydiscover::search(channel, port, interfaces, tally));
            }
            Job::DynipServer { listener, lease } => {
                self.tasks
                    .spawn(dynip::serve(*listener, lease, claims.clone(), tally));
            }
            Job::DynipPublisher {
                wanted,
                server,
                every,
            } => {
                self.tasks
                    .spawn(dynip::publish(wanted, server, every, tally));
            }
            Job::Base {
                listener,
                port,
                file,
            } => {
                self.tasks
                    .spawn(base::call(port, interfaces, tally.clone()));
                let file = file.map(|name| (name, offer_source(files)));
                self.tasks
                    .spawn(base::serve(listener, claims.clone(), file, tally));
            }
            Job::Terminal {
                listener,
                port,
                accepted,
            } => {
                let updates = self.spawn_updates(accepted, files);
                self.tasks
                    .spawn(terminal::serve(*listener, port, updates, tally));
            }
        }
    }
    /// Starts the task that pulls the accepted file when a base calls; `None` if this node accepts none.
    fn spawn_updates(
        &mut self,
        accepted: Option<Box<Accepted>>,
        files: &transfer::Handles,
    ) -> terminal::Updates {
        let accepted = accepted?;
        let puller = files.puller.clone()?;
        let (called, calls) = watch::channel(None);
        let tally = self.tally.clone();
        self.tasks
            .spawn(updates::pull_when_called(*accepted, puller, calls, tally));
        Some(called)
    }
}

fn offer_source(files: &transfer::Handles) -> Arc<dyn base::OfferSource> {
    Arc::new(files.offers.clone())
}
