//! The composition root: everything a running node is made of.
