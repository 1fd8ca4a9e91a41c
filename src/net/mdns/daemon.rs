//! One daemon of the `mdns-sd` crate, on one interface.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use mdns_sd::{
    DaemonEvent, HostnameResolutionEvent, IfKind, IfPredicate, Receiver, ResolvedService, ScopedIp, ServiceDaemon,
    ServiceEvent, ServiceInfo,
};

use super::{ADDRESSES_PER_SERVICE, Found, Shown, What, Wish, scoped};

/// How often the crate compares the interfaces with what it knows; ours are followed by kernel events.
const CHECK_SECONDS: u32 = 30;
/// How long a daemon's word is waited for.
const WAIT: Duration = Duration::from_secs(1);
/// The crate repeats a goodbye after 120 ms.
const GOODBYE: Duration = Duration::from_millis(200);
/// Pairs and bytes taken of a foreign TXT record.
const FOREIGN_TEXT: usize = 32;

/// A running daemon and what it follows.
pub(super) struct Daemon {
    index: u32,
    daemon: ServiceDaemon,
    following: Wish,
    monitor: Receiver<DaemonEvent>,
    browse: Option<Receiver<ServiceEvent>>,
    host: Option<Receiver<HostnameResolutionEvent>>,
}

impl Daemon {
    /// Starts a daemon that speaks and hears on this interface alone.
    pub(super) fn start(index: u32, wish: &Wish) -> Result<Self, String> {
        let daemon = ServiceDaemon::new().map_err(failed)?;
        let following = Wish { addresses: wish.addresses.clone(), round: wish.round, ..Wish::default() };
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
        let mut this = Self { index, daemon, following, monitor, browse: None, host: None };
        match this.follow(wish) {
            Ok(()) => Ok(this),
            Err(error) => {
                let _ = this.daemon.shutdown();
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
            self.host = Some(self.daemon.resolve_hostname(&format!("{host}.local."), None).map_err(failed)?);
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
    pub(super) async fn next(&mut self) -> Option<What> {
        loop {
            tokio::select! {
                event = receive(Some(&self.monitor)) => match event? {
                    DaemonEvent::Announce(..) => return Some(What::Announced),
                    DaemonEvent::NameChange(change) => return Some(What::Renamed { from: change.original }),
                    DaemonEvent::Error(error) => return Some(What::Failed(failed(error))),
                    _ => {}
                },
                event = receive(self.browse.as_ref()) => {
                    if let ServiceEvent::ServiceResolved(service) = event? {
                        return Some(What::Found(found(&service, self.index)));
                    }
                }
                event = receive(self.host.as_ref()) => {
                    if let HostnameResolutionEvent::AddressesFound(_, addresses) = event? {
                        return Some(What::Host(addresses.iter().map(ScopedIp::to_ip_addr).collect()));
                    }
                }
            }
        }
    }

    /// How many records of others it holds; `None` if it does not say.
    pub(super) async fn cached(&self) -> Option<i64> {
        let metrics = self.daemon.get_metrics().ok()?;
        let metrics = tokio::time::timeout(WAIT, metrics.recv_async()).await.ok()?.ok()?;
        Some(metrics.iter().filter(|(name, _)| name.starts_with("cached")).map(|(_, count)| count).sum())
    }

    /// Ends it to begin anew at once: one goodbye, before whatever its successor says.
    pub(super) async fn restart(self) {
        for _ in 0..5 {
            // Its queue of commands may be full.
            match self.daemon.shutdown() {
                Ok(ended) => {
                    let _ = tokio::time::timeout(WAIT, ended.recv_async()).await;
                    return;
                }
                Err(mdns_sd::Error::Again) => tokio::time::sleep(WAIT / 20).await,
                Err(_) => return,
            }
        }
    }

    /// Ends it for good: its goodbye is said twice.
    pub(super) async fn stop(self) {
        if let Some(shown) = &self.following.shown
            && let Ok(info) = service(shown)
            && let Ok(done) = self.daemon.unregister(info.get_fullname())
            && tokio::time::timeout(WAIT, done.recv_async()).await.is_ok()
        {
            tokio::time::sleep(GOODBYE).await;
        }
        self.restart().await;
    }
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
    let Shown { service, instance, host, port, addresses, text, probe } = shown;
    let text: Vec<(&str, &str)> = text.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    let host = format!("{host}.local.");
    let info = ServiceInfo::new(&domain(service), instance, &host, &addresses[..], *port, &text[..]);
    let mut info = info.map_err(failed)?;
    info.set_requires_probe(*probe);
    Ok(info)
}

fn found(service: &ResolvedService, index: u32) -> Found {
    let addresses = service.get_addresses().iter().take(ADDRESSES_PER_SERVICE);
    let addresses = addresses.map(|address| scoped(address.to_ip_addr(), service.get_port(), index)).collect();
    let text = service.get_properties().iter().take(FOREIGN_TEXT);
    let text = text.map(|pair| (pair.key().to_owned(), pair.val_str().to_owned())).collect();
    Found { name: service.get_fullname().to_owned(), addresses, text }
}

fn failed(error: mdns_sd::Error) -> String {
    format!("speak multicast DNS: {error}")
}
