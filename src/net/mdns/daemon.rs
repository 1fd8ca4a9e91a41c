//! One daemon of the `mdns-sd` crate, on one interface.

use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{
    DaemonEvent, HostnameResolutionEvent, IfKind, IfPredicate, Metrics, Receiver, ResolvedService,
    ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo,
};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::sockets::Sockets;
use super::{ADDRESSES, BACKLOG, CACHED, Found, Shown, TIMERS, What, Wish, scoped, shareable};

/// How often the crate compares the interfaces with what it knows; ours are followed by kernel events.
const CHECK_SECONDS: u32 = 30;
/// How long a daemon's word is waited for.
const WAIT: Duration = Duration::from_secs(1);
/// How long after something came the daemon's size is looked at, and so how often at most.
const LOOK: Duration = Duration::from_millis(100);
/// How long its answer is waited for before its sockets are silenced, so that it comes to the question.
const PROMPT: Duration = Duration::from_millis(100);
/// How long then, and at the start: it has nothing else to do, but the machine may.
const PATIENT: Duration = Duration::from_secs(5);
/// The crate repeats a goodbye after 120 ms.
const GOODBYE: Duration = Duration::from_millis(200);
/// Pairs and bytes taken of a foreign TXT record.
const FOREIGN_TEXT: usize = 32;

/// How often in a row it may come to no answer by itself. What it then holds, its answer does not tell in full: answers
/// to questions are put off, and pile up.
const STARVED: u32 = 20;

/// Held while a daemon begins: the sockets that come meanwhile are its own.
static BEGINNING: Mutex<()> = Mutex::const_new(());

/// A running daemon and what it follows.
pub(super) struct Daemon {
    index: u32,
    daemon: ServiceDaemon,
    following: Wish,
    monitor: Receiver<DaemonEvent>,
    browse: Option<Receiver<ServiceEvent>>,
    host: Option<Receiver<HostnameResolutionEvent>>,
    sockets: Arc<Sockets>,
    /// Ends when there is a flood, and with the daemon.
    watch: JoinSet<()>,
}

impl Daemon {
    /// Starts a daemon that speaks and hears on this interface alone.
    ///
    /// Fails if port 5353 can't be shared, and where its sockets can't be watched: a flood would have no limit.
    pub(super) async fn start(index: u32, wish: &Wish) -> Result<Self, String> {
        let alone = BEGINNING.lock().await;
        shareable()?;
        let known = Sockets::beyond(&Sockets::default()).map_err(unwatched)?;
        let daemon = ServiceDaemon::new().map_err(failed)?;
        // Before it hears anything; they are looked for once more when it is known to be at work.
        Sockets::beyond(&known).map_err(unwatched)?.hear();
        let following = Wish {
            addresses: wish.addresses.clone(),
            round: wish.round,
            ..Wish::default()
        };
        let usable: HashSet<IpAddr> = wish.addresses.iter().copied().collect();
        let set_up = || {
            daemon.set_ip_check_interval(CHECK_SECONDS)?;
            daemon.disable_interface(IfKind::All)?;
            let ours = move |interface: &_| is_ours(interface, index, &usable);
            daemon.enable_interface(IfKind::Predicate(IfPredicate::new(ours)))?;
            daemon.monitor()
        };
        let monitor = match set_up() {
            Ok(monitor) => monitor,
            Err(error) => {
                // Its thread ends by this, or with the process.
                let _ = daemon.shutdown();
                return Err(failed(error));
            }
        };
        let sockets = match begun(&daemon, &known).await {
            Ok(sockets) => Arc::new(sockets),
            Err(error) => {
                if let Ok(sockets) = Sockets::beyond(&known) {
                    sockets.silence();
                }
                let _ = daemon.shutdown();
                return Err(error);
            }
        };
        drop(alone);
        let mut watching = JoinSet::new();
        watching.spawn(watch(daemon.clone(), sockets.clone()));
        let (browse, host) = (None, None);
        let mut this = Self {
            index,
            daemon,
            following,
            monitor,
            browse,
            host,
            sockets,
            watch: watching,
        };
        match this.follow(wish) {
            Ok(()) => Ok(this),
            Err(error) => {
                this.restart().await;
                Err(error)
            }
        }
    }

    /// What it does.
    pub(super) fn following(&self) -> &Wish {
        &self.following
    }

    /// Does what is wished beyond what it does; never called with a wish that breaks with it.
    pub(super) fn follow(&mut self, wish: &Wish) -> Result<(), String> {
        if self.following.host != wish.host
            && let Some(host) = &wish.host
        {
            self.host = Some(
                self.daemon
                    .resolve_hostname(&format!("{host}.local."), None)
                    .map_err(failed)?,
            );
        }
        if self.following.browse != wish.browse {
            if let Some(before) = &self.following.browse {
                self.daemon.stop_browse(&domain(before)).map_err(failed)?;
                self.browse = None;
            }
            if let Some(service) = &wish.browse {
                self.browse = Some(self.daemon.browse(&domain(service)).map_err(failed)?);
            }
        }
        if self.following.shown != wish.shown
            && let Some(shown) = &wish.shown
        {
            self.daemon.register(service(shown)?).map_err(failed)?;
        }
        self.following = wish.clone();
        Ok(())
    }

    /// What it says next; `None` when it says nothing any more. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Option<Said> {
        loop {
            tokio::select! {
                biased;
                Some(_) = self.watch.join_next() => return Some(Said::Flooded),
                event = receive(Some(&self.monitor)) => match event? {
                    DaemonEvent::Announce(..) => return Some(Said::This(What::Announced)),
                    DaemonEvent::NameChange(change) => {
                        return Some(Said::This(What::Renamed { from: change.original }));
                    }
                    DaemonEvent::Error(error) => return Some(Said::Failed(failed(error))),
                    _ => {}
                },
                event = receive(self.browse.as_ref()) => {
                    if let ServiceEvent::ServiceResolved(service) = event? {
                        if self.is_flood(self.browse.as_ref(), service.get_addresses().len()) {
                            return Some(Said::Flooded);
                        }
                        return Some(Said::This(What::Found(found(&service, self.index))));
                    }
                }
                event = receive(self.host.as_ref()) => {
                    let (addresses, found) = match event? {
                        HostnameResolutionEvent::AddressesFound(_, addresses) => (addresses, true),
                        HostnameResolutionEvent::AddressesRemoved(_, addresses) => (addresses, false),
                        _ => continue,
                    };
                    if self.is_flood(self.host.as_ref(), addresses.len()) {
                        return Some(Said::Flooded);
                    }
                    let addresses = addresses.iter().map(ScopedIp::to_ip_addr).collect();
                    return Some(Said::This(if found { What::Host(addresses) } else { What::Gone(addresses) }));
                }
            }
        }
    }

    /// Whether an event with this many addresses, or what waits behind it, is more than true hosts lead to.
    ///
    /// Each event holds all addresses of its host, and comes for each record: what waits is their product.
    fn is_flood<T>(&self, events: Option<&Receiver<T>>, addresses: usize) -> bool {
        let own = self.following.addresses.len();
        addresses > ADDRESSES + own || events.is_some_and(|events| events.len() > BACKLOG)
    }

    /// Ends it to begin anew: one goodbye, before whatever its successor says.
    pub(super) async fn restart(mut self) {
        self.silence().await;
        let limit = Instant::now() + PATIENT;
        loop {
            match self.daemon.shutdown() {
                Ok(ended) => {
                    let _ = tokio::time::timeout_at(limit, ended.recv_async()).await;
                    return;
                }
                // Its queue of commands may be full.
                Err(mdns_sd::Error::Again) if Instant::now() < limit => sleep(WAIT / 20).await,
                Err(_) => return,
            }
        }
    }

    /// Lets it hear nothing more: while packets wait it does not read that it is to end.
    async fn silence(&mut self) {
        // It would let it hear again.
        self.watch.shutdown().await;
        self.sockets.silence();
        // What it still reads must not pile up here.
        (self.host, self.browse) = (None, None);
    }

    /// Ends it for good: its goodbye is said twice.
    pub(super) async fn stop(mut self) {
        self.silence().await;
        if let Some(shown) = &self.following.shown
            && let Ok(info) = service(shown)
            && let Ok(done) = self.daemon.unregister(info.get_fullname())
            && timeout(WAIT, done.recv_async()).await.is_ok()
        {
            sleep(GOODBYE).await;
        }
        self.restart().await;
    }
}

/// What a daemon says.
pub(super) enum Said {
    This(What),
    /// It can't go on: it has to begin anew.
    Failed(String),
    /// It was flooded: it is silenced, and has to begin anew.
    Flooded,
}

/// Waits until a daemon follows its first commands, and finds its sockets.
async fn begun(daemon: &ServiceDaemon, known: &Sockets) -> Result<Sockets, String> {
    let answer = daemon.get_metrics().map_err(failed)?;
    let (mut answer, limit) = (pin!(answer.recv_async()), Instant::now() + PATIENT);
    loop {
        match timeout(PROMPT, &mut answer).await {
            Ok(Ok(_)) => break,
            Ok(Err(_)) => return Err("speak multicast DNS: its thread ended".to_owned()),
            // It may begin in the middle of a flood.
            Err(_) => Sockets::beyond(known).map_err(unwatched)?.silence(),
        }
        if Instant::now() > limit {
            return Err("speak multicast DNS: its thread does not answer".to_owned());
        }
    }
    let sockets = Sockets::beyond(known).map_err(unwatched)?;
    if sockets.is_empty() {
        return Err("speak multicast DNS: it has no socket".to_owned());
    }
    sockets.only_own_groups();
    sockets.hear();
    Ok(sockets)
}

/// Looks at what a daemon holds whenever something came; ends when that is too much, with its sockets silenced.
async fn watch(daemon: ServiceDaemon, sockets: Arc<Sockets>) {
    let mut starved = 0;
    loop {
        if sockets.arrived().await.is_err() {
            // No more files may be opened now: it is looked at by the clock.
            sleep(LOOK).await;
        }
        sleep(LOOK).await;
        let asked = match daemon.get_metrics() {
            Ok(asked) => asked,
            Err(mdns_sd::Error::Again) => break,
            // That its thread ended shows elsewhere.
            Err(_) => std::future::pending().await,
        };
        if let Ok(answer) = timeout(PROMPT, asked.recv_async()).await {
            if answer.is_ok_and(|metrics| !bearable(&metrics)) {
                break;
            }
            starved = 0;
            continue;
        }
        sockets.silence();
        starved += 1;
        let answer = timeout(PATIENT, asked.recv_async()).await;
        if starved >= STARVED || !matches!(answer, Ok(Ok(metrics)) if bearable(&metrics)) {
            break;
        }
        sockets.hear();
    }
    sockets.silence();
}

/// Whether a daemon holds no more than it may.
fn bearable(metrics: &Metrics) -> bool {
    let cached: i64 = metrics
        .iter()
        .filter(|(name, _)| name.starts_with("cached-"))
        .map(|(_, count)| count)
        .sum();
    // One or two for each record that comes, and so for one that comes again and again.
    let timers = metrics.get("timer").copied().unwrap_or_default();
    cached <= CACHED && timers <= TIMERS
}

/// Whether an interface with one address, as the crate sees it, is this link's.
fn is_ours(interface: &if_addrs::Interface, index: u32, usable: &HashSet<IpAddr>) -> bool {
    interface.index == Some(index) && usable.contains(&interface.ip())
}

/// Waits for an event; `None` when none will come any more.
async fn receive<T>(events: Option<&Receiver<T>>) -> Option<T> {
    match events {
        Some(events) => events.recv_async().await.ok(),
        None => std::future::pending().await,
    }
}

fn domain(service: &str) -> String {
    format!("{service}.local.")
}

fn service(shown: &Shown) -> Result<ServiceInfo, String> {
    let Shown {
        service,
        instance,
        host,
        port,
        addresses,
        text,
        probe,
    } = shown;
    let text: Vec<(&str, &str)> = text
        .iter()
        .map(|(key, value)| (key.as_ref(), value.as_ref()))
        .collect();
    let host = format!("{host}.local.");
    let info = ServiceInfo::new(
        &domain(service),
        instance,
        &host,
        &addresses[..],
        *port,
        &text[..],
    );
    let mut info = info.map_err(failed)?;
    info.set_requires_probe(*probe);
    Ok(info)
}

fn found(service: &ResolvedService, index: u32) -> Found {
    let addresses = service.get_addresses().iter();
    let addresses = addresses
        .map(|address| scoped(address.to_ip_addr(), service.get_port(), index))
        .collect();
    let text = service.get_properties().iter().take(FOREIGN_TEXT);
    let text = text
        .map(|pair| (pair.key().to_owned(), pair.val_str().to_owned()))
        .collect();
    Found {
        name: service.get_fullname().to_owned(),
        addresses,
        text,
    }
}

fn failed(error: mdns_sd::Error) -> String {
    format!("speak multicast DNS: {error}")
}

fn unwatched(error: std::io::Error) -> String {
    format!("watch the sockets of multicast DNS by /proc/self/fd: {error}")
}
