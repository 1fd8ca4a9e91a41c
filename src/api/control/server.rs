//! The side of the node: the connections of its listener.

use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tracing::{debug, warn};

use super::listener::Listener;
use super::*;
use crate::api::request::ErrorKind;

/// Responses written in one go.
const BATCH: usize = 64;
/// How long to wait after a failed accept: the process has no file descriptor left, and one must
/// become free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The time limits of a connection; tests have shorter ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// As [`IDLE_LIMIT`].
    pub(super) idle: Duration,
    /// As [`CALL_LIMIT`].
    pub(super) call: Duration,
}

/// Serves connections until `calls` has no receiver any more; dropping the future closes every
/// connection.
pub async fn serve(listener: Listener, calls: mpsc::Sender<Call>) {
    serve_within(
        listener,
        calls,
        Limits {
            idle: IDLE_LIMIT,
            call: CALL_LIMIT,
        },
    )
    .await;
}

pub(super) async fn serve_within(listener: Listener, calls: mpsc::Sender<Call>, limits: Limits) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.socket.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = calls.closed() => return,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(connection(stream, calls.clone(), limits));
            }
            Ok((stream, _)) => turn_away(&stream),
            Err(error) => {
                warn!(%error, "control socket: failed to accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Sends the reason to a caller whose connection is one too many. The line fits the empty buffer of
/// a new socket, so nothing waits.
fn turn_away(stream: &tokio::net::UnixStream) {
    let message = format!("{MAX_CONNECTIONS} connections are open already: try again");
    let mut line = Vec::new();
    write_line(&mut line, &Response::error(ErrorKind::Busy, message));
    let _ = stream.try_write(&line);
}

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no whole request arrived in time")]
    Idle,
    #[error("the caller read no part of the answer in time")]
    Slow,
    #[error("the node stops")]
    Stopping,
    #[error("the request line is over {MAX_REQUEST} bytes")]
    LongLine,
    #[error(transparent)]
    Io(#[from] io::Error),
}

async fn connection(stream: tokio::net::UnixStream, calls: mpsc::Sender<Call>, limits: Limits) {
    let (read, write) = stream.into_split();
    let mut connection = Connection {
        write,
        calls,
        limits,
    };
    if let Err(reason) = connection.requests(read).await {
        debug!(error = %reason, "control socket: connection closed");
    }
}

/// One connection: where its answers go, and the queue of the node.
struct Connection {
    write: OwnedWriteHalf,
    calls: mpsc::Sender<Call>,
    limits: Limits,
}

impl Connection {
    /// Answers one request after the other.
    async fn requests(&mut self, read: OwnedReadHalf) -> Result<(), Ended> {
        let mut lines = FramedRead::new(read, LinesCodec::new_with_max_length(MAX_REQUEST));
        loop {
            let line = match timeout(self.limits.idle, lines.next()).await {
                Err(_) => return Err(Ended::Idle),
                Ok(None) => return Ok(()),
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(LinesCodecError::MaxLineLengthExceeded))) => {
                    self.refuse(ErrorKind::BadRequest, Ended::LongLine.to_string())
                        .await?;
                    return Err(Ended::LongLine);
                }
                Ok(Some(Err(LinesCodecError::Io(error)))) => return Err(error.into()),
            };
            match serde_json::from_str(&line) {
                Ok(request) if Request::is_stream(&request) => {
                    return self.stream(request, &mut lines).await;
                }
                Ok(request) => self.answer(request).await?,
                Err(error) => {
                    self.refuse(
                        ErrorKind::BadRequest,
                        format!("the request can't be read: {error}"),
                    )
                    .await?;
                }
            }
        }
    }

    /// Forwards an answer, however long it lasts, until the caller leaves or sends anything else.
    async fn stream(
        &mut self,
        request: Request,
        lines: &mut FramedRead<OwnedReadHalf, LinesCodec>,
    ) -> Result<(), Ended> {
        let deadline = Instant::now() + self.limits.call;
        let Some(mut responses) = self.call(request, deadline).await? else {
            return Ok(());
        };
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = lines.next() => return Ok(()),
                received = responses.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return self.refuse(ErrorKind::Busy, "the node stops").await;
                    }
                }
            }
            self.send(&batch).await?;
            if batch
                .iter()
                .any(|response| !matches!(response, Response::Item { .. }))
            {
                return Ok(());
            }
            batch.clear();
        }
    }

    /// Forwards the answer of the node to a request.
    async fn answer(&mut self, request: Request) -> Result<(), Ended> {
        let deadline = Instant::now() + self.limits.call;
        let Some(mut responses) = self.call(request, deadline).await? else {
            return Ok(());
        };
        let mut batch = Vec::new();
        loop {
            match timeout_at(deadline, responses.recv_many(&mut batch, BATCH)).await {
                Ok(0) => {
                    return self
                        .refuse(ErrorKind::Failed, "the node dropped the request")
                        .await;
                }
                Err(_) => {
                    return self
                        .refuse(ErrorKind::Failed, "the node did not answer in time")
                        .await;
                }
                Ok(_) => {
                    let last = batch
                        .iter()
                        .position(|response| !matches!(response, Response::Item { .. }));
                    self.send(&batch[..last.map_or(batch.len(), |last| last + 1)])
                        .await?;
                    if last.is_some() {
                        return Ok(());
                    }
                    batch.clear();
                }
            }
        }
    }

    /// Hands a request to the node; `None` if the node accepts none until the deadline, of which
    /// the caller was informed.
    async fn call(
        &mut self,
        request: Request,
        deadline: Instant,
    ) -> Result<Option<mpsc::Receiver<Response>>, Ended> {
        let (reply, responses) = mpsc::channel(REPLY_CAPACITY);
        match timeout_at(deadline, self.calls.send(Call { request, reply })).await {
            Ok(Ok(())) => Ok(Some(responses)),
            Ok(Err(_)) => {
                self.refuse(ErrorKind::Busy, "the node stops").await?;
                Err(Ended::Stopping)
            }
            Err(_) => self
                .refuse(ErrorKind::Busy, "the node is busy: try again")
                .await
                .map(|()| None),
        }
    }

    async fn refuse(&mut self, kind: ErrorKind, message: impl Into<String>) -> Result<(), Ended> {
        self.send(&[Response::error(kind, message)]).await
    }

    /// Writes responses; the caller must read each part within the idle limit.
    async fn send(&mut self, responses: &[Response]) -> Result<(), Ended> {
        let mut lines = Vec::new();
        for response in responses {
            write_line(&mut lines, response);
        }
        let mut rest = &lines[..];
        while !rest.is_empty() {
            match timeout(self.limits.idle, self.write.write(rest)).await {
                Err(_) => return Err(Ended::Slow),
                Ok(written) => rest = &rest[written?..],
            }
        }
        Ok(())
    }
}

/// Appends one response as a line.
fn write_line(lines: &mut Vec<u8>, response: &Response) {
    let start = lines.len();
    if let Err(error) = serde_json::to_writer(&mut *lines, response) {
        // Every key of a view is a text, so this is a bug; the caller still gets a whole line.
        lines.truncate(start);
        warn!(%error, "control socket: a response can't be written as JSON");
        lines.extend_from_slice(
            br#"{"type":"error","kind":"failed","message":"a response can't be written as JSON"}"#,
        );
    }
    lines.push(b'\n');
}
