//! Reads the host's interfaces and follows their changes.
//!
//! Every event leads to a full read: an event that was lost, or that arrived in an odd order, then
//! does no harm. The read waits for [`QUIET_TIME`] without an event, but a storm of events delays
//! it by no more than [`MAX_DELAY`]. A failed read never means "no interfaces": the last list stays
//! valid until a read succeeds.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use super::netlink::{Event, Events, Reader};
use super::{Backoff, Interface, polled};

/// How long no event must arrive before the list is read: a new interface causes several events.
const QUIET_TIME: Duration = Duration::from_millis(100);
/// How long events may delay the read.
const MAX_DELAY: Duration = Duration::from_millis(500);
/// How often the list is read without any event, in case one was lost unnoticed.
const REREAD: Duration = Duration::from_secs(30);
/// How often the list is read if the kernel sends no events.
const POLL: Duration = Duration::from_secs(5);

/// Where the list comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterfaceSource {
    /// The kernel's events: a change is noticed within a second.
    Netlink,
    /// Repeated reading: a change is noticed within about five seconds.
    Polled,
}

impl fmt::Display for InterfaceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Netlink => "netlink",
            Self::Polled => "polled",
        })
    }
}

/// Follows the host's interfaces.
pub struct Watch {
    source: Source,
    last: Option<Vec<Interface>>,
    debounce: Debounce,
    retry: Backoff,
    /// Whether the last read failed, so that a lasting failure is logged once.
    failing: bool,
    overruns: u64,
}

enum Source {
    Netlink { events: Events, reader: Reader },
    Polled,
}

impl Watch {
    /// Starts to follow the interfaces; if the kernel refuses its events, this is logged and the
    /// interfaces are polled.
    ///
    /// Must be called within a tokio runtime.
    pub fn new() -> Self {
        let netlink = || Ok::<_, io::Error>((Events::open()?, Reader::open()?));
        let source = match netlink() {
            Ok((events, reader)) => Source::Netlink { events, reader },
            Err(error) => {
                warn_of_polling(&error);
                Source::Polled
            }
        };
        Self {
            source,
            last: None,
            debounce: Debounce::new(Instant::now()),
            retry: Backoff::new(),
            failing: false,
            overruns: 0,
        }
    }

    /// Where the list comes from.
    pub fn source(&self) -> InterfaceSource {
        match self.source {
            Source::Netlink { .. } => InterfaceSource::Netlink,
            Source::Polled => InterfaceSource::Polled,
        }
    }

    /// How often the kernel lost events; each loss is followed by a full read.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    /// All interfaces: the first time as soon as they are read, then after each change and each
    /// event of the kernel. The list may be the same after an event: an address that was removed
    /// and added again has lost its memberships. May be dropped at any time.
    ///
    /// If the first read fails, the list is empty, so that a node starts without a network; after
    /// later failures the last list is kept and the read is tried again.
    pub async fn next(&mut self) -> Vec<Interface> {
        loop {
            self.wait().await;
            let read = self.read().await;
            let now = tokio::time::Instant::now().into_std();
            match read {
                Ok(interfaces) => {
                    self.failing = false;
                    self.retry.reset();
                    let again = if self.source() == InterfaceSource::Netlink {
                        REREAD
                    } else {
                        POLL
                    };
                    let noticed = self.debounce.noticed;
                    self.debounce.done(now + again);
                    if noticed || self.last.as_ref() != Some(&interfaces) {
                        tracing::debug!(
                            count = interfaces.len(),
                            by_event = noticed,
                            "the interfaces are read"
                        );
                        self.last = Some(interfaces.clone());
                        return interfaces;
                    }
                }
                Err(error) => {
                    self.debounce.done(now + self.retry.wait());
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(%error, "failed to read the interfaces; the last list stays valid, and the read is tried again");
                    }
                    if self.last.is_none() {
                        self.last = Some(Vec::new());
                        return Vec::new();
                    }
                }
            }
        }
    }

    /// Waits until a read is due.
    async fn wait(&mut self) {
        loop {
            let due = self.debounce.due().into();
            let event = match &mut self.source {
                Source::Netlink { events, .. } => tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(due) => return,
                    event = events.next() => event,
                },
                Source::Polled => return tokio::time::sleep_until(due).await,
            };
            match event {
                Ok(event) => {
                    if event == Event::Overrun {
                        self.overruns += 1;
                        tracing::debug!(
                            overruns = self.overruns,
                            "the kernel lost events about interfaces"
                        );
                    }
                    self.debounce
                        .note(tokio::time::Instant::now().into_std(), event);
                }
                Err(error) => {
                    // A socket that fails once fails again at once: waiting for it would be a busy
                    // loop.
                    warn_of_polling(&error);
                    self.source = Source::Polled;
                }
            }
        }
    }

    async fn read(&mut self) -> io::Result<Vec<Interface>> {
        if let Source::Netlink { reader, .. } = &mut self.source {
            match reader.interfaces().await {
                Err(error) if is_netlink_refusal(&error) => {
                    warn_of_polling(&error);
                    self.source = Source::Polled;
                }
                other => return other,
            }
        }
        polled::interfaces()
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

/// All interfaces as they are now: by netlink, or without it if that is refused.
///
/// Must be called within a tokio runtime.
pub async fn interfaces() -> io::Result<Vec<Interface>> {
    let by_netlink = async { Reader::open()?.interfaces().await };
    match by_netlink.await {
        Err(error) if is_netlink_refusal(&error) => polled::interfaces(),
        read => read,
    }
}

fn is_netlink_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
    )
}

fn warn_of_polling(error: &io::Error) {
    tracing::warn!(%error, "the kernel sends no events about interfaces (netlink): they are read every 5 s instead");
}

/// When the next read is due. Pure.
#[derive(Debug)]
struct Debounce {
    /// When a read is due without any event.
    planned: Instant,
    /// The first and the last event since the last read.
    events: Option<(Instant, Instant)>,
    /// Whether there was any event since the last read, a lost one among them.
    noticed: bool,
}

impl Debounce {
    fn new(first: Instant) -> Self {
        Self {
            planned: first,
            events: None,
            noticed: false,
        }
    }

    fn note(&mut self, now: Instant, event: Event) {
        self.noticed = true;
        match event {
            Event::Changed => {
                let first = self.events.map_or(now, |(first, _)| first);
                self.events = Some((first, now));
            }
            // The lost events are unknown, and the storm continues: read soon, whatever other
            // events arrive.
            Event::Overrun => self.planned = self.planned.min(now + QUIET_TIME),
        }
    }

    fn due(&self) -> Instant {
        let quiet = self
            .events
            .map(|(first, last)| (last + QUIET_TIME).min(first + MAX_DELAY));
        quiet.map_or(self.planned, |quiet| quiet.min(self.planned))
    }

    /// Notes the end of a read; without an event the next read is due at `planned`.
    fn done(&mut self, planned: Instant) {
        *self = Self {
            planned,
            events: None,
            noticed: false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn first_read_is_due_at_once() {
        let start = Instant::now();
        assert_eq!(Debounce::new(start).due(), start);
    }

    #[test]
    fn events_within_the_quiet_time_become_one_read() {
        let start = Instant::now();
        let mut debounce = Debounce::new(start);
        debounce.done(start + REREAD);
        debounce.note(start, Event::Changed);
        debounce.note(start + 60 * MS, Event::Changed);
        assert_eq!(debounce.due(), start + 60 * MS + QUIET_TIME);
        debounce.done(start + REREAD);
        assert_eq!(debounce.due(), start + REREAD);
    }

    #[test]
    fn storm_delays_the_read_by_a_limit() {
        let start = Instant::now();
        let mut debounce = Debounce::new(start);
        debounce.done(start + REREAD);
        for step in 0..100 {
            debounce.note(start + step * 50 * MS, Event::Changed);
        }
        assert_eq!(debounce.due(), start + MAX_DELAY);
    }

    #[test]
    fn overrun_leads_to_a_read_that_later_events_do_not_delay() {
        let start = Instant::now();
        let mut debounce = Debounce::new(start);
        debounce.done(start + REREAD);
        debounce.note(start + 10 * MS, Event::Changed);
        debounce.note(start + 20 * MS, Event::Overrun);
        debounce.note(start + 90 * MS, Event::Changed);
        assert_eq!(debounce.due(), start + 20 * MS + QUIET_TIME);
    }

    #[test]
    fn planned_read_is_not_delayed_by_events() {
        let start = Instant::now();
        let mut debounce = Debounce::new(start);
        debounce.done(start + 50 * MS);
        debounce.note(start, Event::Changed);
        assert_eq!(debounce.due(), start + 50 * MS);
    }

    #[tokio::test]
    async fn first_snapshot_has_loopback() {
        let mut watch = Watch::new();
        let interfaces = watch.next().await;
        let lo = interfaces
            .iter()
            .find(|interface| interface.loopback)
            .unwrap();
        assert_eq!((lo.name.as_str(), lo.index), ("lo", 1));
    }

    #[tokio::test]
    async fn failed_read_keeps_the_last_list_and_is_tried_again_at_once() {
        let mut watch = Watch::new();
        let swap = |watch: &mut Watch, new: Reader| match &mut watch.source {
            Source::Netlink { reader, .. } => *reader = new,
            Source::Polled => panic!("netlink is there"),
        };
        swap(&mut watch, Reader::refused());
        assert!(
            watch.next().await.is_empty(),
            "a node starts without a network"
        );
        swap(&mut watch, Reader::open().unwrap());
        let started = Instant::now();
        assert!(
            watch
                .next()
                .await
                .iter()
                .any(|interface| interface.loopback)
        );
        assert!(
            started.elapsed() < Duration::from_secs(4),
            "{:?}",
            started.elapsed()
        );
    }

    #[tokio::test]
    async fn polled_list_agrees_with_netlink() {
        let mut watch = Watch::new();
        let netlink = watch.next().await;
        let polled = polled::interfaces().unwrap();
        // `/proc` has no kind, and lists IPv6 addresses in another order.
        let alike = |mut list: Vec<Interface>| -> Vec<Interface> {
            for interface in &mut list {
                interface.kind = None;
                interface.addresses.sort_by_key(|address| address.ip);
            }
            list
        };
        assert_eq!(alike(netlink), alike(polled));
    }
}
