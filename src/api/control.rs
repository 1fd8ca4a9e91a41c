//! The control socket: a Unix stream socket in the state directory, for the user that runs the node alone.
//!
//! The lines on it are those of [`super::request`]. What holds, each with a named limit:
//!
//! - The socket file has mode 0600 before anybody can connect: it is bound, then its mode is set, then it listens. A
//!   connection to a bound socket that does not listen is refused by the kernel, so no umask matters.
//! - One node per state directory: whoever binds holds the directory's lock for as long as the listener lives. The kernel
//!   frees it when the process dies, however it dies, so a socket file left behind is replaced and a living one never is.
//! - At most [`MAX_CONNECTIONS`] connections; one more gets a `busy` error line. A request line has at most
//!   [`MAX_REQUEST`] bytes. A connection that sends no whole request, or takes no answer, for [`IDLE_LIMIT`] is closed.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::mpsc;

use super::request::{PAGE, Request, Response};

mod client;
mod server;
#[cfg(test)]
pub(crate) mod tests;

pub use client::{Answers, AskError, ask};
pub use server::{BindError, Listener, serve};

/// The socket's file name in the state directory.
pub const SOCKET_NAME: &str = "control.sock";
/// The longest request line, in bytes: 16 labels and a cursor are far below.
pub const MAX_REQUEST: usize = 64 * 1024;
/// The longest response line, in bytes: the status of a machine with some ten thousand interfaces.
pub const MAX_RESPONSE: usize = 16 * 1024 * 1024;
/// The most connections at a time: people, scripts and a health check.
pub const MAX_CONNECTIONS: usize = 32;
/// How long a connection may send no whole request, or take no part of an answer.
pub const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// How long the node may take for one answer: a registration with its repetitions takes a few seconds.
pub const CALL_LIMIT: Duration = Duration::from_secs(30);
/// Responses that wait for a slow reader. A page and its end fit, so that the node sends a page by `try_send` and never waits.
pub const REPLY_CAPACITY: usize = PAGE + 12;

/// One request, and where its answer goes.
///
/// The node sends items, then [`Response::End`] or [`Response::Error`]; a reply that is dropped before is told to the asker
/// as a failure.
#[derive(Debug)]
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// Takes the answer; its capacity is [`REPLY_CAPACITY`].
    pub reply: mpsc::Sender<Response>,
}

/// Where the control socket of a state directory is.
pub fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET_NAME)
}

/// The longest path of a Unix socket, in bytes: `sun_path` less the final NUL (unix(7)).
const MAX_PATH: usize = 107;

/// Connects, and waits at most `limit` where the other side accepts nobody.
fn connect(path: &Path, limit: Duration) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // On Unix sockets the write limit holds for `connect` too, which waits while the other side's backlog is full.
    socket.set_write_timeout(Some(limit))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// Whether a socket can have this path, and its length in bytes.
fn path_fits(path: &Path) -> Result<(), usize> {
    let length = path.as_os_str().len();
    if length <= MAX_PATH {
        Ok(())
    } else {
        Err(length)
    }
}
