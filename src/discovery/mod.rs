//! Finding servers and nodes.
