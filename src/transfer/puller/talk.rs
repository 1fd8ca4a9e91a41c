//! What is said on a visit besides the files themselves. It has a limit in all: a member that is a server, and answers as slowly
//! as it may or talks on for ever, would keep the node from every other server.

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
/// How long it may take for all answers of a visit.
const ALL: Duration = Duration::from_secs(60);
/// Offers of one server that are looked at.
const OFFERS: usize = 256;

/// Names of offers that were refused, and why.
pub(in crate::transfer) type Refused = HashMap<Box<str>, String>;

/// How a session with a server is had.
pub(in crate::transfer) struct Caller<'c> {
    pub(in crate::transfer) server: &'c Peer,
    pub(in crate::transfer) key_ring: &'c KeyRing,
    pub(in crate::transfer) channel: &'c str,
    pub(in crate::transfer) identity: &'c Identity,
}

impl Caller<'_> {
    /// Connects, and says who this node is.
    pub(in crate::transfer) async fn session(
        &self,
        talk: &mut Talk,
    ) -> Result<Session<TcpStream>, SessionError> {
        let mut session = self.server.connect(self.key_ring, self.channel).await?;
        let introduction = Request::introduce(self.identity, session.binding());
        talk.done(&mut session, &introduction).await?;
        Ok(session)
    }
}

/// The talk of one visit.
pub(in crate::transfer) struct Talk {
    /// How long the server may still take.
    left: Duration,
}

impl Talk {
    pub(in crate::transfer) fn new() -> Self {
        Self { left: ALL }
    }

    /// Asks for something that is answered by an end.
    pub(in crate::transfer) async fn done<S>(
        &mut self,
        session: &mut Session<S>,
        request: &Request,
    ) -> Result<(), SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.within(async {
            session.ask(request).await?;
            match session.answer().await? {
                Answer::End => Ok(()),
                Answer::Failed { message, .. } => {
                    Err(io::Error::other(String::from(message)).into())
                }
                _ => Err(io::Error::other("the server answered something else").into()),
            }
        })
        .await
    }

    /// What a server offers, and by name why an offer was refused: its signature does not hold.
    pub(in crate::transfer) async fn offers<S>(
        &mut self,
        session: &mut Session<S>,
    ) -> Result<(Vec<Notice>, Refused), SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let (mut offers, mut refused) = (Vec::new(), Refused::new());
        let read = async {
            session.ask(&Request::Offers).await?;
            let key = session.key();
            loop {
                match session.answer().await? {
                    Answer::Offer(notice) if offers.len() + refused.len() < OFFERS => {
                        match notice.verify(key) {
                            Ok(()) => offers.push(notice),
                            Err(error) => {
                                let said = format!(
                                    "the offer is not that of the server {}: {error}",
                                    notice.server
                                );
                                refused.insert(notice.name, said);
                            }
                        }
                    }
                    Answer::End => return Ok(()),
                    // What came before is no complete list.
                    Answer::Failed { message, .. } => {
                        return Err(io::Error::other(String::from(message)).into());
                    }
                    _ => {}
                }
            }
        };
        self.within(read).await?;
        Ok((offers, refused))
    }

    async fn within<T>(
        &mut self,
        work: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        let started = Instant::now();
        let outcome = timeout(ANSWER.min(self.left), work).await;
        self.left = self.left.saturating_sub(started.elapsed());
        outcome.unwrap_or_else(|_| {
            let late = if self.left.is_zero() {
                format!("its answers took more than {} s in all", ALL.as_secs())
            } else {
                format!("no answer within {} s", ANSWER.as_secs())
            };
            Err(io::Error::new(io::ErrorKind::TimedOut, late).into())
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::*;
    use crate::model::Timestamp;
    use crate::wire::keyring::Secret;
    use crate::wire::session::ErrorKind;

    /// A session with a server that gives one answer after the other, each after some seconds, and the last one for ever.
    async fn server_that_answers(
        answers: Vec<Answer<'static>>,
        seconds: u64,
    ) -> (Session<DuplexStream>, impl Future<Output = ()>) {
        let key_ring = KeyRing::new("home", &[Secret::key([1; 32])]).unwrap();
        let (near, far) = tokio::io::duplex(300_000);
        let (caller, server) = tokio::join!(
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
        (caller.unwrap(), answering)
    }

    /// How many offers a server has that answers so.
    async fn offers_of(answers: Vec<Answer<'static>>) -> Result<usize, String> {
        let (mut session, answering) = server_that_answers(answers, 10).await;
        let mut talk = Talk::new();
        tokio::select! {
            offers = timeout(Duration::from_secs(3600), talk.offers(&mut session)) => {
                offers.expect("it ends within an hour").map(|(offers, _)| offers.len()).map_err(|error| error.to_string())
            }
            () = answering => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_talks_on_for_ever_or_fails_offers_nothing() {
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
    async fn a_server_that_takes_its_time_for_each_answer_is_left_after_a_minute() {
        let (mut session, answering) = server_that_answers(vec![Answer::End], 25).await;
        let mut talk = Talk::new();
        let reports = async {
            for number in 0..64 {
                if let Err(error) = talk.done(&mut session, &Request::Offers).await {
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
