//! The parts of a running node. Other files of this room add what it does.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::core::Core;
use super::export::Export;
use super::files::held_and_pushed::Files;
use super::files::push::PushEvent;
use super::log_limiter::LogLimiter;
use super::pending::{Change, Reannounce};
use super::silence::Silence;
use super::sleep::Sleep;
use super::store::Store;
use super::watchers::Watchers;
use crate::api::control;
use crate::compat::Compat;
use crate::config::Config;
use crate::model::Timestamp;
use crate::net::mdns::LinkEvent;
use crate::net::{Backoff, Interface, InterfaceSource, Watch};
use crate::publish::mdns::Mdns;
use crate::remote::SessionCounters;
use crate::state_dir::{Lock, StateDir};
use crate::transfer;
use crate::transport::{Clock, Traffic};

/// A node whose sockets are bound and whose registry is loaded.
pub struct Node {
    pub(super) core: Core,
    pub(super) traffic: Traffic,
    pub(super) clock: Clock,
    pub(super) config: Config,
    /// The configuration file.
    pub(super) source: Option<PathBuf>,
    pub(super) state: StateDir,
    pub(super) started: Timestamp,
    pub(super) interfaces: Vec<Interface>,
    pub(super) interface_source: InterfaceSource,
    /// For each configured server, why its last look-up failed.
    pub(super) lookup_failures: Vec<Option<String>>,
    pub(super) servers: Vec<String>,
    pub(super) store: Option<Store>,
    pub(super) changes: VecDeque<Change>,
    pub(super) reannounces: Vec<Reannounce>,
    pub(super) mdns: Mdns,
    pub(super) mdns_events: Option<mpsc::Receiver<LinkEvent>>,
    pub(super) compat: Compat,
    pub(super) watchers: Watchers,
    pub(super) session_counters: Arc<SessionCounters>,
    pub(super) files: Files,
    pub(super) file_tasks: Option<transfer::Tasks>,
    pub(super) push_events: Option<mpsc::Receiver<PushEvent>>,
    /// The address that a server accepts sessions at.
    pub(super) tcp_address: Option<SocketAddr>,
    pub(super) tcp: Option<TcpListener>,
    pub(super) export: Option<Export>,
    pub(super) watch: Option<Watch>,
    pub(super) listener: Option<control::Listener>,
    /// When joins that failed are tried again.
    pub(super) rejoin_at: Option<Duration>,
    pub(super) rejoin_wait: Backoff,
    pub(super) silence: Silence,
    pub(super) sleep: Sleep,
    pub(super) log_limiter: LogLimiter,
    pub(super) _lock: Lock,
}

/// The result of a look-up of a configured server.
pub(super) struct Resolution {
    /// The index of the server.
    pub(super) configured: usize,
    pub(super) result: Result<Vec<SocketAddr>, String>,
}
