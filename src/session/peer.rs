//! A server that a session can be opened with.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;

use super::{Session, SessionError};
use crate::model::{NodeId, NodeName, Timestamp};
use crate::transport::Clock;
use crate::wire::keyring::KeyRing;

/// A server that answered just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Where it answered from: UDP and TCP.
    pub address: SocketAddr,
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its clock less ours, in ms, where that mattered.
    pub clock_ahead: i64,
}

impl Peer {
    /// Opens a session, by the clock that the server has.
    pub(crate) async fn connect(
        &self,
        key_ring: &KeyRing,
        channel: &str,
    ) -> Result<Session<TcpStream>, SessionError> {
        let clock = Clock::new().now().wall;
        let ahead = Duration::from_millis(self.clock_ahead.unsigned_abs());
        let clock: Timestamp = if self.clock_ahead < 0 {
            clock.minus(ahead)
        } else {
            clock.plus(ahead)
        };
        super::connect(self.address, key_ring.first(), channel, clock).await
    }
}
