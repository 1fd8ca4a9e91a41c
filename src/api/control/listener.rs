//! The bound control socket.

use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};

use tokio::net::UnixListener;

use super::*;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 64;
/// How long to wait for a process that holds the socket and accepts no connection.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);

/// The bound control socket; dropping it removes the socket file.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    path: PathBuf,
}

/// Why the control socket can't be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process serves this state directory.
    #[error("another hereabouts runs here{}: stop it, or give this one another node.state_dir ({})", pid_text(*pid), path.display())]
    Running {
        /// Its process id, if it is in this process namespace.
        pid: Option<u32>,
        /// The socket that it holds.
        path: PathBuf,
    },
    /// The path does not fit a socket address.
    #[error("the path of the control socket has {length} bytes, {MAX_PATH} fit: choose a shorter node.state_dir ({})", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// Another file is in the place of the socket.
    #[error("{} is not a socket: move it away", path.display())]
    NotSocket {
        /// The path.
        path: PathBuf,
    },
    /// The system refused an operation.
    #[error("failed to {action} {} (the user that runs hereabouts must be able to write there)", path.display())]
    Io {
        /// What failed, as a verb.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(", PID {pid}")).unwrap_or_default()
}

impl Listener {
    /// Binds the control socket of a state directory that exists, inside a tokio runtime.
    ///
    /// The caller holds the lock of that directory, and frees it only after it has dropped the
    /// listener: otherwise two starts at the same time would remove each other's socket.
    pub fn bind(state_dir: &Path) -> Result<Self, BindError> {
        let path = socket_path(state_dir);
        path_fits(&path).map_err(|length| BindError::TooLong {
            path: path.clone(),
            length,
        })?;
        clear(&path)?;
        let io = |action| {
            let path = path.clone();
            move |source| BindError::Io {
                action,
                path,
                source,
            }
        };
        let socket =
            Socket::new(Domain::UNIX, Type::STREAM, None).map_err(io("make a socket for"))?;
        let address = SockAddr::unix(&path).map_err(io("bind"))?;
        socket.bind(&address).map_err(io("bind"))?;
        // The order matters: no process can connect before `listen`, and by then the mode is set.
        std::fs::set_permissions(&path, Permissions::from_mode(0o600))
            .map_err(io("set the mode of"))?;
        socket.listen(BACKLOG).map_err(io("listen on"))?;
        socket.set_nonblocking(true).map_err(io("listen on"))?;
        let socket = UnixListener::from_std(socket.into()).map_err(io("listen on"))?;
        Ok(Self { socket, path })
    }

    /// The socket file.
    #[cfg(test)]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The lock of the directory is still held, so the file belongs to this process.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes a socket file that no process serves.
fn clear(path: &Path) -> Result<(), BindError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(BindError::Io {
                action: "read the type of",
                path: path.to_owned(),
                source,
            });
        }
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotSocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    // The caller holds the lock, so no node with this state directory answers. But the socket of
    // another running process must not be removed either.
    if let Some(pid) = serving_process(path) {
        return Err(BindError::Running {
            pid,
            path: path.to_owned(),
        });
    }
    std::fs::remove_file(path).map_err(|source| BindError::Io {
        action: "remove the old",
        path: path.to_owned(),
        source,
    })
}

/// The process that serves a socket file, if one does; its PID is unknown in another process
/// namespace.
fn serving_process(path: &Path) -> Option<Option<u32>> {
    let stream = match connect(path, ALIVE_LIMIT) {
        Ok(stream) => stream,
        // A process listens and is busy.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ) =>
        {
            return Some(None);
        }
        Err(_) => return None,
    };
    let peer = stream
        .set_nonblocking(true)
        .and_then(|()| tokio::net::UnixStream::from_std(stream)?.peer_cred());
    let pid = peer
        .ok()
        .and_then(|peer| peer.pid())
        .and_then(|pid| u32::try_from(pid).ok());
    Some(pid.filter(|pid| *pid != 0))
}
