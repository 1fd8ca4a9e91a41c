//! Which warnings stand in the log already: what anyone can cause by a datagram must not fill a disk. Pure.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use super::core::Event;
use crate::discovery;

/// How long a warning about one source is not repeated.
const EVERY: Duration = Duration::from_secs(60);
/// Sources that are told apart, and so the most such warnings within [`EVERY`].
const SOURCES: usize = 64;

/// What is warned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum About {
    Clock,
    Channel,
}

/// When each source was last warned of.
#[derive(Debug, Default)]
pub(super) struct LogLimiter {
    last: HashMap<(About, IpAddr), Duration>,
}

impl LogLimiter {
    /// Whether an event is to be logged at this time of the monotonic clock; what no datagram can repeat at will always is.
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
        if self.last.len() >= SOURCES {
            self.last.retain(|_, last| lately(last));
        }
        // A crowd says nothing that its first ones did not say.
        let room = self.last.len() < SOURCES;
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
    fn source_is_told_once_a_minute_whatever_its_port_is() {
        let mut log_limiter = LogLimiter::default();
        let at = Duration::from_secs;
        assert!(
            log_limiter.admits(at(1), &clock(1, 7)) && !log_limiter.admits(at(1), &clock(1, 7))
        );
        assert!(!log_limiter.admits(at(60), &clock(1, 8)));
        assert!(log_limiter.admits(at(61), &clock(1, 8)));
        assert!(log_limiter.admits(at(61), &clock(2, 7)), "another source");
        assert!(log_limiter.admits(at(61), &channel(1)), "another ill");
    }

    #[test]
    fn forged_crowd_takes_bounded_memory_and_few_lines() {
        let mut log_limiter = LogLimiter::default();
        let told = |log_limiter: &mut LogLimiter, seconds| {
            let told = (0..20_000)
                .filter(|last| log_limiter.admits(Duration::from_secs(seconds), &clock(*last, 7)));
            told.count()
        };
        assert_eq!(told(&mut log_limiter, 1), SOURCES);
        assert_eq!(log_limiter.last.len(), SOURCES);
        assert_eq!(told(&mut log_limiter, 60), 0);
        assert_eq!(told(&mut log_limiter, 61), SOURCES);
    }

    #[test]
    fn what_a_flood_can_not_cause_is_always_told() {
        let mut log_limiter = LogLimiter::default();
        let raised = Event::Discovery(discovery::Event::EpochRaised { epoch: 3 });
        assert!((0..100).all(|_| log_limiter.admits(Duration::ZERO, &raised)));
    }
}
