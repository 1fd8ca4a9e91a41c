//! Interfaces and sockets: the only layer that opens one.
