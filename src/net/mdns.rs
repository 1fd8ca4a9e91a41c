//! Multicast DNS (RFC 6762, RFC 6763) on one interface: showing a service, watching a host name, browsing.
//!
//! The `mdns-sd` crate speaks the protocol, one daemon an interface, each in a thread of its own. So each interface shows
//! its own addresses and no others, and nothing of it is on the way of the engine. A [`Link`] follows a [`Wish`] and
//! tells what it [`Heard`] over a bounded channel; what does not fit there is dropped, as it would be said again.
//!
//! Where the crate has no limit or no word, this module has one: a daemon that holds more than `CACHED` foreign records or
//! `TIMERS`, or tells of a host with more than `ADDRESSES`, is begun anew, and its sockets are silenced where it does not
//! come to say so; a port that can't be shared is found before a daemon is started, and no daemon is ever asked to solve a
//! name conflict, as it would rename in silence; [`Shown::probe`] is for names that were found free.

mod daemon;
mod sockets;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, Type};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::holder::udp_port_holder;
use super::{Family, Interface, kernel_groups};
use crate::model::{InterfaceName, Scope};
use daemon::{Daemon, Said};

/// The UDP port of multicast DNS.
pub const PORT: u16 = mdns_sd::MDNS_PORT;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// The most interfaces with a link: each has a thread and two sockets.
pub const LINKS: usize = 16;
/// Records of others that one daemon may hold.
const CACHED: i64 = 4096;
/// Timers that one daemon may hold, of 16 bytes each: it sets two for each foreign record whenever that comes again, and
/// drops them when that would run out.
const TIMERS: i64 = 1 << 18;
/// Addresses that one foreign host may have.
const ADDRESSES: usize = 64;
/// Events of a daemon that may wait. It gives up a subscription at 1,000.
const BACKLOG: usize = 500;
/// How long a link that failed waits for its next try.
const RETRY: Duration = Duration::from_secs(10);
/// How long a flooded link rests; doubled each time, up to the second one.
const REST: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(16)];
/// After so long without a flood, the next one is another one.
const CALM: Duration = Duration::from_secs(60);
/// How long is waited for room to tell what may not be lost.
const TELL: Duration = Duration::from_secs(1);

/// What is shown to everybody on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The service type, such as `_hereabouts._udp`.
    pub service: Box<str>,
    /// The instance's name, one label.
    pub instance: Box<str>,
    /// The host's name without `.local`.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// The addresses of the host.
    pub addresses: Vec<IpAddr>,
    /// The pairs of the TXT record.
    pub text: Vec<(Box<str>, Box<str>)>,
    /// Whether to probe for the names first (RFC 6762 §8.1); takes about a second.
    pub probe: bool,
}

/// What one link is to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// The interface's addresses that may be used.
    pub addresses: Vec<IpAddr>,
    /// What to show.
    pub shown: Option<Shown>,
    /// The host name, without `.local`, whose answers are to be told.
    pub host: Option<Box<str>>,
    /// The service type to browse for.
    pub browse: Option<Box<str>>,
    /// Raised to forget what was heard and begin anew.
    pub round: u32,
}

impl Wish {
    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.addresses.is_empty()
            || (self.shown.is_none() && self.host.is_none() && self.browse.is_none())
    }

    /// Whether a daemon that follows `self` can't come to follow `other`.
    fn breaks_with(&self, other: &Self) -> bool {
        self.addresses != other.addresses
            || self.round != other.round
            || (self.shown != other.shown && self.shown.is_some())
            || (self.host != other.host && self.host.is_some())
            || (self.browse != other.browse && self.browse.is_some() && other.browse.is_some())
    }
}

/// What a link tells, and which one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The interface's index.
    pub interface: u32,
    /// What.
    pub what: What,
}

/// What a link tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It began, or began anew: nothing heard before counts.
    Begun,
    /// A service was found, or says something else than before.
    Found(Found),
    /// All addresses that are answered for the watched host name, this host's own answers among them.
    Host(Vec<IpAddr>),
    /// Addresses that are answered for the watched host name no more.
    Gone(Vec<IpAddr>),
    /// The names are announced.
    Announced,
    /// Somebody took a name between the question and the announcement; the crate goes on under another one.
    Renamed {
        /// The name that was to be announced.
        from: String,
    },
    /// More foreign records came than are kept, or the daemon ended by itself; the link begins anew after a rest.
    Flooded {
        /// How long it rests.
        rest: Duration,
        /// Whether it is the same flood as the last time.
        again: bool,
    },
    /// It can't work; tried again later.
    Failed(String),
}

/// A service that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The instance's whole name.
    pub name: String,
    /// Where it is, by its own word.
    pub addresses: Vec<SocketAddr>,
    /// The pairs of its TXT record.
    pub text: Vec<(String, String)>,
}

/// Multicast DNS on one interface, in a task of its own. Dropped, it says goodbye by itself.
#[derive(Debug)]
pub struct Link {
    name: InterfaceName,
    wish: watch::Sender<Wish>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts a link that has nothing to do yet.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(interface: &Interface, heard: mpsc::Sender<Heard>) -> Self {
        let (wish, wishes) = watch::channel(Wish::default());
        let index = interface.index;
        Self {
            name: interface.name,
            wish,
            task: tokio::spawn(follow(index, wishes, heard)),
        }
    }

    /// The interface's name.
    pub fn name(&self) -> InterfaceName {
        self.name
    }

    /// What it is to do now.
    pub fn wish(&self) -> Wish {
        self.wish.borrow().clone()
    }

    /// Changes what it is to do.
    pub fn set(&self, wish: Wish) {
        self.wish.send_if_modified(|now| {
            let differs = *now != wish;
            *now = wish;
            differs
        });
    }

    /// Says goodbye, twice as multicast is lost easily, and ends within about a second.
    pub async fn stop(self) {
        drop(self.wish);
        // A task that was cut short has nothing more to say.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.task).await;
    }
}

/// Follows the wishes until nobody wishes any more.
async fn follow(index: u32, mut wishes: watch::Receiver<Wish>, heard: mpsc::Sender<Heard>) {
    let tell = |what| {
        drop(heard.try_send(Heard {
            interface: index,
            what,
        }))
    };
    let mut running: Option<Daemon> = None;
    let insist = async |what| {
        let told = heard
            .send_timeout(
                Heard {
                    interface: index,
                    what,
                },
                TELL,
            )
            .await;
        // Nobody listens any more: there is nothing to insist on.
        !matches!(told, Err(mpsc::error::SendTimeoutError::Timeout(_)))
    };
    let mut rests = Rests::default();
    let (mut begun, mut resting) = (Instant::now(), None);
    let mut failing = false;
    loop {
        let wish = wishes.borrow_and_update().clone();
        if let Some(daemon) =
            running.take_if(|daemon| wish.is_idle() || daemon.following().breaks_with(&wish))
        {
            daemon.restart().await;
        }
        resting = resting.filter(|until| *until > Instant::now());
        let mut retry = resting;
        if !wish.is_idle() && resting.is_none() {
            let followed = match &mut running {
                Some(daemon) => daemon.follow(&wish),
                None => match Daemon::start(index, &wish).await {
                    Ok(daemon) => {
                        running = Some(daemon);
                        begun = Instant::now();
                        // Whoever asks for a name counts from here, so this is never lost but with the link.
                        while !insist(What::Begun).await && wishes.has_changed().is_ok() {}
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            match followed {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        insist(What::Failed(error)).await;
                    }
                    if let Some(daemon) = running.take() {
                        daemon.restart().await;
                    }
                    retry = Some(Instant::now() + RETRY);
                }
            }
        }
        // What the daemon says changes no wish: it is handed on until a wish changes, or the daemon has to begin anew.
        loop {
            tokio::select! {
                changed = wishes.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => {
                        if let Some(daemon) = running.take() {
                            daemon.stop().await;
                        }
                        return;
                    }
                },
                said = next(&mut running) => match said {
                    Some(Said::This(what)) => tell(what),
                    Some(Said::Failed(error)) => {
                        if let Some(daemon) = running.take() {
                            daemon.restart().await;
                        }
                        resting = Some(Instant::now() + RETRY);
                        failing = true;
                        insist(What::Failed(error)).await;
                        break;
                    }
                    // One that ended by itself, as it does not where nothing is wrong, would else be started again at once.
                    Some(Said::Flooded) | None => {
                        let (rest, again) = rests.after(begun.elapsed());
                        if let Some(daemon) = running.take() {
                            daemon.restart().await;
                        }
                        resting = Some(Instant::now() + rest);
                        insist(What::Flooded { rest, again }).await;
                        break;
                    }
                },
                () = at(retry) => break,
            }
        }
    }
}

/// How long a flooded link rests. Pure.
struct Rests {
    next: Duration,
}

impl Default for Rests {
    fn default() -> Self {
        Self { next: REST[0] }
    }
}

impl Rests {
    /// How long now, after it had worked for so long, and whether it is the same flood as the last time.
    fn after(&mut self, worked: Duration) -> (Duration, bool) {
        if worked >= CALM {
            *self = Self::default();
        }
        let rest = self.next;
        self.next = (rest * 2).min(REST[1]);
        (rest, rest != REST[0])
    }
}

async fn next(running: &mut Option<Daemon>) -> Option<Said> {
    match running {
        Some(daemon) => daemon.next().await,
        None => std::future::pending().await,
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Whether port 5353 can be shared with whoever has it; the crate would be silent about it.
pub fn shareable() -> Result<(), String> {
    let bind = |ip: IpAddr| -> io::Result<()> {
        let address = SocketAddr::new(ip, PORT);
        let socket = socket2::Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.bind(&address.into())
    };
    for ip in [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ] {
        match bind(ip) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let by = udp_port_holder(PORT)
                    .map_or_else(|| "another program".to_owned(), |by| by.to_string());
                return Err(format!(
                    "share port {PORT}/udp with {by}, which has it for itself: stop it, or let it share the port"
                ));
            }
            // A family that the host lacks is left to the other one.
            _ => {}
        }
    }
    Ok(())
}

/// Whether the kernel holds the groups of multicast DNS on an interface where it is spoken from these addresses; true where
/// it does not tell.
///
/// A daemon does not see that it lost them, as a socket keeps its memberships when the kernel has dropped them.
pub fn holds_groups(interface: u32, addresses: &[IpAddr]) -> bool {
    let groups = [
        (Family::Ipv4, IpAddr::V4(GROUP_V4)),
        (Family::Ipv6, IpAddr::V6(GROUP_V6)),
    ];
    groups
        .into_iter()
        .filter(|(_, group)| addresses.iter().any(|ip| ip.is_ipv4() == group.is_ipv4()))
        .all(|(family, group)| {
            kernel_groups::joined(family).is_none_or(|joined| joined.contains(&(interface, group)))
        })
}

/// An address with the zone that it needs (RFC 4007 §6).
fn scoped(ip: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match ip {
        IpAddr::V6(v6) if Scope::of(ip) == Scope::Link => {
            SocketAddrV6::new(v6, port, 0, interface).into()
        }
        _ => SocketAddr::new(ip, port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown() -> Shown {
        let (service, instance, host) = ("_hereabouts._udp".into(), "hub".into(), "hub".into());
        Shown {
            service,
            instance,
            host,
            port: 24373,
            addresses: Vec::new(),
            text: Vec::new(),
            probe: false,
        }
    }

    #[test]
    fn only_what_a_daemon_can_not_take_back_makes_it_begin_anew() {
        let nothing = Wish {
            addresses: vec![[10, 0, 0, 1].into()],
            ..Wish::default()
        };
        let watching = Wish {
            host: Some("hub".into()),
            ..nothing.clone()
        };
        let showing = Wish {
            shown: Some(shown()),
            ..watching.clone()
        };
        let browsing = Wish {
            browse: Some("_hereabouts._udp".into()),
            ..showing.clone()
        };
        assert!(
            !nothing.breaks_with(&watching)
                && !watching.breaks_with(&showing)
                && !showing.breaks_with(&browsing)
        );
        assert!(
            !browsing.breaks_with(&showing),
            "browsing ends without a goodbye"
        );
        assert!(
            showing.breaks_with(&watching),
            "what was shown is withdrawn"
        );
        let elsewhere = Wish {
            addresses: vec![[10, 0, 0, 2].into()],
            ..showing.clone()
        };
        assert!(showing.breaks_with(&elsewhere));
        assert!(showing.breaks_with(&Wish {
            round: 1,
            ..showing.clone()
        }));
        assert!(nothing.is_idle() && !watching.is_idle());
        assert!(
            Wish {
                addresses: Vec::new(),
                ..showing
            }
            .is_idle()
        );
    }

    #[test]
    fn rests_double_until_it_was_calm() {
        let (mut rests, soon) = (Rests::default(), Duration::ZERO);
        let seen: Vec<_> = (0..7)
            .map(|_| rests.after(soon))
            .map(|(rest, again)| (rest.as_secs(), again))
            .collect();
        assert_eq!(
            seen,
            [
                (1, false),
                (2, true),
                (4, true),
                (8, true),
                (16, true),
                (16, true),
                (16, true)
            ]
        );
        assert_eq!(rests.after(CALM), (REST[0], false));
        assert_eq!(rests.after(soon), (REST[0] * 2, true));
    }

    #[test]
    fn link_local_addresses_carry_their_zone() {
        let ip: IpAddr = "fe80::1".parse().unwrap();
        assert_eq!(scoped(ip, 1, 7).to_string(), "[fe80::1%7]:1");
        assert_eq!(scoped([10, 0, 0, 1].into(), 1, 7).to_string(), "10.0.0.1:1");
    }
}
