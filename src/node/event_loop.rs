//! The event loop: one task over sockets, timer, kernel events, store and commands.
//!
//! Each turn takes one input, hands it to the part that it belongs to, and then does everything that the core asks for.
//! Nothing here may block: look-ups, sessions and disk accesses run elsewhere and send their results to the loop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::core::{Datagram, Event, Output};
use super::export::Export;
use super::parts::{Node, Resolution};
use super::store::changed;
use super::{RunError, explain};
use crate::api::control::{self, Call};
use crate::discovery::{self, Method, To};
use crate::model::Now;
use crate::net::RecvBatch;
use crate::remote::{self};
use crate::transfer;
use crate::transport::{Received, ReturnPath};
use crate::wire::v1::{Message, Refusal, Refused, Regarding};

/// Batches of datagrams that are handled before timers, commands and kernel events have their turn.
const BATCHES_IN_A_ROW: usize = 16;
/// The limit of control socket calls that wait.
const CALLS: usize = 64;
/// The limit of look-up results that wait.
const RESOLUTIONS: usize = 64;
/// Receive errors in a row after which the sockets count as broken.
const RECEIVE_ERRORS: u32 = 100;

impl Node {
    /// The addresses that are bound.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.traffic.sockets.addresses().collect()
    }

    /// Runs until `stop` is ready, then says goodbye and drains. `ready` is called when the node serves.
    pub async fn run(
        mut self,
        stop: impl Future<Output = ()>,
        ready: impl FnOnce(&Self),
    ) -> Result<(), RunError> {
        // All of these are present: `bind` sets them, and a node runs once.
        let (Some(file_tasks), Some(mut push_events), Some(mut watch), Some(mut mdns_events)) = (
            self.file_tasks.take(),
            self.push_events.take(),
            self.watch.take(),
            self.mdns_events.take(),
        ) else {
            return Ok(());
        };
        let (call_sender, mut calls) = mpsc::channel::<Call>(CALLS);
        let _sessions = self.start_sessions(file_tasks.tasks, &call_sender)?;
        let mut file_events = file_tasks.events;
        let control = self
            .listener
            .take()
            .map(|listener| tokio::spawn(control::serve(listener, call_sender)));
        let (resolutions, mut resolved) = mpsc::channel(RESOLUTIONS);
        let mut progress = self.store.as_ref().map(|store| store.progress.clone());
        let mut claims = self.compat.start(&self.files.transfer);
        let mut batch = RecvBatch::new();
        let mut errors_in_a_row = 0;
        let mut ready = Some(ready);
        tokio::pin!(stop);

        let outcome = loop {
            self.notice_sleep();
            self.drain_outputs(&resolutions).await;
            let timer = self.clock.instant(self.deadline());
            tokio::select! {
                () = &mut stop => break Ok(()),
                received = self.traffic.sockets.recv(&mut batch) => {
                    match count_errors(received, &mut errors_in_a_row) {
                        Ok(0) => {}
                        Ok(count) => self.on_datagrams(&mut batch, count, &resolutions).await,
                        Err(error) => break Err(error),
                    }
                }
                () = tokio::time::sleep_until(timer) => self.advance(),
                interfaces = watch.next() => {
                    self.interface_source = watch.source();
                    self.on_interfaces(interfaces);
                    if let Some(ready) = ready.take() {
                        ready(&self);
                    }
                }
                Some(call) = calls.recv() => self.call(call),
                Some(claim) = claims.recv() => self.on_claims(&claim, &mut claims),
                Some(event) = file_events.recv() => self.on_file_event(event),
                Some(event) = push_events.recv() => self.on_push_event(event),
                Some(resolution) = resolved.recv() => self.on_resolution(resolution),
                () = changed(&mut progress) => self.on_store_progress(),
                Some(event) = mdns_events.recv() => self.on_mdns(event),
            }
        };
        self.drain(&resolutions, &mut progress).await;
        if let Some(control) = control {
            control.abort();
            // The socket file is removed while the state directory is still locked.
            let _ = control.await;
        }
        outcome
    }

    /// Starts the thread that serves sessions and the tasks of files; `None` if this node has neither.
    fn start_sessions(
        &mut self,
        tasks: Vec<transfer::Task>,
        calls: &mpsc::Sender<Call>,
    ) -> Result<Option<remote::Thread>, RunError> {
        let sessions = self
            .tcp
            .take()
            .map(|listener| (listener, self.session_shared(calls.clone())));
        if sessions.is_none() && tasks.is_empty() {
            return Ok(None);
        }
        remote::Thread::start(sessions, tasks)
            .map(Some)
            .map_err(RunError::Sessions)
    }

    /// Handles the datagrams of a batch, and those that arrive meanwhile, up to a limit.
    async fn on_datagrams(
        &mut self,
        batch: &mut RecvBatch,
        mut count: usize,
        resolutions: &mpsc::Sender<Resolution>,
    ) {
        for turn in 1..=BATCHES_IN_A_ROW {
            let now = self.clock.now();
            for place in 0..count {
                self.on_datagram(now, batch, place).await;
            }
            self.core.store();
            self.drain_outputs(resolutions).await;
            // A batch that is filled must also be handled: what waits after the last turn stays in the sockets.
            if turn == BATCHES_IN_A_ROW {
                return;
            }
            match self.traffic.sockets.try_recv(batch) {
                Ok(more) => count = more,
                Err(_) => return,
            }
        }
    }

    async fn on_datagram(&mut self, now: Now, batch: &mut RecvBatch, place: usize) {
        self.note_group_activity(now, batch, place);
        match self.traffic.open(batch, place, self.core.counters_mut()) {
            Ok(Received {
                received_by,
                return_path,
                key,
                nonce,
                message,
                ..
            }) => {
                let datagram = Datagram {
                    path: return_path,
                    received_by,
                    key,
                    nonce: &nonce,
                };
                self.core.handle(now, datagram, &message);
            }
            Err(Some(rejected)) if rejected.foreign => {
                self.hint_channel(now, rejected.return_path).await;
            }
            Err(_) => {}
        }
    }

    /// Sends the name of this channel to a peer that may hold its key under another channel name, unless it is hidden.
    async fn hint_channel(&mut self, now: Now, path: ReturnPath) {
        if self.config.channel.hidden || !self.core.admits_stranger(now, path.to) {
            return;
        }
        let message = Message::Refused(Refused {
            regarding: Regarding::Query(0),
            refusal: Refusal::Channel {
                name: self.config.channel.name.as_str().into(),
            },
        });
        self.traffic
            .hint(path, &message, self.core.counters_mut())
            .await;
    }

    /// The next time that [`Self::advance`] must run.
    fn deadline(&self) -> Option<Duration> {
        let deadlines = [
            self.core.deadline(),
            self.mdns.deadline(),
            self.rejoin_at,
            self.silence.deadline(),
            self.sleep.deadline(),
            self.export.as_ref().and_then(Export::deadline),
            self.reannounces
                .iter()
                .map(|waiting| waiting.deadline)
                .min(),
            self.files.pushes.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Does everything that is due.
    fn advance(&mut self) {
        // Sleep must be noticed before anything counts as late.
        self.notice_sleep();
        let now = self.clock.now();
        self.core.advance(now);
        self.mdns.advance(now);
        if self.rejoin_at.is_some_and(|at| at <= now.elapsed) {
            self.reconcile();
        }
        self.rejoin_silent(now);
        self.answer_reannounces(now);
        self.export_if_due(now);
        self.files.pushes.advance(now.elapsed);
    }

    /// Does everything that the core asks for, then sends what is queued.
    pub(super) async fn drain_outputs(&mut self, resolutions: &mpsc::Sender<Resolution>) {
        while let Some(output) = self.core.output() {
            match output {
                Output::Reply { path, message } => {
                    self.traffic
                        .reply(path, &message, self.core.counters_mut())
                        .await;
                }
                Output::Send {
                    to: To::One(address),
                    message,
                } => {
                    self.traffic
                        .send(address, &message, self.core.counters_mut())
                        .await;
                }
                Output::Send {
                    to: To::All(method),
                    message,
                } => self.send_to_all(method, &message).await,
                Output::Resolve { configured } => self.resolve(configured, resolutions.clone()),
                Output::Browse { on } => {
                    self.mdns.browse(on);
                    let failure = if on { self.mdns.failure() } else { None };
                    self.core.sent(Method::Mdns, failure);
                }
                Output::Store { ticket, batch } => self.submit(ticket, batch),
                Output::Notice { notice, from } => self.on_notice(notice, from),
                Output::Event(event) => self.on_event(&event),
            }
        }
        self.show_servers();
        self.send_notices().await;
        self.traffic.flush(self.core.counters_mut()).await;
        let now = self.clock.now();
        if !self.reannounces.is_empty() {
            self.answer_reannounces(now);
        }
    }

    async fn send_to_all(&mut self, method: Method, message: &Message) {
        let sent = self
            .traffic
            .send_to_all(method, message, self.core.counters_mut())
            .await;
        if matches!(message, Message::Query(_)) {
            self.core.sent(method, sent.err());
        }
    }

    /// Logs an event of the core, and informs the parts of the node that depend on it.
    fn on_event(&mut self, event: &Event) {
        let now = self.clock.now();
        if self.log_limiter.admits(now.elapsed, event) {
            explain::log(event);
        }
        self.notify_event(event);
        match event {
            Event::Discovery(discovery::Event::EpochRaised { epoch }) => {
                if let Err(error) = self.state.set_epoch(*epoch) {
                    tracing::error!("failed to {error}");
                }
            }
            Event::Discovery(discovery::Event::NewerFiles { .. }) => self.check_servers_files(),
            Event::Discovery(_) => {}
            _ => self.touch_export(now),
        }
    }
}

/// The number of datagrams that arrived; none after an error, unless so many came in a row that the sockets count as
/// broken.
fn count_errors(received: io::Result<usize>, in_a_row: &mut u32) -> Result<usize, RunError> {
    let error = match received {
        Ok(count) => {
            *in_a_row = 0;
            return Ok(count);
        }
        Err(error) => error,
    };
    *in_a_row += 1;
    tracing::debug!(%error, "failed to receive");
    if *in_a_row > RECEIVE_ERRORS {
        return Err(RunError::Receive(error));
    }
    Ok(0)
}
