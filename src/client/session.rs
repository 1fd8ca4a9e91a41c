//! `nodes`, `history`, `watch` and others without a node on this machine: finds a server, then
//! queries it over a session.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::Instrument;

use super::{ClientError, open};
use crate::api::request::{ErrorKind, Item, Request as RegistryRequest};
use crate::api::session::{TextError, decode_item, encode_request};
use crate::config::Config;
use crate::remote::ALIVE_EVERY;
use crate::session::{Peer, Session, SessionError};
use crate::settings;
use crate::wire::session::{Answer, Request};

/// After how long without a message a server counts as absent.
const SILENCE: Duration = ALIVE_EVERY.saturating_mul(3);

/// Why no server could be queried, or why its answer is not complete.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The configuration can't be used, or no socket could be bound.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// No server answered the search.
    #[error("no server of this channel answered within {} s (`hereabouts discover` shows the nodes that answer)", .limit.as_secs_f32())]
    NoServer {
        /// How long the search took.
        limit: Duration,
    },
    /// Servers answered over UDP, but no session with any of them could be opened.
    #[error("{}", .0.iter().map(|(server, error)| format!("no session with {} ({}): {error}", server.name, server.address)).collect::<Vec<_>>().join("; "))]
    Unreachable(Vec<(Peer, SessionError)>),
    /// The session ended before the answer was complete.
    #[error("the session with {server} ended: {source}")]
    Session {
        /// The server.
        server: String,
        /// Why it ended.
        #[source]
        source: SessionError,
    },
    /// An item of the answer can't be read.
    #[error("the answer of {server} can't be read ({source}): is the server of another version?")]
    WrongAnswer {
        /// The server.
        server: String,
        /// What is wrong with the item.
        #[source]
        source: TextError,
    },
    /// The whole answer took too long, or nothing was received for a while.
    #[error("{server} did not answer within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// The server.
        server: String,
        /// The limit that passed.
        limit: Duration,
    },
    /// The server refused the request.
    #[error("{message}")]
    Refused {
        /// What can be done about it.
        kind: ErrorKind,
        /// The reason that the server gave.
        message: String,
    },
    /// Only the node of this machine answers such a request.
    #[error("only the node of this machine answers this")]
    LocalOnly,
}

/// Finds a server within `search` and queries it; passes each item to `each` as it arrives, until
/// `each` breaks.
///
/// `limit` bounds the whole answer; [`Duration::MAX`] does not. Must be called within a tokio
/// runtime.
pub async fn ask_network(
    config: &Config,
    request: &RegistryRequest,
    search: Duration,
    limit: Duration,
    each: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<(), AskError> {
    let text = encode_request(request).map_err(|_| AskError::LocalOnly)?;
    let request = Request::Registry(text.into());
    let (key_ring, _) = settings::key_ring(config, None).map_err(ClientError::from)?;
    let servers = open(config).await?.servers(search).await;
    if servers.is_empty() {
        return Err(AskError::NoServer { limit: search });
    }
    let mut failures = Vec::new();
    for server in servers {
        let name = format!("{} ({})", server.name, server.address);
        match server
            .connect(&key_ring, config.channel.name.as_str())
            .await
        {
            Ok(session) => {
                let span = tracing::debug_span!("request", server = name);
                let answer = ask(session, &name, &request, each).instrument(span);
                return match timeout(limit, answer).await {
                    Ok(answered) => answered,
                    Err(_) => Err(AskError::TimedOut {
                        server: name,
                        limit,
                    }),
                };
            }
            Err(error) => {
                tracing::debug!(server = name, %error, "no session");
                failures.push((server, error));
            }
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
            Answer::Item(text) => {
                let item = decode_item(text).map_err(|source| AskError::WrongAnswer {
                    server: server.to_owned(),
                    source,
                })?;
                if each(item).is_break() {
                    return Ok(());
                }
            }
            Answer::End => return Ok(()),
            Answer::Failed { kind, message } => {
                return Err(AskError::Refused {
                    kind,
                    message: message.into(),
                });
            }
            Answer::Alive | Answer::Offer(_) | Answer::File { .. } | Answer::Content(_) => {}
        }
    }
}
