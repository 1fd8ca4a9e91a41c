//! The running node: one loop over sockets, timer, kernel events, store and commands.

use std::collections::VecDeque;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::control::{Change, Reannounce};
use super::core::{Core, CoreSettings, Datagram, Event, Output};
use super::export::Export;
use super::files;
use super::log_limiter::LogLimiter;
use super::silence::Silence;
use super::sleep::Sleep;
use super::watchers::Watchers;
use super::{RunError, explain};
use crate::api::control::{self, Call};
use crate::compat::Compat;
use crate::config::{Config, StoreConfig};
use crate::discovery::{self, Engine, Method, OwnRecord, Responder, ResponderSettings, To};
use crate::model::Timestamp;
use crate::net::mdns::Heard;
use crate::net::{self, Backoff, Interface, InterfaceSource, RecvBatch, Watch};
use crate::publish::mdns::Mdns;
use crate::registry::{Batch, Progress, Table, Writer};
use crate::remote::{self, SessionCounters};
use crate::settings;
use crate::state_dir::{Lock, StateDir};
use crate::transfer;
use crate::transport::Clock;
use crate::transport::{Received, Traffic, random_seed};
use crate::wire::v1::{Message, Refusal, Refused, Regarding};

/// Batches of datagrams handled before timers, commands and kernel events have their turn.
const BATCHES_IN_A_ROW: usize = 16;
/// Calls of the control socket that wait.
const CALLS: usize = 64;
/// How long a stop waits for goodbyes to leave and for the store.
const DRAIN: Duration = Duration::from_secs(5);
/// Looked-up addresses that wait.
const RESOLUTIONS: usize = 64;
/// Receive errors in a row after which the sockets count as broken.
const RECEIVE_ERRORS: u32 = 100;

/// A node whose sockets are bound and whose registry is loaded.
pub struct Node {
    pub(super) core: Core,
    pub(super) traffic: Traffic,
    pub(super) clock: Clock,
    pub(super) config: Config,
    pub(super) source: Option<PathBuf>,
    pub(super) state: StateDir,
    pub(super) started: Timestamp,
    pub(super) interfaces: Vec<Interface>,
    pub(super) interface_source: InterfaceSource,
    /// Where each configured server's last look-up failed, why.
    pub(super) lookup_failures: Vec<Option<String>>,
    pub(super) servers: Vec<String>,
    pub(super) store: Option<Store>,
    pub(super) changes: VecDeque<Change>,
    pub(super) reannounces: Vec<Reannounce>,
    pub(super) mdns: Mdns,
    heard: Option<mpsc::Receiver<Heard>>,
    pub(super) compat: Compat,
    pub(super) watchers: Watchers,
    pub(super) session_counters: Arc<SessionCounters>,
    pub(super) files: files::Files,
    file_tasks: Option<transfer::Tasks>,
    push_events: Option<mpsc::Receiver<files::PushEvent>>,
    /// Where sessions come in, on a server.
    pub(super) tcp_address: Option<SocketAddr>,
    tcp: Option<TcpListener>,
    export: Option<Export>,
    watch: Option<Watch>,
    listener: Option<control::Listener>,
    /// When joins that failed are tried again, and how long the next wait is.
    pub(super) rejoin_at: Option<Duration>,
    pub(super) rejoin_wait: Backoff,
    pub(super) silence: Silence,
    pub(super) sleep: Sleep,
    log_limiter: LogLimiter,
    _lock: Lock,
}

/// The registry's store and how far it is.
pub(super) struct Store {
    pub(super) writer: Writer,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) path: PathBuf,
    /// When the oldest batch that is not durable was handed over.
    pub(super) waiting_since: Option<Duration>,
}

/// What a look-up of a configured server brought.
struct Resolution {
    configured: usize,
    result: Result<Vec<SocketAddr>, String>,
}

impl Node {
    /// Binds everything; when it returns, every listener is bound and the registry is loaded.
    ///
    /// Must be called within a tokio runtime.
    pub async fn bind(config: Config, source: Option<PathBuf>) -> Result<Self, RunError> {
        let unavailable = config.unavailable();
        if !unavailable.is_empty() {
            return Err(RunError::Unavailable(unavailable));
        }
        let clock = Clock::new();
        let now = clock.now();
        let state = StateDir::open(&config.node.state_dir)?;
        let lock = state.lock()?;
        let listener = control::Listener::bind(state.path())?;
        let (key_ring, made_key) = settings::key_ring(&config, Some(&state))?;
        let sockets = settings::bound(&config)?;
        let tcp = match config.role.serves() {
            true => Some(net::bind_tcp(config.listen.address, sockets.port())?),
            false => None,
        };
        let compat = Compat::bind(settings::compat(&config)?)?;
        let new_node = state.is_new();
        let identity = state.identity()?;
        let epoch = state.next_epoch(now.wall, new_node)?;
        let node_id = identity.id();

        let (handles, file_tasks) =
            transfer::start(settings::transfer(&config, &state, &identity, &key_ring)?);
        let (files, push_events) = files::Files::new(handles);
        let keys: Vec<_> = key_ring.ids().collect();
        let own = settings::own(&config, epoch, sockets.port());
        let responder = Responder::new(
            now,
            ResponderSettings::new(random_seed()),
            own.name.clone(),
            config.role,
        );
        let own = OwnRecord::new(identity, key_ring.first().id(), own);
        let engine = Engine::new(now, settings::engine(&config, keys.clone()), own);
        let mut table = config
            .role
            .serves()
            .then(|| Table::new(settings::table(&config)));
        let store = match (&mut table, &config.registry.store) {
            (Some(table), StoreConfig::Embedded { path }) => {
                let path = state.path().join(path);
                let (writer, opened) = Writer::open(&path, node_id, |node| table.load(now, node))?;
                tracing::info!(path = %path.display(), nodes = table.len(), created = opened.created, "registry loaded");
                let progress = writer.progress();
                Some(Store {
                    writer,
                    progress,
                    path,
                    waiting_since: None,
                })
            }
            _ => None,
        };
        let core_settings = CoreSettings {
            info: config.info.clone(),
            keys,
            accepts: settings::accepts(&config),
        };
        let core = Core::new(now, engine, responder, table, core_settings);
        let traffic = Traffic::new(
            sockets,
            settings::fanout(&config),
            settings::policy(&config),
            key_ring,
        );
        let (mdns, heard) = Mdns::new(settings::mdns(&config, traffic.sockets.port()));
        let export = config
            .registry
            .export
            .as_ref()
            .filter(|_| config.role.serves());
        let export = export.map(|export| Export::new(export, state.path()));
        if made_key {
            tracing::info!(
                file = %state.channel_key_file().display(),
                "made a key for channel '{}'. A second machine joins with: hereabouts init --key \"$(cat {})\"  (copy the key by a safe way)",
                config.channel.name.as_str(),
                state.channel_key_file().display()
            );
        }
        let watch = Watch::new();
        let servers = settings::servers(&config);
        Ok(Self {
            core,
            traffic,
            clock,
            started: now.wall,
            interfaces: Vec::new(),
            interface_source: watch.source(),
            lookup_failures: vec![None; servers.len()],
            servers,
            store,
            changes: VecDeque::new(),
            reannounces: Vec::new(),
            mdns,
            heard: Some(heard),
            compat,
            watchers: Watchers::default(),
            files,
            file_tasks: Some(file_tasks),
            push_events: Some(push_events),
            session_counters: Arc::default(),
            tcp_address: tcp.as_ref().and_then(|tcp| tcp.local_addr().ok()),
            tcp,
            export,
            watch: Some(watch),
            listener: Some(listener),
            rejoin_at: None,
            rejoin_wait: Backoff::new(),
            silence: Silence::default(),
            sleep: Sleep::default(),
            log_limiter: LogLimiter::default(),
            config,
            source,
            state,
            _lock: lock,
        })
    }

    fn session_shared(&self, calls: mpsc::Sender<Call>) -> remote::Shared {
        let channel = self.config.channel.name.as_str().to_owned();
        let limits = settings::sessions(&self.config);
        let files = remote::Served {
            identity: self.core.engine().own().identity().clone(),
            offers: self.files.transfer.offers.clone(),
            events: self.files.transfer.events.clone(),
        };
        remote::Shared::new(
            self.traffic.key_ring.clone(),
            channel,
            limits,
            calls,
            self.session_counters.clone(),
            files,
        )
    }

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
        let (calls, mut called) = mpsc::channel::<Call>(CALLS);
        let Some(transfer::Tasks {
            tasks,
            events: mut file_events,
        }) = self.file_tasks.take()
        else {
            return Ok(());
        };
        let Some(mut push_events) = self.push_events.take() else {
            return Ok(());
        };
        let serving = self
            .tcp
            .take()
            .map(|listener| (listener, self.session_shared(calls.clone())));
        let _sessions = match (&serving, tasks.is_empty()) {
            (None, true) => None,
            _ => Some(remote::Thread::start(serving, tasks).map_err(RunError::Sessions)?),
        };
        let serving = self
            .listener
            .take()
            .map(|listener| tokio::spawn(control::serve(listener, calls)));
        let (resolutions, mut resolved) = mpsc::channel(RESOLUTIONS);
        let (Some(mut watch), Some(mut heard)) = (self.watch.take(), self.heard.take()) else {
            return Ok(());
        };
        let mut progress = self.store.as_ref().map(|store| store.progress.clone());
        let mut claims = self.compat.start(&self.files.transfer);
        let mut batch = RecvBatch::new();
        let mut errors = 0;
        tokio::pin!(stop);
        let mut ready = Some(ready);

        let outcome = loop {
            self.notice_sleep();
            self.settle(&resolutions).await;
            let timer = self.clock.instant(self.deadline());
            tokio::select! {
                () = &mut stop => break Ok(()),
                received = self.traffic.sockets.recv(&mut batch) => match received {
                    Ok(count) => {
                        errors = 0;
                        self.receive(&mut batch, count, &resolutions).await;
                    }
                    Err(error) => {
                        errors += 1;
                        tracing::debug!(%error, "failed to receive");
                        if errors > RECEIVE_ERRORS {
                            break Err(RunError::Receive(error));
                        }
                    }
                },
                () = tokio::time::sleep_until(timer) => self.advance(),
                interfaces = watch.next() => {
                    self.interface_source = watch.source();
                    self.interfaces_changed(interfaces);
                    if let Some(ready) = ready.take() {
                        ready(&self);
                    }
                }
                Some(call) = called.recv() => self.call(call),
                Some(claim) = claims.recv() => self.heard_claims(&claim, &mut claims),
                Some(event) = file_events.recv() => self.file_event(event),
                Some(event) = push_events.recv() => self.push_event(event),
                Some(Resolution { configured, result }) = resolved.recv() => self.resolved(configured, result),
                () = changed(&mut progress) => self.progressed(),
                Some(heard) = heard.recv() => self.heard(heard),
            }
        };
        self.drain(&resolutions, &mut progress).await;
        if let Some(serving) = serving {
            serving.abort();
            // The socket file goes while the state directory is still locked.
            let _ = serving.await;
        }
        outcome
    }

    /// Handles what arrived, and what arrives meanwhile, up to a limit.
    async fn receive(
        &mut self,
        batch: &mut RecvBatch,
        mut count: usize,
        resolutions: &mpsc::Sender<Resolution>,
    ) {
        for _ in 0..BATCHES_IN_A_ROW {
            let now = self.clock.now();
            for place in 0..count {
                self.datagram(now, batch, place).await;
            }
            self.core.store();
            self.settle(resolutions).await;
            match self.traffic.sockets.try_recv(batch) {
                Ok(more) => count = more,
                Err(_) => break,
            }
        }
    }

    async fn datagram(&mut self, now: crate::model::Now, batch: &mut RecvBatch, place: usize) {
        self.note_heard(now, batch, place);
        match self.traffic.open(batch, place, self.core.counters_mut()) {
            Ok(Received {
                from,
                came_by,
                via,
                key,
                nonce,
                length,
                message,
            }) => {
                self.core.handle(
                    now,
                    Datagram {
                        from,
                        came_by,
                        via,
                        key,
                        nonce: &nonce,
                        length,
                    },
                    &message,
                );
            }
            Err(Some(rejected)) if rejected.foreign && !self.config.channel.hidden => {
                if self.core.admits_stranger(now, rejected.from) {
                    let refusal = Refusal::Channel {
                        name: self.config.channel.name.as_str().into(),
                    };
                    let message = Message::Refused(Refused {
                        regarding: Regarding::Query(0),
                        refusal,
                    });
                    let most = rejected.length.saturating_mul(3);
                    let counters = self.core.counters_mut();
                    self.traffic
                        .hint(rejected.from, rejected.via, &message, most, counters)
                        .await;
                }
            }
            Err(_) => {}
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let export = self.export.as_ref().and_then(Export::deadline);
        let announces = self
            .reannounces
            .iter()
            .map(|waiting| waiting.deadline)
            .min();
        let pushes = self.files.pushes.deadline();
        let [mdns, silence, sleep] = [
            self.mdns.deadline(),
            self.silence.deadline(),
            self.sleep.deadline(),
        ];
        let deadlines = [
            self.core.deadline(),
            mdns,
            self.rejoin_at,
            silence,
            sleep,
            export,
            announces,
            pushes,
        ];
        deadlines.into_iter().flatten().min()
    }

    fn advance(&mut self) {
        // Before anything that is late counts as due.
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
        self.files.pushes.end(now.elapsed);
    }

    /// Does what the core wants done, until it wants nothing more.
    async fn settle(&mut self, resolutions: &mpsc::Sender<Resolution>) {
        while let Some(output) = self.core.output() {
            match output {
                Output::Reply {
                    to,
                    via,
                    message,
                    most,
                } => {
                    self.traffic
                        .reply(to, via, &message, most, self.core.counters_mut())
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
                    self.core
                        .sent(Method::Mdns, self.mdns.failure().filter(|_| on));
                }
                Output::Store { ticket, batch } => self.submit(ticket, batch),
                Output::Notice { notice, from } => self.noticed(notice, from),
                Output::Event(event) => self.event(&event),
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

    fn resolve(&self, configured: usize, resolutions: mpsc::Sender<Resolution>) {
        let Some(server) = self.servers.get(configured).cloned() else {
            return;
        };
        tokio::spawn(async move {
            let result = net::resolve(&server)
                .await
                .map_err(|error| format!("failed to {error}"));
            // The node stops if nobody receives.
            let _ = resolutions.send(Resolution { configured, result }).await;
        });
    }

    fn resolved(&mut self, configured: usize, result: Result<Vec<SocketAddr>, String>) {
        let now = self.clock.now();
        let (addresses, failure) = match result {
            Ok(addresses) => (addresses, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        if let Some(last) = self.lookup_failures.get_mut(configured) {
            if let Some(failure) = failure.as_ref().filter(|_| last.is_none()) {
                tracing::warn!("{failure}; tried again, at last every 30 s");
            }
            *last = failure;
        }
        self.core.resolved(now, configured, addresses);
    }

    /// Takes what was heard by multicast DNS.
    fn heard(&mut self, heard: Heard) {
        let now = self.clock.now();
        for candidate in self.mdns.heard(now, heard) {
            self.core.candidate(now, candidate);
        }
        self.core.sent(Method::Mdns, self.mdns.failure());
    }

    fn submit(&mut self, ticket: u64, batch: Batch) {
        let elapsed = self.clock.now().elapsed;
        let Some(store) = &mut self.store else { return };
        match store.writer.submit(batch) {
            Ok(taken) => {
                debug_assert_eq!(taken.0, ticket, "core and store count the same batches");
                store.waiting_since.get_or_insert(elapsed);
            }
            Err(full) => self.core.put_back(full.0),
        }
    }

    fn progressed(&mut self) {
        let now = self.clock.now();
        let Some(store) = &mut self.store else { return };
        let durable = store.progress.borrow_and_update().durable;
        store.waiting_since = (durable < store.writer.last_ticket()).then_some(now.elapsed);
        self.core.durable(now, durable.0);
        self.answer_changes(durable.0);
    }

    fn event(&mut self, event: &Event) {
        if self.log_limiter.admits(self.clock.now().elapsed, event) {
            explain::log(event);
        }
        self.tell_event(event);
        match event {
            Event::Discovery(discovery::Event::EpochRaised { epoch }) => {
                if let Err(error) = self.state.set_epoch(*epoch) {
                    tracing::error!("failed to {error}");
                }
            }
            Event::Discovery(discovery::Event::NewerFiles { .. }) => self.files_changed(),
            Event::Discovery(_) => {}
            _ => {
                let now = self.clock.now();
                if let Some(export) = &mut self.export {
                    export.touch(now.elapsed);
                }
            }
        }
    }

    fn interfaces_changed(&mut self, interfaces: Vec<Interface>) {
        let now = self.clock.now();
        if !self.interfaces.is_empty() && interfaces == self.interfaces {
            self.rejoin_lost();
            return;
        }
        let joined = self.traffic.fanout.joined();
        let before = std::mem::replace(&mut self.interfaces, interfaces);
        self.rejoin_wait.reset();
        self.reconcile();
        self.rejoin_changed(&before, &joined);
        let taken = self.traffic.policy.used(&self.interfaces);
        let same = taken == self.traffic.policy.used(&before);
        self.compat.set_interfaces(taken);
        self.publish(now);
        if same {
            self.core.routes_changed(now);
        } else {
            self.core.network_changed(now);
        }
    }

    /// Something that the export shows changed.
    pub(super) fn touch_export(&mut self, now: crate::model::Now) {
        if let Some(export) = &mut self.export {
            export.touch(now.elapsed);
        }
    }

    /// Something that only the export's times show changed.
    pub(super) fn refresh_export(&mut self, now: crate::model::Now, within: Duration) {
        if let Some(export) = &mut self.export {
            export.refresh(now.elapsed, within);
        }
    }

    fn export_if_due(&mut self, now: crate::model::Now) {
        if let (Some(export), Some(table)) = (&mut self.export, self.core.table())
            && export.deadline().is_some_and(|at| at <= now.elapsed)
        {
            export.write(table, now);
        }
    }

    /// Says goodbye, lets it leave, and brings the last changes to the disk.
    async fn drain(
        &mut self,
        resolutions: &mpsc::Sender<Resolution>,
        progress: &mut Option<watch::Receiver<Progress>>,
    ) {
        tracing::info!("stopping: saying goodbye");
        let deadline = tokio::time::Instant::now() + DRAIN;
        self.core.stop(self.clock.now());
        self.settle(resolutions).await;
        self.mdns.stop().await;
        while self.core.in_flight() > 0 {
            if tokio::time::timeout_at(deadline, changed(progress))
                .await
                .is_err()
            {
                tracing::warn!(
                    "the store did not finish in time; what was not acknowledged may be lost"
                );
                break;
            }
            self.progressed();
            self.settle(resolutions).await;
        }
        let now = self.clock.now();
        if let (Some(export), Some(table)) = (&mut self.export, self.core.table()) {
            export.write(table, now);
        }
        if let Some(Store { writer, .. }) = self.store.take() {
            let closed = tokio::task::spawn_blocking(move || writer.shutdown());
            match tokio::time::timeout_at(deadline, closed).await {
                Ok(Ok(Err(error))) => tracing::error!("failed to {error}"),
                Ok(_) => {}
                Err(_) => tracing::warn!("the store did not close in time"),
            }
        }
    }
}

/// Waits for news of the store; for ever where there is none.
async fn changed(progress: &mut Option<watch::Receiver<Progress>>) {
    match progress {
        Some(receiver) => {
            if receiver.changed().await.is_err() {
                *progress = None;
            }
        }
        None => std::future::pending().await,
    }
}
