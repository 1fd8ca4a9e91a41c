//! The task of one link: it starts, restarts and stops a daemon as its settings change.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{Instrument, debug, debug_span, trace};

use super::daemon::{Daemon, Output};
use super::{LinkEvent, LinkEventKind, LinkSettings};
use crate::model::InterfaceName;
use crate::net::Interface;

/// How long a link that failed waits before it tries again.
const RETRY: Duration = Duration::from_secs(10);
/// How long a flooded link rests at first; the rest doubles each time, up to [`MAX_REST`].
pub(super) const MIN_REST: Duration = Duration::from_secs(1);
const MAX_REST: Duration = Duration::from_secs(16);
/// A flood after this time without one counts as a new flood.
pub(super) const FLOOD_QUIET_PERIOD: Duration = Duration::from_secs(60);
/// How long the link waits for room in the channel for an event that must not be lost.
const SEND_LIMIT: Duration = Duration::from_secs(1);

/// Multicast DNS on one interface, in a task of its own. A link that is dropped sends its goodbye
/// by itself.
#[derive(Debug)]
pub struct Link {
    name: InterfaceName,
    settings: watch::Sender<LinkSettings>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts a link that has nothing to do yet.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(interface: &Interface, events: mpsc::Sender<LinkEvent>) -> Self {
        let (settings, changes) = watch::channel(LinkSettings::default());
        let index = interface.index;
        let span = debug_span!("mdns", interface = %interface.name);
        Self {
            name: interface.name,
            settings,
            task: tokio::spawn(follow(index, changes, events).instrument(span)),
        }
    }

    pub fn name(&self) -> InterfaceName {
        self.name
    }

    /// LinkEventKind the link does now.
    pub fn settings(&self) -> LinkSettings {
        self.settings.borrow().clone()
    }

    /// Changes what the link does.
    pub fn set(&self, settings: LinkSettings) {
        self.settings.send_if_modified(|now| {
            let differs = *now != settings;
            *now = settings;
            differs
        });
    }

    /// Sends the goodbye, twice as multicast is lost easily, and ends within about a second.
    pub async fn stop(self) {
        drop(self.settings);
        // A task that was cut short has nothing more to send.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.task).await;
    }
}

/// Follows the settings until their sender is dropped.
async fn follow(
    index: u32,
    changes: watch::Receiver<LinkSettings>,
    events: mpsc::Sender<LinkEvent>,
) {
    let mut task = Task {
        index,
        changes,
        events,
        running: None,
        started: Instant::now(),
        resting_until: None,
        rests: Rests::default(),
        is_failing: false,
    };
    loop {
        let retry = task.apply().await;
        if !task.forward(retry).await {
            return;
        }
    }
}

struct Task {
    index: u32,
    changes: watch::Receiver<LinkSettings>,
    events: mpsc::Sender<LinkEvent>,
    running: Option<Daemon>,
    /// When the daemon was started.
    started: Instant,
    resting_until: Option<Instant>,
    rests: Rests,
    /// Whether the last try failed, so that a lasting failure is reported once.
    is_failing: bool,
}

impl Task {
    /// Makes the daemon do what the settings say; gives when to try again, if that is needed.
    async fn apply(&mut self) -> Option<Instant> {
        let settings = self.changes.borrow_and_update().clone();
        if let Some(daemon) = self
            .running
            .take_if(|daemon| settings.is_idle() || daemon.following().needs_restart_for(&settings))
        {
            debug!("the settings of the link changed: its daemon ends");
            daemon.restart().await;
        }
        self.resting_until = self.resting_until.filter(|until| *until > Instant::now());
        if settings.is_idle() || self.resting_until.is_some() {
            return self.resting_until;
        }
        let followed = match &mut self.running {
            Some(daemon) => daemon.follow(&settings),
            None => self.start(&settings).await,
        };
        match followed {
            Ok(()) => {
                self.is_failing = false;
                None
            }
            Err(error) => {
                debug!(%error, "the link failed");
                if !std::mem::replace(&mut self.is_failing, true) {
                    self.send_reliably(LinkEventKind::Failed(error)).await;
                }
                self.restart().await;
                Some(Instant::now() + RETRY)
            }
        }
    }

    async fn start(&mut self, settings: &LinkSettings) -> Result<(), String> {
        self.running = Some(Daemon::start(self.index, settings).await?);
        self.started = Instant::now();
        debug!("the link started");
        // The search for a free name counts from this event, so it must not be lost while the link
        // exists.
        while !self.send_reliably(LinkEventKind::Started).await
            && self.changes.has_changed().is_ok()
        {}
        Ok(())
    }

    /// Forwards the output of the daemon until the settings change or the daemon has to restart;
    /// false at the end.
    async fn forward(&mut self, retry: Option<Instant>) -> bool {
        loop {
            let output = tokio::select! {
                changed = self.changes.changed() => match changed {
                    Ok(()) => return true,
                    Err(_) => {
                        if let Some(daemon) = self.running.take() {
                            daemon.stop().await;
                        }
                        return false;
                    }
                },
                output = next(&mut self.running) => output,
                () = at(retry) => return true,
            };
            match output {
                Some(Output::Event(what)) => self.send(what),
                Some(Output::Failed(error)) => {
                    debug!(%error, "the daemon failed");
                    self.restart().await;
                    self.resting_until = Some(Instant::now() + RETRY);
                    self.is_failing = true;
                    self.send_reliably(LinkEventKind::Failed(error)).await;
                    return true;
                }
                // A daemon that ended by itself would otherwise be started again at once. It ends
                // only when something is wrong.
                Some(Output::Flooded) | None => {
                    let (rest, again) = self.rests.after(self.started.elapsed());
                    debug!(?rest, again, "the link is flooded: it rests");
                    self.restart().await;
                    self.resting_until = Some(Instant::now() + rest);
                    self.send_reliably(LinkEventKind::Flooded { rest, again })
                        .await;
                    return true;
                }
            }
        }
    }

    async fn restart(&mut self) {
        if let Some(daemon) = self.running.take() {
            daemon.restart().await;
        }
    }

    fn send(&self, what: LinkEventKind) {
        let interface = self.index;
        if self.events.try_send(LinkEvent { interface, what }).is_err() {
            trace!("the channel of events is full: an event is dropped");
        }
    }

    /// Waits for room; false if there was none in time.
    async fn send_reliably(&self, what: LinkEventKind) -> bool {
        let interface = self.index;
        let sent = self
            .events
            .send_timeout(LinkEvent { interface, what }, SEND_LIMIT)
            .await;
        // A receiver that was dropped needs no event.
        !matches!(sent, Err(mpsc::error::SendTimeoutError::Timeout(_)))
    }
}

/// How long a flooded link rests. Pure.
pub(super) struct Rests {
    next: Duration,
}

impl Default for Rests {
    fn default() -> Self {
        Self { next: MIN_REST }
    }
}

impl Rests {
    /// The next rest of a link that worked for this long, and whether this is the same flood as the
    /// last time.
    pub(super) fn after(&mut self, worked: Duration) -> (Duration, bool) {
        if worked >= FLOOD_QUIET_PERIOD {
            *self = Self::default();
        }
        let rest = self.next;
        self.next = (rest * 2).min(MAX_REST);
        (rest, rest != MIN_REST)
    }
}

async fn next(running: &mut Option<Daemon>) -> Option<Output> {
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
