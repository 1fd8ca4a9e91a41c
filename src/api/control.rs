//! The control socket: a Unix stream socket in the state directory, only for the user that runs the
//! node.
//!
//! In: request lines of [`super::request`]. Out: [`Call`]s for the node, and its answers as lines.
//! The guarantees, each with a named limit:
//!
//! - The socket file has mode 0600 before any process can connect: it is bound, then its mode is
//!   set, then it listens. The kernel refuses a connection to a bound socket that does not listen,
//!   so the umask does not matter.
//! - One node per state directory: the process that binds holds the lock of the directory as long
//!   as the listener lives. The kernel frees the lock however the process dies, so a stale socket
//!   file is replaced, and the socket of a running process never is.
//! - At most [`MAX_CONNECTIONS`] connections; another one gets a `busy` error line. A request line
//!   has at most [`MAX_REQUEST`] bytes. A connection that sends no whole request, or reads no
//!   answer, for [`IDLE_LIMIT`] is closed.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::mpsc;

use super::request::{PAGE, Request, Response};

mod client;
mod listener;
mod server;
#[cfg(test)]
pub(crate) mod tests;

pub use client::{Answers, AskError, ask};
pub use listener::{BindError, Listener};
pub use server::serve;

/// The file name of the socket in the state directory.
pub const SOCKET_NAME: &str = "control.sock";
/// Limit of a request line, in bytes: 16 labels and a cursor need far less.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Limit of a response line, in bytes: the status of a machine with about ten thousand interfaces.
pub const MAX_RESPONSE: usize = 16 * 1024 * 1024;
/// Limit of connections at a time: people, scripts and a health check.
pub const MAX_CONNECTIONS: usize = 32;
/// How long a connection may send no whole request, or read no part of an answer.
pub const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How long the node may take for one answer: a registration with its retries takes a few seconds.
pub const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Limit of the responses that wait for a slow reader. A page and its end fit, so that the node
/// sends a page by `try_send` and never waits.
pub const REPLY_CAPACITY: usize = PAGE + 12;

/// One request, and where its answer goes.
///
/// The node sends items, then [`Response::End`] or [`Response::Error`]. If the reply is dropped
/// before, the caller gets an error.
#[derive(Debug)]
pub struct Call {
    /// The request.
    pub request: Request,
    /// Receives the answer; its capacity is [`REPLY_CAPACITY`].
    pub reply: mpsc::Sender<Response>,
}

/// The path of the control socket of a state directory.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET_NAME)
}

/// Limit of the path of a Unix socket, in bytes: `sun_path` without the final NUL (unix(7)).
const MAX_PATH: usize = 107;

/// Connects, and waits at most `limit` if the other side accepts no connection.
fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Unix sockets the write limit holds for `connect` too, which waits while the backlog of the
    // other side is full.
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Checks that a socket can have this path; the error is the length of the path in bytes.
fn path_fits(path: &Path) -> Result<(), usize> {
    let length = path.as_os_str().len();
    if length <= MAX_PATH {
        Ok(())
    } else {
        Err(length)
    }
}
