//! The times at which queries for servers are sent.

use std::time::Duration;

/// When the first queries of a search are sent, counted from its start.
const FIRST_QUERIES: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// Pauses between the queries that follow. They grow slowly, so that on a link that loses one
/// datagram in three a server is found within seconds, not after half a minute. Afterwards the
/// pause is [`QuerySchedule::STEADY`].
const GROWING_PAUSES: [Duration; 8] = [
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(8),
    Duration::from_secs(13),
    Duration::from_secs(21),
];

/// Queries are frequent at first, then steady with jitter, so that a fleet that lost its server
/// does not send its queries at the same moments.
#[derive(Debug, Clone)]
pub(super) struct QuerySchedule {
    start: Duration,
    sent: usize,
    next: Duration,
}

impl QuerySchedule {
    /// The pause between queries once all earlier ones brought nothing; jittered by a fifth either
    /// way.
    pub(super) const STEADY: Duration = Duration::from_secs(30);
    /// The pause between queries for further servers once there is one; jittered likewise.
    pub(super) const CONNECTED: Duration = Duration::from_secs(60);

    pub(super) fn new(start: Duration) -> Self {
        Self {
            start,
            sent: 0,
            next: start,
        }
    }

    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// Records that a query was sent at `now`, and plans the next one.
    pub(super) fn on_sent(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        self.sent += 1;
        self.next = match FIRST_QUERIES.get(self.sent) {
            // A late wake-up (suspend) must not send the missed queries in one burst.
            Some(offset) => (self.start + *offset).max(now + FIRST_QUERIES[1]),
            None => {
                let pause = GROWING_PAUSES
                    .get(self.sent - FIRST_QUERIES.len())
                    .copied()
                    .unwrap_or(Self::STEADY);
                now + jittered(pause, rng)
            }
        };
    }

    /// Postpones the next query because a server was found. The first queries are sent
    /// nevertheless, since there may be other servers.
    pub(super) fn on_server_found(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        if self.sent >= FIRST_QUERIES.len() {
            self.postpone(now, rng);
        }
    }

    /// Makes the next query due now.
    pub(super) fn ask_now(&mut self, now: Duration) {
        self.next = self.next.min(now);
    }

    /// Postpones the next query, whichever it is, because there is nothing to ask for now.
    pub(super) fn postpone(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        self.next = now + jittered(Self::CONNECTED, rng);
    }
}

/// Makes a duration longer or shorter by up to a fifth.
pub(super) fn jittered(duration: Duration, rng: &mut fastrand::Rng) -> Duration {
    duration.mul_f64(0.8 + 0.4 * rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_sent_at_once_then_with_growing_pauses_then_with_jitter() {
        let mut rng = fastrand::Rng::with_seed(1);
        let start = Duration::from_secs(100);
        let mut schedule = QuerySchedule::new(start);
        let mut offsets = Vec::new();
        for _ in 0..15 {
            let now = schedule.next();
            offsets.push((now - start).as_millis());
            schedule.on_sent(now, &mut rng);
        }
        assert_eq!(offsets[..4], [0, 250, 1000, 3000]);
        let gaps: Vec<_> = offsets[3..]
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        let expected = [1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30];
        assert_eq!(gaps.len(), expected.len());
        for (gap, seconds) in gaps.into_iter().zip(expected) {
            assert!(
                (seconds * 800..=seconds * 1200).contains(&gap),
                "{offsets:?}"
            );
        }
    }

    #[test]
    fn postponing_applies_to_the_first_queries_too() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut schedule = QuerySchedule::new(Duration::ZERO);
        schedule.on_server_found(Duration::from_secs(1), &mut rng);
        assert_eq!(
            schedule.next(),
            Duration::ZERO,
            "other servers may answer the first queries"
        );
        schedule.postpone(Duration::from_secs(1), &mut rng);
        assert!(schedule.next() >= Duration::from_secs(49));
    }

    #[test]
    fn late_wake_up_sends_no_burst() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut schedule = QuerySchedule::new(Duration::ZERO);
        schedule.on_sent(Duration::from_secs(3600), &mut rng);
        assert!(schedule.next() > Duration::from_secs(3600));
    }
}
