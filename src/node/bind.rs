//! The start of a node: from a configuration to bound sockets and a loaded registry.
//!
//! The order matters: the state directory is locked and all sockets are bound before this start is counted in the file
//! `epoch`. When a node is bound it can run; nothing has been sent yet.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::RunError;
use super::core::{Core, CoreSettings};
use super::export::Export;
use super::files::held_and_pushed::Files;
use super::log_limiter::LogLimiter;
use super::parts::Node;
use super::silence::Silence;
use super::sleep::Sleep;
use super::store::Store;
use super::watchers::Watchers;
use crate::api::control::{self, Call};
use crate::compat::Compat;
use crate::config::{Config, StoreConfig};
use crate::discovery::{Engine, OwnRecord, Responder, ResponderSettings};
use crate::model::{NodeId, Now};
use crate::net::{self, Backoff, Watch};
use crate::publish::mdns::Mdns;
use crate::registry::{Table, Writer};
use crate::remote;
use crate::settings;
use crate::state_dir::StateDir;
use crate::transfer;
use crate::transport::{Clock, Traffic, random_seed};
use crate::wire::keyring::KeyRing;

impl Node {
    /// Binds all sockets and loads the registry: when this returns, every listener is bound.
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
        let sockets = settings::bind_sockets(&config)?;
        let tcp = if config.role.serves() {
            Some(net::bind_tcp(config.listen.address, sockets.port())?)
        } else {
            None
        };
        let compat = Compat::bind(settings::compat(&config)?)?;
        let new_node = state.is_new();
        let identity = state.identity()?;
        let epoch = state.next_epoch(now.wall, new_node)?;
        let node_id = identity.id();

        let (handles, file_tasks) =
            transfer::start(settings::transfer(&config, &state, &identity, &key_ring)?);
        let (files, push_events) = Files::new(handles);
        let own = settings::own(&config, epoch, sockets.port());
        let own = OwnRecord::new(identity, key_ring.first().id(), own);
        let (table, store) = load_registry(&config, &state, node_id, now)?;
        let core = new_core(&config, &key_ring, now, own, table);
        let traffic = Traffic::new(
            sockets,
            settings::fanout(&config),
            settings::policy(&config),
            key_ring,
        );
        let (mdns, mdns_events) = Mdns::new(settings::mdns(&config, traffic.sockets.port()));
        let export = match &config.registry.export {
            Some(export) if config.role.serves() => Some(Export::new(export, state.path())),
            _ => None,
        };
        if made_key {
            log_new_key(&config, &state);
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
            mdns_events: Some(mdns_events),
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

    /// The parts of the node that its sessions share.
    pub(super) fn session_shared(&self, calls: mpsc::Sender<Call>) -> remote::Shared {
        let files = remote::Served {
            identity: self.core.engine().own().identity().clone(),
            offers: self.files.transfer.offers.clone(),
            events: self.files.transfer.events.clone(),
        };
        remote::Shared::new(
            self.traffic.key_ring.clone(),
            self.config.channel.name.as_str().to_owned(),
            settings::sessions(&self.config),
            calls,
            self.session_counters.clone(),
            files,
        )
    }
}

fn new_core(
    config: &Config,
    key_ring: &KeyRing,
    now: Now,
    own: OwnRecord,
    table: Option<Table>,
) -> Core {
    let keys: Vec<_> = key_ring.ids().collect();
    let responder = Responder::new(
        now,
        ResponderSettings::new(random_seed()),
        own.record().name.clone(),
        config.role,
    );
    let engine = Engine::new(now, settings::engine(config, keys.clone()), own);
    let core_settings = CoreSettings {
        info: config.info.clone(),
        keys,
        accepts: settings::accepts(config),
    };
    Core::new(now, engine, responder, table, core_settings)
}

/// Loads the registry of a server from its store.
fn load_registry(
    config: &Config,
    state: &StateDir,
    node_id: NodeId,
    now: Now,
) -> Result<(Option<Table>, Option<Store>), RunError> {
    if !config.role.serves() {
        return Ok((None, None));
    }
    let mut table = Table::new(settings::table(config));
    let StoreConfig::Embedded { path } = &config.registry.store else {
        return Ok((Some(table), None));
    };
    let path = state.path().join(path);
    let (writer, opened) = Writer::open(&path, node_id, |node| table.load(now, node))?;
    tracing::info!(path = %path.display(), nodes = table.len(), created = opened.created, "registry loaded");
    let progress = writer.progress();
    let store = Store {
        writer,
        progress,
        path,
        waiting_since: None,
    };
    Ok((Some(table), Some(store)))
}

fn log_new_key(config: &Config, state: &StateDir) {
    let file = state.channel_key_file();
    tracing::info!(
        file = %file.display(),
        "made a key for channel '{}'. A second machine joins with: hereabouts init --key \"$(cat {})\"  (copy the key by a safe way)",
        config.channel.name.as_str(),
        file.display()
    );
}
