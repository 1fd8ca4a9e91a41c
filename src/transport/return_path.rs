//! The route back to the sender of a datagram, and the rule that an answer has at most three times the length of its
//! request.
//!
//! The rule keeps a node from being used to amplify traffic towards a forged source address. It is computed in
//! [`ReturnPath::new`] alone; [`Traffic::reply`](super::Traffic::reply) enforces it.

use std::net::{IpAddr, SocketAddr};

use crate::net::{Arrival, Source};

/// An answer is at most this many times as long as its request.
const AMPLIFICATION: usize = 3;

/// The local end of the route back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Via {
    /// The address of this node that the request was sent to, if it is one of its own: the answer leaves from it.
    pub local: Option<IpAddr>,
    /// The interface that the request came in by; 0 leaves the choice to the routes.
    pub interface: u32,
}

/// The route of an answer, and the limit of its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnPath {
    /// The sender of the request.
    pub to: SocketAddr,
    /// The local end.
    pub via: Via,
    limit: usize,
}

impl ReturnPath {
    /// The route back to the sender of a request that was `request_length` bytes long, sealed.
    pub fn new(to: SocketAddr, via: Via, request_length: usize) -> Self {
        Self {
            to,
            via,
            limit: request_length.saturating_mul(AMPLIFICATION),
        }
    }

    /// The route back to the sender of a datagram of this length.
    pub(super) fn of(arrival: &Arrival, length: usize) -> Self {
        let via = match arrival.reply_source() {
            Some(Source { ip, interface }) => Via {
                local: (!ip.is_unspecified()).then_some(ip),
                interface,
            },
            None => Via {
                local: None,
                interface: 0,
            },
        };
        Self::new(arrival.from, via, length)
    }

    /// How many bytes the answer may have, sealed.
    pub fn limit(&self) -> usize {
        self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_is_at_most_three_times_as_long_as_its_request() {
        let via = Via {
            local: None,
            interface: 0,
        };
        let to = ([10, 0, 0, 1], 1).into();
        assert_eq!(ReturnPath::new(to, via, 400).limit(), 1200);
        assert_eq!(ReturnPath::new(to, via, usize::MAX).limit(), usize::MAX);
    }
}
