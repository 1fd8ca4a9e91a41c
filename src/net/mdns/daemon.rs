//! One daemon of the `mdns-sd` crate, on one interface: started, followed, watched for floods, and
//! ended.

use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{
    DaemonEvent, HostnameResolutionEvent, IfKind, IfPredicate, Metrics, Receiver, ScopedIp,
    ServiceDaemon, ServiceEvent,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, trace};

use super::conversion::{daemon_error, domain, found, service};
use super::sockets::Sockets;
use super::{
    LinkEventKind, LinkSettings, MAX_ADDRESSES, MAX_BACKLOG, MAX_CACHED, MAX_TIMERS, shareable,
};

/// How often the crate reads the interfaces; this program follows them by kernel events.
const CHECK_SECONDS: u32 = 30;
/// How long the end of a command is waited for.
const COMMAND_LIMIT: Duration = Duration::from_secs(1);
/// The delay between a packet and the check of the daemon's size. It also limits how often the size
/// is checked.
const CHECK_DELAY: Duration = Duration::from_millis(100);
/// How long the daemon's answer is waited for before its sockets are silenced, so that it reaches
/// the question.
const ANSWER_LIMIT: Duration = Duration::from_millis(100);
/// How long the answer is waited for after that, and at the start: the daemon is idle then, but the
/// machine may be busy.
const SILENCED_ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The crate repeats a goodbye after 120 ms.
const GOODBYE_REPEAT: Duration = Duration::from_millis(200);
/// How often in a row the daemon may fail to answer until it is silenced. Its later answer does not
/// count all that it holds: delayed answers to questions pile up.
const MAX_UNANSWERED: u32 = 20;

/// Locked while a daemon starts: the sockets that are opened meanwhile are its own.
static START: Mutex<()> = Mutex::const_new(());

/// A running daemon and the settings that it follows.
pub(super) struct Daemon {
    index: u32,
    daemon: ServiceDaemon,
    following: LinkSettings,
    monitor: Receiver<DaemonEvent>,
    browse: Option<Receiver<ServiceEvent>>,
    host: Option<Receiver<HostnameResolutionEvent>>,
    sockets: Arc<Sockets>,
    /// Ends when there is a flood, and with the daemon.
    watch: JoinSet<()>,
}

impl Daemon {
    /// Starts a daemon that sends and receives on this interface alone.
    ///
    /// Fails if port 5353 can't be shared, or if the daemon's sockets can't be watched: a flood
    /// would have no limit.
    pub(super) async fn start(index: u32, settings: &LinkSettings) -> Result<Self, String> {
        let alone = START.lock().await;
        shareable()?;
        let known = Sockets::opened_since(&Sockets::default()).map_err(watch_error)?;
        let daemon = ServiceDaemon::new().map_err(daemon_error)?;
        // Before the daemon receives anything. The sockets are collected once more when it is known
        // to run.
        Sockets::opened_since(&known)
            .map_err(watch_error)?
            .receive_ordinary();
        let following = LinkSettings {
            addresses: settings.addresses.clone(),
            round: settings.round,
            ..LinkSettings::default()
        };
        let monitor = match configure(&daemon, index, &settings.addresses) {
            Ok(monitor) => monitor,
            Err(error) => {
                // This ends the thread, or the end of the process does.
                let _ = daemon.shutdown();
                return Err(daemon_error(error));
            }
        };
        let sockets = match await_start(&daemon, &known).await {
            Ok(sockets) => Arc::new(sockets),
            Err(error) => {
                if let Ok(sockets) = Sockets::opened_since(&known) {
                    sockets.silence();
                }
                let _ = daemon.shutdown();
                return Err(error);
            }
        };
        drop(alone);
        let mut watching = JoinSet::new();
        watching.spawn(watch(daemon.clone(), sockets.clone()));
        let mut this = Self {
            index,
            daemon,
            following,
            monitor,
            browse: None,
            host: None,
            sockets,
            watch: watching,
        };
        match this.follow(settings) {
            Ok(()) => Ok(this),
            Err(error) => {
                this.restart().await;
                Err(error)
            }
        }
    }

    pub(super) fn following(&self) -> &LinkSettings {
        &self.following
    }

    /// Does what the settings ask for beyond the present ones; never called with settings that need
    /// a restart.
    pub(super) fn follow(&mut self, settings: &LinkSettings) -> Result<(), String> {
        if self.following.host != settings.host
            && let Some(host) = &settings.host
        {
            self.host = Some(
                self.daemon
                    .resolve_hostname(&format!("{host}.local."), None)
                    .map_err(daemon_error)?,
            );
        }
        if self.following.browse != settings.browse {
            if let Some(before) = &self.following.browse {
                self.daemon
                    .stop_browse(&domain(before))
                    .map_err(daemon_error)?;
                self.browse = None;
            }
            if let Some(service) = &settings.browse {
                self.browse = Some(self.daemon.browse(&domain(service)).map_err(daemon_error)?);
            }
        }
        if self.following.shown != settings.shown
            && let Some(shown) = &settings.shown
        {
            self.daemon
                .register(service(shown)?)
                .map_err(daemon_error)?;
        }
        self.following = settings.clone();
        Ok(())
    }

    /// The daemon's next output; `None` when it ended. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Option<Output> {
        loop {
            tokio::select! {
                biased;
                Some(_) = self.watch.join_next() => return Some(Output::Flooded),
                event = receive(Some(&self.monitor)) => match event? {
                    DaemonEvent::Announce(..) => return Some(Output::Event(LinkEventKind::Announced)),
                    DaemonEvent::NameChange(change) => {
                        return Some(Output::Event(LinkEventKind::Renamed { from: change.original }));
                    }
                    DaemonEvent::Error(error) => return Some(Output::Failed(daemon_error(error))),
                    _ => {}
                },
                event = receive(self.browse.as_ref()) => {
                    if let ServiceEvent::ServiceResolved(service) = event? {
                        if self.is_flood(self.browse.as_ref(), service.get_addresses().len()) {
                            return Some(Output::Flooded);
                        }
                        return Some(Output::Event(LinkEventKind::Found(found(&service, self.index))));
                    }
                }
                event = receive(self.host.as_ref()) => {
                    let (addresses, found) = match event? {
                        HostnameResolutionEvent::AddressesFound(_, addresses) => (addresses, true),
                        HostnameResolutionEvent::AddressesRemoved(_, addresses) => (addresses, false),
                        _ => continue,
                    };
                    if self.is_flood(self.host.as_ref(), addresses.len()) {
                        return Some(Output::Flooded);
                    }
                    let addresses = addresses.iter().map(ScopedIp::to_ip_addr).collect();
                    return Some(Output::Event(if found { LinkEventKind::Host(addresses) } else { LinkEventKind::Removed(addresses) }));
                }
            }
        }
    }

    /// Whether an event with this many addresses, or the backlog behind it, is more than real hosts
    /// cause.
    ///
    /// Each event holds all addresses of its host, and each record causes an event: the backlog is
    /// their product.
    fn is_flood<T>(&self, events: Option<&Receiver<T>>, addresses: usize) -> bool {
        let own = self.following.addresses.len();
        addresses > MAX_ADDRESSES + own || events.is_some_and(|events| events.len() > MAX_BACKLOG)
    }

    /// Ends the daemon so that another can start: it sends one goodbye, before anything that its
    /// successor sends.
    pub(super) async fn restart(mut self) {
        self.silence().await;
        let limit = Instant::now() + SILENCED_ANSWER_LIMIT;
        loop {
            match self.daemon.shutdown() {
                Ok(ended) => {
                    let _ = tokio::time::timeout_at(limit, ended.recv_async()).await;
                    return;
                }
                // The queue of commands may be full.
                Err(mdns_sd::Error::Again) if Instant::now() < limit => {
                    sleep(COMMAND_LIMIT / 20).await
                }
                Err(_) => return,
            }
        }
    }

    /// Lets the daemon receive nothing more: while packets wait, it does not read the command to
    /// end.
    async fn silence(&mut self) {
        // The watcher would let the daemon receive again.
        self.watch.shutdown().await;
        self.sockets.silence();
        // Events that the daemon still sends must not pile up here.
        self.host = None;
        self.browse = None;
    }

    /// Ends the daemon for good: it sends its goodbye twice.
    pub(super) async fn stop(mut self) {
        self.silence().await;
        if let Some(shown) = &self.following.shown
            && let Ok(info) = service(shown)
            && let Ok(done) = self.daemon.unregister(info.get_fullname())
            && timeout(COMMAND_LIMIT, done.recv_async()).await.is_ok()
        {
            sleep(GOODBYE_REPEAT).await;
        }
        self.restart().await;
    }
}

/// Makes a daemon use only these addresses of this interface, and subscribes to its events.
fn configure(
    daemon: &ServiceDaemon,
    index: u32,
    addresses: &[IpAddr],
) -> Result<Receiver<DaemonEvent>, mdns_sd::Error> {
    let usable: HashSet<IpAddr> = addresses.iter().copied().collect();
    daemon.set_ip_check_interval(CHECK_SECONDS)?;
    daemon.disable_interface(IfKind::All)?;
    let ours = move |interface: &_| is_ours(interface, index, &usable);
    daemon.enable_interface(IfKind::Predicate(IfPredicate::new(ours)))?;
    daemon.monitor()
}

/// The output of a daemon.
pub(super) enum Output {
    Event(LinkEventKind),
    /// It can't continue: it has to restart.
    Failed(String),
    /// It was flooded: it is silenced, and has to restart.
    Flooded,
}

/// Waits until a daemon has followed its first commands, and finds its sockets.
async fn await_start(daemon: &ServiceDaemon, known: &Sockets) -> Result<Sockets, String> {
    let answer = daemon.get_metrics().map_err(daemon_error)?;
    let mut answer = pin!(answer.recv_async());
    let limit = Instant::now() + SILENCED_ANSWER_LIMIT;
    loop {
        match timeout(ANSWER_LIMIT, &mut answer).await {
            Ok(Ok(_)) => break,
            Ok(Err(_)) => return Err("speak multicast DNS: its thread ended".to_owned()),
            // The daemon may start in the middle of a flood.
            Err(_) => Sockets::opened_since(known).map_err(watch_error)?.silence(),
        }
        if Instant::now() > limit {
            return Err("speak multicast DNS: its thread does not answer".to_owned());
        }
    }
    let sockets = Sockets::opened_since(known).map_err(watch_error)?;
    if sockets.is_empty() {
        return Err("speak multicast DNS: it has no socket".to_owned());
    }
    sockets.only_own_groups();
    sockets.receive_ordinary();
    Ok(sockets)
}

/// Checks the daemon's size after packets have arrived; ends when the daemon holds too much, with
/// its sockets silenced.
async fn watch(daemon: ServiceDaemon, sockets: Arc<Sockets>) {
    let mut unanswered = 0;
    loop {
        if sockets.arrived().await.is_err() {
            // No more files can be opened now: the size is checked at intervals.
            sleep(CHECK_DELAY).await;
        }
        sleep(CHECK_DELAY).await;
        let pending = match daemon.get_metrics() {
            Ok(pending) => pending,
            Err(mdns_sd::Error::Again) => break,
            // Its thread ended, which `Daemon::next` reports.
            Err(_) => std::future::pending().await,
        };
        if let Ok(answer) = timeout(ANSWER_LIMIT, pending.recv_async()).await {
            if answer.is_ok_and(|metrics| !is_within_limits(&metrics)) {
                debug!("the daemon holds too many records or timers: it is silenced");
                break;
            }
            unanswered = 0;
            continue;
        }
        trace!("the daemon is busy: its sockets are silenced until it answers");
        sockets.silence();
        unanswered += 1;
        let answer = timeout(SILENCED_ANSWER_LIMIT, pending.recv_async()).await;
        if unanswered >= MAX_UNANSWERED
            || !matches!(answer, Ok(Ok(metrics)) if is_within_limits(&metrics))
        {
            break;
        }
        sockets.receive_ordinary();
    }
    sockets.silence();
}

/// Whether a daemon holds no more than its limits.
fn is_within_limits(metrics: &Metrics) -> bool {
    let cached: i64 = metrics
        .iter()
        .filter(|(name, _)| name.starts_with("cached-"))
        .map(|(_, count)| count)
        .sum();
    // A record adds one or two timers each time it arrives, so one that arrives again and again
    // adds many.
    let timers = metrics.get("timer").copied().unwrap_or_default();
    cached <= MAX_CACHED && timers <= MAX_TIMERS
}

/// Whether an interface with one address, as the crate sees it, belongs to this link.
fn is_ours(interface: &if_addrs::Interface, index: u32, usable: &HashSet<IpAddr>) -> bool {
    interface.index == Some(index) && usable.contains(&interface.ip())
}

/// Waits for an event; `None` when there will be no more events.
async fn receive<T>(events: Option<&Receiver<T>>) -> Option<T> {
    match events {
        Some(events) => events.recv_async().await.ok(),
        None => std::future::pending().await,
    }
}

fn watch_error(error: std::io::Error) -> String {
    format!("watch the sockets of multicast DNS by /proc/self/fd: {error}")
}
