//! `nodes`, `history`, `watch` and others without a node: a server is found, then asked over a session.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ClientError, open};
use crate::api::request::{ErrorKind, Item, Request as Asked};
use crate::config::Config;
use crate::remote::{ALIVE_EVERY, views};
use crate::session::{Peer, Session, SessionError};
use crate::settings;
use crate::wire::session::{Answer, Request};

/// After how long without a word a server counts as gone.
const SILENCE: Duration = ALIVE_EVERY.saturating_mul(3);

/// Why a server could not be asked, or did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The configuration can't be used, or no socket be had.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Nobody answered the search.
    #[error("no server of this channel answered within {} s (`hereabouts discover` shows who does)", .limit.as_secs_f32())]
    NoServer {
        /// How long was waited.
        limit: Duration,
    },
    /// Servers answered by UDP, and with none a session came about.
    #[error("{}", .0.iter().map(|(server, error)| format!("no session with {} ({}): {error}", server.name, server.address)).collect::<Vec<_>>().join("; "))]
    Unreachable(Vec<(Peer, SessionError)>),
    /// The session ended within the answer.
    #[error("the session with {server} ended: {source}")]
    Session {
        /// The server.
        server: String,
        /// Why.
        #[source]
        source: SessionError,
    },
    /// The whole answer took too long, or nothing at all came for a while.
    #[error("{server} did not answer within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// The server.
        server: String,
        /// The limit that passed.
        limit: Duration,
    },
    /// The server says why it does not do it.
    #[error("{message}")]
    Refused {
        /// What can be done about it.
        kind: ErrorKind,
        /// The server's words.
        message: String,
    },
    /// Only the node of this machine answers such a request.
    #[error("this can be asked of the node of this machine only")]
    LocalOnly,
}

/// Finds a server within `search` and asks it; each item is handed on as it comes, until `each` breaks.
///
/// `limit` bounds the whole answer; [`Duration::MAX`] does not. Must be called within a tokio runtime.
pub async fn ask_network(
    config: &Config,
    asked: &Asked,
    search: Duration,
    limit: Duration,
    each: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<(), AskError> {
    let request = views::request(asked).ok_or(AskError::LocalOnly)?;
    let (key_ring, _) = settings::key_ring(config, None).map_err(ClientError::from)?;
    let servers = open(config).await?.servers(search).await;
    if servers.is_empty() {
        return Err(AskError::NoServer { limit: search });
    }
    let mut failures = Vec::new();
    for server in servers {
        match server
            .connect(&key_ring, config.channel.name.as_str())
            .await
        {
            Ok(session) => {
                let name = format!("{} ({})", server.name, server.address);
                return match timeout(limit, ask(session, &name, &request, each)).await {
                    Ok(answered) => answered,
                    Err(_) => Err(AskError::TimedOut {
                        server: name,
                        limit,
                    }),
                };
            }
            Err(error) => failures.push((server, error)),
        }
    }
    Err(AskError::Unreachable(failures))
}

async fn ask(
    mut session: Session<TcpStream>,
    server: &str,
    request: &Request,
    each: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<(), AskError> {
    let failed = |source| AskError::Session {
        server: server.to_owned(),
        source,
    };
    session.ask(request).await.map_err(failed)?;
    loop {
        let answer = match timeout(SILENCE, session.answer()).await {
            Ok(answer) => answer.map_err(failed)?,
            Err(_) => {
                return Err(AskError::TimedOut {
                    server: server.to_owned(),
                    limit: SILENCE,
                });
            }
        };
        match answer {
            Answer::End => return Ok(()),
            Answer::Failed { kind, message } => {
                return Err(AskError::Refused {
                    kind: views::error_kind(kind),
                    message: message.into(),
                });
            }
            answer => {
                if let Some(item) = views::item(answer)
                    && each(item).is_break()
                {
                    return Ok(());
                }
            }
        }
    }
}
