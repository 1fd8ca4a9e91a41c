//! What a node counts, for `status` and metrics.

use std::collections::BTreeMap;

use crate::wire::v1::Refusal;

/// Counts since the start. A count is a fact of the wire or of a limit that was hit.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Datagrams received, whatever they were.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Sends that failed.
    pub send_errors: u64,
    /// Queries opened.
    pub queries: u64,
    /// Answers given.
    pub answers: u64,
    /// Registers looked at.
    pub registers: u64,
    /// Renewals taken.
    pub renewals: u64,
    /// Registers, goodbyes and announcements whose signature or content does not hold.
    pub forged_records: u64,
    /// Renewals whose proof does not hold.
    pub forged_renewals: u64,
    /// This node's own messages that came back.
    pub own_reflected: u64,
    /// Notices of offers that this node takes.
    pub notices: u64,
    /// Notices whose signature does not hold.
    pub forged_notices: u64,
    /// Notices of offers that this node does not take.
    pub ignored_notices: u64,
    /// Answers held back, as they would have been longer than three times the request.
    pub too_long_replies: u64,
    /// Messages that could not be decoded though they opened.
    pub undecodable: u64,
    /// Group memberships that were joined again, as they were lost or may have been.
    pub rejoined: u64,
    dropped: BTreeMap<&'static str, u64>,
    ignored: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
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

    /// All counts that are not zero, by name.
    pub fn all(&self) -> BTreeMap<String, u64> {
        let Self {
            received,
            sent,
            send_errors,
            queries,
            answers,
            registers,
            renewals,
            forged_records,
            forged_renewals,
            own_reflected,
            notices,
            forged_notices,
            ignored_notices,
            too_long_replies,
            undecodable,
            rejoined,
            dropped,
            ignored,
            refused,
        } = self;
        let plain = [
            ("received", received),
            ("sent", sent),
            ("send_errors", send_errors),
            ("queries", queries),
            ("answers", answers),
            ("registers", registers),
            ("renewals", renewals),
            ("dropped.forged_record", forged_records),
            ("dropped.forged_renewal", forged_renewals),
            ("dropped.own_reflected", own_reflected),
            ("notices", notices),
            ("dropped.forged_notice", forged_notices),
            ("ignored.notice", ignored_notices),
            ("dropped.reply_too_long", too_long_replies),
            ("dropped.undecodable", undecodable),
            ("memberships.rejoined", rejoined),
        ];
        let grouped = [
            ("dropped", dropped),
            ("ignored", ignored),
            ("refused", refused),
        ];
        let grouped = grouped.into_iter().flat_map(|(group, counts)| {
            counts
                .iter()
                .map(move |(reason, count)| (format!("{group}.{reason}"), *count))
        });
        plain
            .into_iter()
            .map(|(name, count)| (name.to_owned(), *count))
            .chain(grouped)
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}
