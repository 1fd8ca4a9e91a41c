//! One established session: its requests one after the other, and their answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::Instrument;

use super::{SessionCounters, Shared};
use crate::api::control::{Call, REPLY_CAPACITY};
use crate::api::request::{ErrorKind, Item, Request as RegistryRequest, Response};
use crate::api::session::{TextError, decode_request, encode_item};
use crate::model::NodeId;
use crate::session::{Session, SessionError};
use crate::transfer::FileEvent;
use crate::transfer::offers::Generation;
use crate::wire::session::{Answer, Report, Request, verify_introduction};
use crate::wire::v1::Notice;

/// How long the node may take for one page.
const CALL_LIMIT: Duration = Duration::from_secs(30);
/// After how long without a change a watcher receives a sign of life; a caller gives up after three
/// times that.
pub(crate) const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum Ended {
    #[error("no request came in time")]
    Idle,
    #[error("the caller read no part of the answer in time")]
    Slow,
    #[error("the node stops")]
    Stopping,
    #[error("the caller sent something while it was answered")]
    OutOfTurn,
    #[error("an item can't be sent: {0}")]
    Item(#[from] TextError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

pub(super) struct Connection<'s> {
    pub(super) session: Session<TcpStream>,
    pub(super) shared: &'s Shared,
    /// The node that introduced itself and proved it.
    introduced: Option<NodeId>,
}

impl<'s> Connection<'s> {
    pub(super) fn new(session: Session<TcpStream>, shared: &'s Shared) -> Self {
        Self {
            session,
            shared,
            introduced: None,
        }
    }

    /// Answers requests until the caller closes the session.
    pub(super) async fn serve(&mut self) -> Result<(), Ended> {
        loop {
            let request = match timeout(self.shared.limits.idle, self.session.request()).await {
                Err(_) => return Err(Ended::Idle),
                Ok(request) => match request? {
                    Some(request) => request,
                    None => return Ok(()),
                },
            };
            SessionCounters::count(&self.shared.counters.requests);
            self.on_request(request).await?;
        }
    }

    async fn on_request(&mut self, request: Request) -> Result<(), Ended> {
        match request {
            Request::Registry(text) => match decode_request(&text) {
                Ok(request) => {
                    tracing::debug!(?request, "request");
                    let span = tracing::debug_span!("request");
                    match request {
                        RegistryRequest::Watch => self.watch().instrument(span).await,
                        request => self.registry(request).instrument(span).await,
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "request refused");
                    let message = format!("the request can't be read: {error}");
                    self.fail(ErrorKind::BadRequest, &message).await
                }
            },
            Request::Offers => self.offers().await,
            Request::Pull {
                name,
                offset,
                digest,
            } => {
                let span = tracing::debug_span!("pull", %name, offset);
                self.pull(&name, offset, digest).instrument(span).await
            }
            Request::Introduce { node, signature } => self.on_introduction(node, &signature).await,
            Request::Report(report) => self.on_report(report).await,
        }
    }

    async fn on_introduction(&mut self, node: NodeId, signature: &[u8; 64]) -> Result<(), Ended> {
        if verify_introduction(&node, signature, self.session.binding()).is_err() {
            tracing::debug!(%node, "introduction refused: its signature is not valid");
            return self
                .fail(
                    ErrorKind::BadRequest,
                    "the signature is not that of the node",
                )
                .await;
        }
        tracing::debug!(%node, "introduced");
        self.introduced = Some(node);
        self.end().await
    }

    async fn on_report(&mut self, report: Report) -> Result<(), Ended> {
        let Some(node) = self.introduced else {
            return self
                .fail(
                    ErrorKind::BadRequest,
                    "a node that reports must introduce itself first",
                )
                .await;
        };
        tracing::debug!(%node, ?report, "report");
        // If the queue is full the report is lost; the node sends it again with its next session.
        let _ = self
            .shared
            .files
            .events
            .try_send(FileEvent::Reported { node, report });
        self.end().await
    }

    pub(super) fn notice(&self, name: &str, generation: &Generation) -> Result<Notice, Ended> {
        let snapshot = &generation.snapshot;
        let notice = Notice::sign(
            &self.shared.files.identity,
            self.session.key(),
            name,
            generation.number,
            snapshot.size(),
            *snapshot.digest(),
        );
        Ok(notice.map_err(SessionError::from)?)
    }

    async fn offers(&mut self) -> Result<(), Ended> {
        for (name, offered) in self.shared.files.offers.all() {
            if let Some(current) = &offered.current {
                let notice = self.notice(&name, current)?;
                self.session.queue(&Answer::Offer(notice))?;
            }
        }
        self.end().await
    }

    /// Reports the progress of a pull to the node; the report is dropped if its queue is full.
    pub(super) fn report_progress(&self, name: &str, generation: &Arc<Generation>, bytes: u64) {
        if let Some(node) = self.introduced {
            let _ = self.shared.files.events.try_send(FileEvent::Sending {
                node,
                name: name.into(),
                generation: generation.number,
                bytes,
            });
        }
    }

    /// Forwards the answer of the node, page after page: at most one page is in memory.
    async fn registry(&mut self, mut request: RegistryRequest) -> Result<(), Ended> {
        loop {
            let Some(mut responses) = self.call(request.clone()).await? else {
                return self
                    .fail(ErrorKind::Busy, "the server is busy: try again")
                    .await;
            };
            let next = loop {
                match timeout(CALL_LIMIT, responses.recv()).await {
                    Err(_) => {
                        return self
                            .fail(
                                ErrorKind::Failed,
                                "the server did not answer itself in time",
                            )
                            .await;
                    }
                    Ok(None) => {
                        return self
                            .fail(ErrorKind::Failed, "the server dropped the request")
                            .await;
                    }
                    Ok(Some(Response::Item { item })) => {
                        self.queue_item(item)?;
                        if self.session.is_full() {
                            self.flush().await?;
                        }
                    }
                    Ok(Some(Response::End { next })) => break next,
                    Ok(Some(Response::Error { kind, message })) => {
                        return self.fail(kind, &message).await;
                    }
                }
            };
            match next.and_then(|next| request.page(next)) {
                Some(page) => request = page,
                None => return self.end().await,
            }
        }
    }

    /// Forwards changes until the caller leaves.
    async fn watch(&mut self) -> Result<(), Ended> {
        let Some(mut responses) = self.call(RegistryRequest::Watch).await? else {
            return self
                .fail(ErrorKind::Busy, "the server is busy: try again")
                .await;
        };
        loop {
            let response = tokio::select! {
                response = responses.recv() => response,
                () = tokio::time::sleep(ALIVE_EVERY) => {
                    self.session.queue(&Answer::Alive)?;
                    self.flush().await?;
                    continue;
                }
                received = self.session.receive() => {
                    return match received? {
                        None => Ok(()),
                        Some(_) => Err(Ended::OutOfTurn),
                    };
                }
            };
            match response {
                None => return Err(Ended::Stopping),
                Some(Response::Item { item }) => {
                    self.queue_item(item)?;
                    self.flush().await?;
                }
                Some(Response::End { .. }) => return self.end().await,
                Some(Response::Error { kind, message }) => return self.fail(kind, &message).await,
            }
        }
    }

    /// Hands a request to the node; `None` if the node accepts none for now.
    async fn call(
        &self,
        request: RegistryRequest,
    ) -> Result<Option<mpsc::Receiver<Response>>, Ended> {
        let (reply, responses) = mpsc::channel(REPLY_CAPACITY);
        match timeout(CALL_LIMIT, self.shared.calls.send(Call { request, reply })).await {
            Ok(Ok(())) => Ok(Some(responses)),
            Ok(Err(_)) => Err(Ended::Stopping),
            Err(_) => Ok(None),
        }
    }

    fn queue_item(&mut self, item: Item) -> Result<(), Ended> {
        let text = encode_item(item)?;
        Ok(self.session.queue(&Answer::Item(&text))?)
    }

    pub(super) async fn end(&mut self) -> Result<(), Ended> {
        self.session.queue(&Answer::End)?;
        self.flush().await
    }

    pub(super) async fn fail(&mut self, kind: ErrorKind, message: &str) -> Result<(), Ended> {
        tracing::debug!(%kind, message, "request failed");
        let message = message[..message.floor_char_boundary(Answer::MAX_FAILURE)].into();
        self.session.queue(&Answer::Failed { kind, message })?;
        self.flush().await
    }

    /// Writes what waits; the caller must read each part within the idle limit.
    pub(super) async fn flush(&mut self) -> Result<(), Ended> {
        while self.session.waiting() > 0 {
            timeout(self.shared.limits.idle, self.session.write_some())
                .await
                .map_err(|_| Ended::Slow)??;
        }
        Ok(())
    }
}
