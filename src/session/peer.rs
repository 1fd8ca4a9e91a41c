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
    /// The source of its answer, which is its UDP and TCP port.
    pub address: SocketAddr,
    pub id: NodeId,
    pub name: NodeName,
    /// How far its clock is ahead of the own clock, in ms; 0 unless the difference mattered.
    pub clock_ahead: i64,
}

impl Peer {
    /// Opens a session, with a hello that carries the time of the server's clock.
    pub(crate) async fn connect(
        &self,
        key_ring: &KeyRing,
        channel: &str,
    ) -> Result<Session<TcpStream>, SessionError> {
        let own: Timestamp = Clock::new().now().wall;
        let ahead = Duration::from_millis(self.clock_ahead.unsigned_abs());
        let clock = if self.clock_ahead < 0 {
            own.minus(ahead)
        } else {
            own.plus(ahead)
        };
        tracing::debug!(server = %self.address, name = %self.name, %clock, "connect");
        super::connect(self.address, key_ring.first(), channel, clock).await
    }
}
