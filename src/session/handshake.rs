//! The handshake over a stream, with its time limits.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::stream::{Session, SessionError};
use crate::model::Timestamp;
use crate::wire::keyring::{ChannelKey, KeyRing};
use crate::wire::session::{HELLO, HandshakeError, Hello, Initiator, REPLY};

/// How long TCP may take to connect: three attempts.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long either side may take to prove that it holds the key.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// Connects to a server and proves that both hold the key.
///
/// `clock` is the best guess of the server's clock.
pub async fn connect(
    address: SocketAddr,
    key: &ChannelKey,
    channel: &str,
    clock: Timestamp,
) -> Result<Session<TcpStream>, SessionError> {
    let connecting = timeout(CONNECT_LIMIT, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| late("no connection", CONNECT_LIMIT))??;
    // The last frame of an answer must not wait for an acknowledgement.
    stream.set_nodelay(true)?;
    call(stream, key, channel, clock).await
}

/// Proves over a stream that both sides hold the key.
pub async fn call<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    key: &ChannelKey,
    channel: &str,
    clock: Timestamp,
) -> Result<Session<S>, SessionError> {
    let (initiator, hello) = Initiator::new(key, channel, clock, ephemeral()?).map_err(failed)?;
    let mut reply = [0; REPLY];
    let exchange = async {
        stream.write_all(&hello).await?;
        stream.read_exact(&mut reply).await
    };
    match timeout(HANDSHAKE_LIMIT, exchange).await {
        Err(_) => return Err(late("no reply to the handshake", HANDSHAKE_LIMIT).into()),
        Ok(Err(error)) if is_closed(&error) => {
            return Err(std::io::Error::new(
                error.kind(),
                "the server closed the connection without a reply: it holds another key, its clock \
                 differs by more than 20 s, or it has too many sessions",
            )
            .into());
        }
        Ok(Err(error)) => return Err(error.into()),
        Ok(Ok(_)) => {}
    }
    Ok(Session::caller(
        stream,
        initiator.finish(&reply).map_err(failed)?,
    ))
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}

fn late(what: &str, limit: Duration) -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("{what} within {} s", limit.as_secs()),
    )
}

fn failed(error: HandshakeError) -> SessionError {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()).into()
}

/// Why a caller received no reply; not one byte was sent to it.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// No whole hello arrived in time, or the caller left.
    #[error("no whole hello arrived within {} s", HANDSHAKE_LIMIT.as_secs())]
    Incomplete,
    /// The hello does not open.
    #[error(transparent)]
    Refused(#[from] HandshakeError),
    /// The clock differs too much, or the hello is a replay.
    #[error("its clock differs by more than 20 s, or its hello is a replay")]
    Stale,
    /// The connection failed, or there is no randomness.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Waits for the hello of a caller and replies if the hello is valid, all within
/// [`HANDSHAKE_LIMIT`].
///
/// `is_fresh` decides by the clock and the nonce of the hello.
pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    key_ring: &KeyRing,
    channel: &str,
    is_fresh: impl FnOnce(Timestamp, &[u8; 24]) -> bool,
) -> Result<Session<S>, AcceptError> {
    let exchange = async {
        let mut hello = [0; HELLO];
        stream
            .read_exact(&mut hello)
            .await
            .map_err(|_| AcceptError::Incomplete)?;
        let hello = Hello::open(key_ring, channel, &hello, ephemeral()?)?;
        if !is_fresh(hello.clock(), &hello.nonce()) {
            return Err(AcceptError::Stale);
        }
        let (established, reply) = hello.reply()?;
        stream.write_all(&reply).await?;
        Ok(established)
    };
    let established = timeout(HANDSHAKE_LIMIT, exchange)
        .await
        .map_err(|_| AcceptError::Incomplete)??;
    Ok(Session::server(stream, established))
}

fn ephemeral() -> Result<Zeroizing<[u8; 32]>, std::io::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)
        .map_err(|error| std::io::Error::other(format!("no randomness: {error}")))?;
    Ok(bytes)
}
