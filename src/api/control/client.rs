//! The side of the caller, without a runtime: a command sends one request and exits.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use super::*;
use crate::api::request::{ErrorKind, Item};

/// Why a node on this machine can't be queried, or why its answer is not complete.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No node runs with this state directory: query the network instead, or start one.
    #[error("no hereabouts runs here (nothing listens on {})", path.display())]
    NoNode {
        /// The socket.
        path: PathBuf,
    },
    /// The node of another user.
    #[error("no permission for {}: run this as {}, or as root", path.display(), owner_text(*owner))]
    NoPermission {
        /// The socket.
        path: PathBuf,
        /// The user id that owns the socket, if it can be read.
        owner: Option<u32>,
    },
    /// The path does not fit a socket address, so no node can listen there.
    #[error("the path of the control socket has {length} bytes, {MAX_PATH} fit ({})", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        length: usize,
    },
    /// The time limit passed.
    #[error("the node did not answer within {limit:?}")]
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// This version can't read the answer.
    #[error("the answer of the node can't be read ({reason}): is the node of another version?")]
    WrongAnswer {
        /// What is wrong with it.
        reason: String,
    },
    /// The node refused the request.
    #[error("{message}")]
    Refused {
        /// What can be done about it.
        kind: ErrorKind,
        /// The reason that the node gave.
        message: String,
    },
    /// The connection failed.
    #[error("the connection to the node failed")]
    Io(#[source] io::Error),
}

fn owner_text(owner: Option<u32>) -> String {
    owner.map_or_else(
        || "the user that runs the node".to_owned(),
        |uid| format!("user id {uid}, who runs the node"),
    )
}

/// Sends a request to the node behind a socket file. `limit` bounds the whole answer with all its
/// pages; [`Duration::MAX`] does not.
pub fn ask(socket: &Path, request: &Request, limit: Duration) -> Result<Answers, AskError> {
    let deadline = Instant::now().checked_add(limit);
    let stream = open(socket, limit.min(IDLE_LIMIT))?;
    let mut answers = Answers {
        stream,
        request: request.clone(),
        deadline,
        limit,
        done: false,
    };
    answers.send()?;
    Ok(answers)
}

fn open(path: &Path, limit: Duration) -> Result<BufReader<UnixStream>, AskError> {
    path_fits(path).map_err(|length| AskError::TooLong {
        path: path.to_owned(),
        length,
    })?;
    let stream = connect(path, limit).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ConnectionRefused => AskError::NoNode {
            path: path.to_owned(),
        },
        io::ErrorKind::PermissionDenied => AskError::NoPermission {
            path: path.to_owned(),
            owner: std::fs::metadata(path).ok().map(|metadata| metadata.uid()),
        },
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => AskError::TimedOut { limit },
        _ => AskError::Io(error),
    })?;
    Ok(BufReader::new(stream))
}

/// The items of an answer, read as they arrive, across pages. Nothing follows an error.
#[derive(Debug)]
pub struct Answers {
    stream: BufReader<UnixStream>,
    request: Request,
    deadline: Option<Instant>,
    limit: Duration,
    done: bool,
}

impl Iterator for Answers {
    type Item = Result<Item, AskError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.step().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Answers {
    fn step(&mut self) -> Result<Option<Item>, AskError> {
        loop {
            match self.response()? {
                Response::Item { item } => return Ok(Some(item)),
                Response::End { next: None } => return Ok(None),
                Response::Error { kind, message } => {
                    return Err(AskError::Refused { kind, message });
                }
                Response::End { next: Some(next) } => {
                    self.request =
                        self.request
                            .page(next)
                            .ok_or_else(|| AskError::WrongAnswer {
                                reason: "another page follows an answer of one page".to_owned(),
                            })?;
                    self.send()?;
                }
            }
        }
    }

    fn send(&mut self) -> Result<(), AskError> {
        let mut line =
            serde_json::to_vec(&self.request).map_err(|error| AskError::Io(error.into()))?;
        line.push(b'\n');
        let remaining = self.remaining()?;
        self.stream
            .get_ref()
            .set_write_timeout(remaining)
            .map_err(AskError::Io)?;
        match self.stream.get_mut().write_all(&line) {
            Ok(()) => Ok(()),
            // The node closed the connection already; a line that can still be read says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn response(&mut self) -> Result<Response, AskError> {
        let mut line = Vec::new();
        loop {
            let remaining = self.remaining()?;
            self.stream
                .get_ref()
                .set_read_timeout(remaining)
                .map_err(AskError::Io)?;
            let room = (MAX_RESPONSE - line.len()) as u64;
            match self.stream.by_ref().take(room).read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => break,
                Ok(_) if line.len() >= MAX_RESPONSE => {
                    return Err(AskError::WrongAnswer {
                        reason: format!("a line is over {MAX_RESPONSE} bytes"),
                    });
                }
                Ok(_) => {
                    return Err(AskError::WrongAnswer {
                        reason: "it ends too soon".to_owned(),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        serde_json::from_slice(&line).map_err(|error| AskError::WrongAnswer {
            reason: error.to_string(),
        })
    }

    /// The remaining time, if there is a limit; a read limit of zero would mean no limit.
    fn remaining(&self) -> Result<Option<Duration>, AskError> {
        let remaining = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if remaining == Some(Duration::ZERO) {
            Err(AskError::TimedOut { limit: self.limit })
        } else {
            Ok(remaining)
        }
    }

    fn failed(&self, error: io::Error) -> AskError {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                AskError::TimedOut { limit: self.limit }
            }
            _ => AskError::Io(error),
        }
    }
}
