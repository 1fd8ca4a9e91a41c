//! The counters of the table.

/// Events since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Registers refused because another node id holds the name.
    pub name_conflicts: u64,
    /// Registers refused because two machines use the node id.
    pub clones: u64,
    /// Registers, renewals and goodbyes refused because the table holds a newer message.
    pub outdated: u64,
    /// Registers refused because the table is full of nodes that can't be evicted.
    pub full: u64,
    /// Absent nodes that were removed to make room.
    pub evicted: u64,
    /// History intervals dropped because a node had too many.
    pub intervals_dropped: u64,
    /// Former names dropped because a node had too many.
    pub names_dropped: u64,
    /// Leases that ended without a renewal.
    pub expired: u64,
    /// Accepted registers.
    pub registered: u64,
    /// Accepted renewals.
    pub renewed: u64,
    /// Rows of the store that contradicted other rows, and were corrected or skipped.
    pub load_conflicts: u64,
    /// Accepted unverified claims.
    pub unverified_accepted: u64,
    /// Unverified claims refused because an authenticated node holds the name.
    pub unverified_owned: u64,
    /// Unverified claims refused because there are too many such names, in total or from one
    /// address.
    pub unverified_full: u64,
}
