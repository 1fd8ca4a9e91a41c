//! When to ask again.

use std::time::Duration;

/// The first queries of a search, counted from its start.
const FIRST: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// Between the queries after those, so that a link that loses one datagram in three costs seconds, not half a minute; then
/// one every [`AskSchedule::STEADY`].
const THINNING: [Duration; 8] = [
    Duration::from_secs(1),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(8),
    Duration::from_secs(13),
    Duration::from_secs(21),
];

/// Asks quickly at first, then steadily with jitter, so that a fleet that lost its server does not ask in step.
#[derive(Debug, Clone)]
pub(super) struct AskSchedule {
    start: Duration,
    asked: usize,
    next: Duration,
}

impl AskSchedule {
    /// Between queries once the first ones brought nothing; jittered by a fifth either way.
    pub(super) const STEADY: Duration = Duration::from_secs(30);
    /// Between queries for further servers once there is one.
    pub(super) const CONTENT: Duration = Duration::from_secs(60);

    pub(super) fn new(start: Duration) -> Self {
        Self {
            start,
            asked: 0,
            next: start,
        }
    }

    /// When the next query is due.
    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// Notes that a query went out at `now`.
    pub(super) fn asked(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        self.asked += 1;
        self.next = match FIRST.get(self.asked) {
            // A late wake-up (suspend) must not send the missed queries in one burst.
            Some(offset) => (self.start + *offset).max(now + FIRST[1]),
            None => {
                let gap = THINNING
                    .get(self.asked - FIRST.len())
                    .copied()
                    .unwrap_or(Self::STEADY);
                now + jittered(gap, rng)
            }
        };
    }

    /// Puts the next query off, as a server was found; the first queries go out all the same, since there may be others.
    pub(super) fn content(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        if self.asked < FIRST.len() {
            return;
        }
        self.rest(now, rng);
    }

    /// Asks now, and then goes on as before.
    pub(super) fn register_now(&mut self, now: Duration) {
        self.next = self.next.min(now);
    }

    /// Puts the next query off without asking, as there is nothing to ask for now.
    pub(super) fn rest(&mut self, now: Duration, rng: &mut fastrand::Rng) {
        self.next = now + jittered(Self::CONTENT, rng);
    }
}

/// A duration, longer or shorter by up to a fifth.
pub(super) fn jittered(duration: Duration, rng: &mut fastrand::Rng) -> Duration {
    duration.mul_f64(0.8 + 0.4 * rng.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_go_out_at_once_then_thin_out_then_jitter() {
        let mut rng = fastrand::Rng::with_seed(1);
        let start = Duration::from_secs(100);
        let mut schedule = AskSchedule::new(start);
        let mut offsets = Vec::new();
        for _ in 0..15 {
            let now = schedule.next();
            offsets.push((now - start).as_millis());
            schedule.asked(now, &mut rng);
        }
        assert_eq!(offsets[..4], [0, 250, 1000, 3000]);
        let gaps: Vec<_> = offsets[3..]
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .collect();
        let meant = [1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30];
        assert_eq!(gaps.len(), meant.len());
        for (gap, seconds) in gaps.into_iter().zip(meant) {
            assert!(
                (seconds * 800..=seconds * 1200).contains(&gap),
                "{offsets:?}"
            );
        }
    }

    #[test]
    fn a_rest_puts_off_the_first_queries_too() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut schedule = AskSchedule::new(Duration::ZERO);
        schedule.content(Duration::from_secs(1), &mut rng);
        assert_eq!(
            schedule.next(),
            Duration::ZERO,
            "others may answer the first queries"
        );
        schedule.rest(Duration::from_secs(1), &mut rng);
        assert!(schedule.next() >= Duration::from_secs(49));
    }

    #[test]
    fn a_late_wake_up_sends_no_burst() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut schedule = AskSchedule::new(Duration::ZERO);
        schedule.asked(Duration::from_secs(3600), &mut rng);
        assert!(schedule.next() > Duration::from_secs(3600));
    }
}
