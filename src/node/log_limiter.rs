//! Which warnings are in the log already: warnings that any peer can cause by a datagram must not fill a disk. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::core::Event;
use crate::discovery;

/// How long a warning about one source is not repeated.
const EVERY: Duration = Duration::from_secs(60);
/// The limit of sources that are distinguished, and so of such warnings within [`EVERY`].
const MAX_SOURCES: usize = 64;

/// The subject of a warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Clock,
    Channel,
}

/// When the last warning about each source was logged.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    last: HashMap<(About, IpAddr), Duration>,
}

impl LogLimiter {
    /// Whether an event is to be logged at this time of the monotonic clock. An event that no datagram can repeat at will is
    /// always logged.
    pub(super) fn admits(&mut self, now: Duration, event: &Event) -> bool {
        let key = match event {
            Event::Discovery(discovery::Event::ClockDiffers { from, .. }) => {
                (About::Clock, from.ip())
            }
            Event::Discovery(discovery::Event::OtherChannel { from, .. }) => {
                (About::Channel, from.ip())
            }
            _ => return true,
        };
        let lately = |last: &Duration| now < *last + EVERY;
        if self.last.get(&key).is_some_and(lately) {
            return false;
        }
        if self.last.len() >= MAX_SOURCES {
            self.last.retain(|_, last| lately(last));
        }
        // With this many sources, further ones tell an operator nothing new.
        let room = self.last.len() < MAX_SOURCES;
        if room {
            self.last.insert(key, now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(last: u32, port: u16) -> Event {
        let from = (std::net::Ipv4Addr::from_bits(0x0a00_0000 + last), port).into();
        Event::Discovery(discovery::Event::ClockDiffers {
            from,
            millis: 60_000,
        })
    }

    fn channel(last: u8) -> Event {
        Event::Discovery(discovery::Event::OtherChannel {
            from: ([10, 0, 0, last], 7).into(),
            name: "work".into(),
        })
    }

    #[test]
    fn source_is_logged_once_a_minute_with_any_port() {
        let mut log_limiter = LogLimiter::default();
        let at = Duration::from_secs;
        assert!(
            log_limiter.admits(at(1), &clock(1, 7)) && !log_limiter.admits(at(1), &clock(1, 7))
        );
        assert!(!log_limiter.admits(at(60), &clock(1, 8)));
        assert!(log_limiter.admits(at(61), &clock(1, 8)));
        assert!(log_limiter.admits(at(61), &clock(2, 7)), "another source");
        assert!(log_limiter.admits(at(61), &channel(1)), "another problem");
    }

    #[test]
    fn many_forged_sources_need_bounded_memory_and_few_lines() {
        let mut log_limiter = LogLimiter::default();
        let logged = |log_limiter: &mut LogLimiter, seconds| {
            let logged = (0..20_000)
                .filter(|last| log_limiter.admits(Duration::from_secs(seconds), &clock(*last, 7)));
            logged.count()
        };
        assert_eq!(logged(&mut log_limiter, 1), MAX_SOURCES);
        assert_eq!(log_limiter.last.len(), MAX_SOURCES);
        assert_eq!(logged(&mut log_limiter, 60), 0);
        assert_eq!(logged(&mut log_limiter, 61), MAX_SOURCES);
    }

    #[test]
    fn events_that_no_datagram_can_repeat_are_always_logged() {
        let mut log_limiter = LogLimiter::default();
        let raised = Event::Discovery(discovery::Event::EpochRaised { epoch: 3 });
        assert!((0..100).all(|_| log_limiter.admits(Duration::ZERO, &raised)));
    }
}
