//! The counters of a node's traffic, for `status` and metrics.

use std::collections::BTreeMap;

use crate::wire::v1::Refusal;

/// Defines the plain counters once: each with its field and the name that users see.
macro_rules! counters {
    ($($(#[$comment:meta])* $field:ident = $name:literal,)*) => {
        /// Counts since the start of the node. Each counts a fact of the protocol, or a limit that was reached.
        #[derive(Debug, Clone, Default)]
        pub struct Counters {
            $($(#[$comment])* pub $field: u64,)*
            dropped: BTreeMap<&'static str, u64>,
            ignored: BTreeMap<&'static str, u64>,
            refused: BTreeMap<&'static str, u64>,
            taken: BTreeMap<&'static str, u64>,
        }

        impl Counters {
            fn plain(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($name, self.$field),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Datagrams received, of any content.
    received = "received",
    /// Datagrams sent.
    sent = "sent",
    /// Sends that failed.
    send_errors = "send_errors",
    /// Queries opened.
    queries = "queries",
    /// Answers given.
    answers = "answers",
    /// Registers accepted.
    registers = "registers",
    /// Renewals accepted.
    renewals = "renewals",
    /// Registers, goodbyes and announcements whose signature or content is wrong.
    forged_records = "dropped.forged_record",
    /// Renewals whose proof is wrong.
    forged_renewals = "dropped.forged_renewal",
    /// This node's own messages that came back.
    own_reflected = "dropped.own_reflected",
    /// Notices of files that this node accepts.
    notices = "notices",
    /// Notices whose signature is wrong.
    forged_notices = "dropped.forged_notice",
    /// Notices of files that this node does not accept.
    ignored_notices = "ignored.notice",
    /// Answers held back, as they would have been longer than the request allows.
    too_long_replies = "dropped.reply_too_long",
    /// Messages that opened but could not be decoded.
    undecodable = "dropped.undecodable",
    /// Group memberships that were joined again, as they were lost or may have been.
    rejoined = "memberships.rejoined",
}

impl Counters {
    /// Counts a datagram that was dropped unopened.
    pub fn dropped(&mut self, reason: &'static str) {
        *self.dropped.entry(reason).or_default() += 1;
    }

    /// Counts a request that was not answered.
    pub(crate) fn ignored(&mut self, reason: &'static str) {
        *self.ignored.entry(reason).or_default() += 1;
    }

    /// Counts a refusal.
    pub(crate) fn refused(&mut self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::Clock { .. } => "clock",
            Refusal::NameHeld { .. } => "name_held",
            Refusal::Rate { .. } => "rate",
            Refusal::Outdated { .. } => "outdated",
            Refusal::UnknownRecord => "unknown_record",
            Refusal::Cloned => "cloned",
            Refusal::Channel { .. } => "channel",
        };
        *self.refused.entry(reason).or_default() += 1;
    }

    /// Counts a message that needs no reply and went to the part of the node that it is for.
    pub(crate) fn taken(&mut self, kind: &'static str) {
        *self.taken.entry(kind).or_default() += 1;
    }

    /// All counts that are not zero, by name.
    pub fn all(&self) -> BTreeMap<String, u64> {
        let groups = [
            ("dropped", &self.dropped),
            ("ignored", &self.ignored),
            ("refused", &self.refused),
            ("taken", &self.taken),
        ];
        let grouped = groups.into_iter().flat_map(|(group, counts)| {
            counts
                .iter()
                .map(move |(reason, count)| (format!("{group}.{reason}"), *count))
        });
        self.plain()
            .map(|(name, count)| (name.to_owned(), count))
            .chain(grouped)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_zero_counts_are_left_out() {
        let mut counters = Counters::default();
        assert!(counters.all().is_empty());
        let names: std::collections::BTreeSet<_> = counters.plain().map(|(name, _)| name).collect();
        assert_eq!(names.len(), counters.plain().count());
        counters.forged_records = 2;
        counters.dropped("truncated");
        let all = counters.all();
        assert_eq!(all.len(), 2);
        assert_eq!(all["dropped.forged_record"], 2);
        assert_eq!(all["dropped.truncated"], 1);
    }
}
