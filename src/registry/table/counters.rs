//! The counters of the table.

/// Defines the counters once, each with its comment; the name that users see is that of the field.
macro_rules! counters {
    ($($(#[$comment:meta])* $field:ident,)*) => {
        /// Events since the start.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Counters {
            $($(#[$comment])* pub $field: u64,)*
        }

        impl Counters {
            /// All counts, by name.
            pub(crate) fn all(self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($field), self.$field),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Registers refused because another node id holds the name.
    name_conflicts,
    /// Registers refused because two machines use the node id.
    clones,
    /// Registers, renewals and goodbyes refused because the table holds a newer message.
    outdated,
    /// Registers refused because the table is full of nodes that can't be evicted.
    full,
    /// Absent nodes that were removed to make room.
    evicted,
    /// History intervals dropped because a node had too many.
    intervals_dropped,
    /// Former names dropped because a node had too many.
    names_dropped,
    /// Leases that ended without a renewal.
    expired,
    /// Accepted registers.
    registered,
    /// Accepted renewals.
    renewed,
    /// Rows of the store that contradicted other rows, and were corrected or skipped.
    load_conflicts,
    /// Accepted unverified claims.
    unverified_accepted,
    /// Unverified claims refused because an authenticated node holds the name.
    unverified_owned,
    /// Unverified claims refused because there are too many such names, in total or from one
    /// address.
    unverified_full,
}
