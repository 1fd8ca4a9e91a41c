//! The requests of a visit besides the files themselves: introduction, offers and reports.
//!
//! All answers of one visit have a common time limit: a server that answers as slowly as it may, or for ever, would keep
//! the node from every other server.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::session::Peer;
use crate::session::{Session, SessionError};
use crate::wire::Identity;
use crate::wire::keyring::KeyRing;
use crate::wire::session::{Answer, Request};
use crate::wire::v1::Notice;

/// How long a server may take for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// How long a server may take for all answers of a visit.
const ALL_ANSWERS: Duration = Duration::from_secs(60);
/// How many offers of one server are read.
const MAX_OFFERS: usize = 256;

/// The names of refused offers, each with the reason.
pub(in crate::transfer) type Refused = HashMap<Box<str>, String>;

/// The means to open a session with a server.
pub(in crate::transfer) struct Dialer<'c> {
    pub(in crate::transfer) server: &'c Peer,
    pub(in crate::transfer) key_ring: &'c KeyRing,
    pub(in crate::transfer) channel: &'c str,
    pub(in crate::transfer) identity: &'c Identity,
}

impl Dialer<'_> {
    /// Connects, and proves this node's identity.
    pub(in crate::transfer) async fn connect(
        &self,
        exchange: &mut Exchange,
    ) -> Result<Session<TcpStream>, SessionError> {
        let mut session = self.server.connect(self.key_ring, self.channel).await?;
        let introduction = Request::introduce(self.identity, session.binding());
        exchange.request(&mut session, &introduction).await?;
        Ok(session)
    }
}

/// The exchange of one visit, with its time limit.
pub(in crate::transfer) struct Exchange {
    /// How long the server may still take for its answers.
    remaining: Duration,
}

impl Exchange {
    pub(in crate::transfer) fn new() -> Self {
        Self {
            remaining: ALL_ANSWERS,
        }
    }

    /// Sends a request whose answer is an end.
    pub(in crate::transfer) async fn request<S>(
        &mut self,
        session: &mut Session<S>,
        request: &Request,
    ) -> Result<(), SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.timed(async {
            session.ask(request).await?;
            match session.answer().await? {
                Answer::End => Ok(()),
                Answer::Failed { message, .. } => {
                    Err(io::Error::other(String::from(message)).into())
                }
                _ => Err(io::Error::other("the server sent an unexpected answer").into()),
            }
        })
        .await
    }

    /// The offers of a server, and the refused ones, whose signature is invalid.
    pub(in crate::transfer) async fn offers<S>(
        &mut self,
        session: &mut Session<S>,
    ) -> Result<(Vec<Notice>, Refused), SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut offers = Vec::new();
        let mut refused = Refused::new();
        let read = async {
            session.ask(&Request::Offers).await?;
            let key = session.key();
            loop {
                match session.answer().await? {
                    Answer::Offer(notice) if offers.len() + refused.len() < MAX_OFFERS => {
                        match notice.verify(key) {
                            Ok(()) => offers.push(notice),
                            Err(error) => {
                                let reason = format!(
                                    "the offer is not signed by the server {}: {error}",
                                    notice.server
                                );
                                tracing::debug!(name = %notice.name, "refused an offer: {reason}");
                                refused.insert(notice.name, reason);
                            }
                        }
                    }
                    Answer::End => return Ok(()),
                    // The offers before the failure are no complete list.
                    Answer::Failed { message, .. } => {
                        return Err(io::Error::other(String::from(message)).into());
                    }
                    _ => {}
                }
            }
        };
        self.timed(read).await?;
        Ok((offers, refused))
    }

    async fn timed<T>(
        &mut self,
        work: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        let started = Instant::now();
        let outcome = timeout(ANSWER.min(self.remaining), work).await;
        self.remaining = self.remaining.saturating_sub(started.elapsed());
        outcome.unwrap_or_else(|_| {
            let reason = if self.remaining.is_zero() {
                format!(
                    "its answers took more than {} s in all",
                    ALL_ANSWERS.as_secs()
                )
            } else {
                format!("no answer within {} s", ANSWER.as_secs())
            };
            Err(io::Error::new(io::ErrorKind::TimedOut, reason).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::model::Secret;
    use crate::model::Timestamp;
    use crate::wire::session::ErrorKind;

    /// A session with a server that sends its answers one by one, each after some seconds, and repeats the last one for ever.
    async fn server_that_answers(
        answers: Vec<Answer<'static>>,
        seconds: u64,
    ) -> (Session<DuplexStream>, impl Future<Output = ()>) {
        let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
        let (near, far) = tokio::io::duplex(300_000);
        let (client, server) = tokio::join!(
            crate::session::call(near, key_ring.first(), "home", Timestamp(1)),
            crate::session::accept(far, &key_ring, "home", |_, _| true)
        );
        let mut server = server.unwrap();
        let answering = async move {
            let last = answers.last().cloned().unwrap();
            for answer in answers.into_iter().chain(std::iter::repeat(last)) {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                server.queue(&answer).unwrap();
                server.flush().await.unwrap();
            }
        };
        (client.unwrap(), answering)
    }

    /// The number of offers of a server with these answers.
    async fn offers_of(answers: Vec<Answer<'static>>) -> Result<usize, String> {
        let (mut session, answering) = server_that_answers(answers, 10).await;
        let mut exchange = Exchange::new();
        tokio::select! {
            offers = timeout(Duration::from_secs(3600), exchange.offers(&mut session)) => {
                offers.expect("it ends within an hour").map(|(offers, _)| offers.len()).map_err(|error| error.to_string())
            }
            () = answering => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn server_that_answers_for_ever_or_fails_offers_nothing() {
        assert_eq!(offers_of(vec![Answer::Alive, Answer::End]).await, Ok(0));
        assert!(
            offers_of(vec![Answer::Alive])
                .await
                .unwrap_err()
                .contains("within 30 s")
        );
        let failed = Answer::Failed {
            kind: ErrorKind::Busy,
            message: "too busy".into(),
        };
        assert!(
            offers_of(vec![failed])
                .await
                .unwrap_err()
                .contains("too busy")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn slow_server_is_abandoned_after_a_minute() {
        let (mut session, answering) = server_that_answers(vec![Answer::End], 25).await;
        let mut exchange = Exchange::new();
        let reports = async {
            for number in 0..64 {
                if let Err(error) = exchange.request(&mut session, &Request::Offers).await {
                    return (number, error.to_string());
                }
            }
            (64, String::new())
        };
        let (answered, error) = tokio::select! {
            ended = reports => ended,
            () = answering => unreachable!(),
        };
        assert_eq!(answered, 2);
        assert!(error.contains("60 s in all"), "{error}");
    }
}
