//! A block of content on its way from the session to the thread that writes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::timed_out;
use crate::files::BLOCK;
use crate::session::{Session, SessionError};
use crate::wire::session::{Answer, MAX_MESSAGE, content_frame};
use crate::wire::v1::Notice;

/// After how long without a byte the server counts as absent.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

/// One contiguous run of the file's bytes.
///
/// Each message is opened where its content stays: it is received over the last bytes before its place, which its head
/// covers, and which are restored afterwards. So a block hashes faster than single messages do, and no byte is copied.
pub(super) struct Block {
    /// [`content_frame::HEAD`] bytes, the content, and room for one more message.
    buffer: Vec<u8>,
    pub(super) filled: usize,
}

/// A received message, after its content was added to the block.
#[derive(Debug)]
pub(super) enum Message {
    /// So many bytes of content.
    Content(usize),
    File {
        notice: Notice,
        offset: u64,
    },
    End,
    Failed(String),
    Other,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; content_frame::HEAD + BLOCK + MAX_MESSAGE],
            filled: 0,
        }
    }

    /// The same buffer without content.
    pub(super) fn emptied(self) -> Self {
        Self { filled: 0, ..self }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[content_frame::HEAD..content_frame::HEAD + self.filled]
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled >= BLOCK
    }

    /// Waits for the next message, and adds its content to the block.
    pub(super) async fn receive<S>(
        &mut self,
        session: &mut Session<S>,
    ) -> Result<Message, SessionError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let place = &mut self.buffer[self.filled..];
        let mut covered = [0; content_frame::HEAD];
        covered.copy_from_slice(&place[..content_frame::HEAD]);
        let outcome = match timeout(SILENCE, session.receive_to(place)).await {
            Err(_) => Err(timed_out()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(None)) => Err(SessionError::Closed),
            Ok(Ok(Some(length))) if content_frame::is_long(&place[..length]) => {
                Ok(Message::Content(length - content_frame::HEAD))
            }
            Ok(Ok(Some(length))) => match Answer::decode(&place[..length]) {
                Err(error) => Err(error.into()),
                Ok(Answer::Content(bytes)) => {
                    // A short content has a shorter head, and is usually the last one, so it is moved.
                    let short = bytes.len();
                    let start = length - short;
                    place.copy_within(start..length, content_frame::HEAD);
                    Ok(Message::Content(short))
                }
                Ok(Answer::File { notice, offset }) => Ok(Message::File { notice, offset }),
                Ok(Answer::End) => Ok(Message::End),
                Ok(Answer::Failed { message, .. }) => Ok(Message::Failed(message.into())),
                Ok(_) => Ok(Message::Other),
            },
        };
        place[..content_frame::HEAD].copy_from_slice(&covered);
        if let Ok(Message::Content(length)) = outcome {
            self.filled += length;
        }
        outcome
    }
}
