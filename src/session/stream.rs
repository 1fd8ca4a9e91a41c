//! One side of an established session.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::KeyId;
use crate::wire::session::{
    Answer, Established, LENGTH, MAX_MESSAGE, MAX_SEALED, Request, TAG, TransportError,
    content_frame,
};
use crate::wire::v1::{DecodeError, EncodeError};

/// Limit of a request, in bytes: the longest labels and a name need far less.
pub const MAX_REQUEST: usize = 4096;
/// Sealed bytes that may wait to be written before a caller should flush.
const OUTBOX: usize = 256 * 1024;
/// How much is read at once beyond the next frame, so that small frames cost few system calls.
const READ_AHEAD: usize = 64 * 1024;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The other side closed it before the answer was complete.
    #[error("the connection ended before the answer was complete")]
    Closed,
    /// A frame is longer than this side accepts.
    #[error("a frame of {length} bytes was received: at most {limit} are accepted")]
    TooLong { length: usize, limit: usize },
    /// A frame does not open.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// A message can't be read.
    #[error("{0}: is the other side of another version?")]
    Decode(#[from] DecodeError),
    /// A message can't be sent: a bug.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// One side of an established session: frames in, frames out.
///
/// Memory: on the side of the server one request; on the side of the caller one frame and what is
/// read ahead; on both sides one message, and the sealed bytes that wait to be written, at most 256
/// KiB and a frame.
#[derive(Debug)]
pub struct Session<S> {
    stream: S,
    noise: Established,
    /// Limit of a sealed frame that is accepted.
    limit: usize,
    read_ahead: usize,
    /// Received bytes up to `filled`; those before `consumed` are opened already.
    inbox: Vec<u8>,
    consumed: usize,
    filled: usize,
    message: Vec<u8>,
    /// Sealed bytes, of which those from `written` to `queued` wait. It never shrinks, so that no
    /// byte is zeroed twice.
    outbox: Vec<u8>,
    queued: usize,
    written: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn caller(stream: S, noise: Established) -> Self {
        Self::new(stream, noise, MAX_SEALED, READ_AHEAD * 4)
    }

    pub(super) fn server(stream: S, noise: Established) -> Self {
        Self::new(stream, noise, MAX_REQUEST + TAG, 0)
    }

    fn new(stream: S, noise: Established, limit: usize, read_ahead: usize) -> Self {
        Self {
            stream,
            noise,
            limit,
            read_ahead,
            inbox: Vec::new(),
            consumed: 0,
            filled: 0,
            message: Vec::new(),
            outbox: Vec::new(),
            queued: 0,
            written: 0,
        }
    }

    /// The key under which the session is sealed.
    pub fn key(&self) -> KeyId {
        self.noise.key()
    }

    /// The hash of the handshake, which differs in every session.
    pub fn binding(&self) -> &[u8; 32] {
        self.noise.binding()
    }

    /// Waits for the next message; `None` when the other side closed the stream between two frames.
    ///
    /// May be dropped and called again: the bytes received meanwhile are kept.
    pub async fn receive(&mut self) -> Result<Option<&[u8]>, SessionError> {
        let Some(sealed) = self.next_frame().await? else {
            return Ok(None);
        };
        let mut message = std::mem::take(&mut self.message);
        message.resize(message.len().max(sealed), 0);
        let opened = self.open(sealed, &mut message);
        self.message = message;
        Ok(Some(&self.message[..opened?]))
    }

    /// Waits for the next message, opens it into the front of `out`, and returns its length; `None`
    /// as for [`Self::receive`].
    ///
    /// `out` has room for the longest message, [`MAX_MESSAGE`]. May be dropped and called again
    /// like [`Self::receive`].
    pub async fn receive_to(&mut self, out: &mut [u8]) -> Result<Option<usize>, SessionError> {
        match self.next_frame().await? {
            Some(sealed) => self.open(sealed, out).map(Some),
            None => Ok(None),
        }
    }

    /// Waits until a whole frame was received; returns its sealed length.
    async fn next_frame(&mut self) -> Result<Option<usize>, SessionError> {
        loop {
            if let Some(sealed) = self.whole_frame()? {
                return Ok(Some(sealed));
            }
            self.make_room();
            match self.stream.read(&mut self.inbox[self.filled..]).await? {
                0 if self.filled == self.consumed => return Ok(None),
                0 => return Err(SessionError::Closed),
                read => self.filled += read,
            }
        }
    }

    fn open(&mut self, sealed: usize, out: &mut [u8]) -> Result<usize, SessionError> {
        let start = self.consumed + LENGTH;
        let end = start + sealed;
        let length = self.noise.open(&self.inbox[start..end], out)?;
        self.consumed = end;
        Ok(length)
    }

    /// Waits for the next answer; a stream that ends before it is a failure.
    pub async fn answer(&mut self) -> Result<Answer<'_>, SessionError> {
        match self.receive().await? {
            Some(message) => Ok(Answer::decode(message)?),
            None => Err(SessionError::Closed),
        }
    }

    /// Waits for the next request; `None` when the caller closed the session.
    pub async fn request(&mut self) -> Result<Option<Request>, SessionError> {
        match self.receive().await? {
            Some(message) => Ok(Some(Request::decode(message)?)),
            None => Ok(None),
        }
    }

    /// Seals a request and writes it.
    pub async fn ask(&mut self, request: &Request) -> Result<(), SessionError> {
        let mut message = [0; MAX_REQUEST];
        let length = request.encode(&mut message)?;
        self.seal(&message[..length])?;
        self.flush().await
    }

    /// Seals an answer; the next [`Self::flush`] writes it.
    pub fn queue(&mut self, answer: &Answer<'_>) -> Result<(), SessionError> {
        let mut message = std::mem::take(&mut self.message);
        message.resize(MAX_MESSAGE, 0);
        let sealed = answer
            .encode(&mut message)
            .map_err(SessionError::from)
            .and_then(|length| self.seal(&message[..length]));
        self.message = message;
        sealed
    }

    /// Seals bytes of a file that are in `buffer` from [`content_frame::HEAD`] on.
    pub fn queue_content(&mut self, buffer: &mut [u8], length: usize) -> Result<(), SessionError> {
        let start = content_frame::write(buffer, length).ok_or(TransportError::Length)?;
        self.seal(&buffer[start..content_frame::HEAD + length])
    }

    /// Whether so many bytes wait that the caller should flush before it queues more.
    pub fn is_full(&self) -> bool {
        self.waiting() >= OUTBOX
    }

    /// How many sealed bytes wait.
    pub fn waiting(&self) -> usize {
        self.queued - self.written
    }

    /// Writes all bytes that wait.
    pub async fn flush(&mut self) -> Result<(), SessionError> {
        while self.waiting() > 0 {
            self.write_some().await?;
        }
        Ok(())
    }

    /// Writes a part of the bytes that wait. May be dropped and called again.
    pub async fn write_some(&mut self) -> Result<(), SessionError> {
        match self
            .stream
            .write(&self.outbox[self.written..self.queued])
            .await?
        {
            0 => Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            written => {
                self.written += written;
                if self.written == self.queued {
                    self.queued = 0;
                    self.written = 0;
                }
                Ok(())
            }
        }
    }

    fn seal(&mut self, message: &[u8]) -> Result<(), SessionError> {
        let sealed = message.len() + TAG;
        // `seal` checks that a message is at most `MAX_MESSAGE` long, so its length fits.
        let length = u16::try_from(sealed).map_err(|_| TransportError::Length)?;
        let start = self.queued + LENGTH;
        let end = start + sealed;
        if self.outbox.len() < end {
            self.outbox.resize(end, 0);
        }
        self.outbox[self.queued..start].copy_from_slice(&length.to_be_bytes());
        self.noise.seal(message, &mut self.outbox[start..end])?;
        self.queued = end;
        Ok(())
    }

    /// The sealed length of the next frame, if all of it was received.
    fn whole_frame(&self) -> Result<Option<usize>, SessionError> {
        let Some(sealed) = self.next_length()? else {
            return Ok(None);
        };
        Ok((self.filled - self.consumed >= LENGTH + sealed).then_some(sealed))
    }

    /// The sealed length of the next frame, if it was received already.
    fn next_length(&self) -> Result<Option<usize>, SessionError> {
        let Some([a, b]) = self.inbox[self.consumed..self.filled].first_chunk() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([*a, *b]));
        if length > self.limit {
            return Err(SessionError::TooLong {
                length,
                limit: self.limit,
            });
        }
        Ok(Some(length))
    }

    /// Makes room for the next frame, and for the bytes that are read ahead.
    fn make_room(&mut self) {
        let sealed = self.next_length().ok().flatten().unwrap_or(TAG + 1);
        let wanted = LENGTH + sealed + self.read_ahead;
        if self.consumed > 0 && self.inbox.len() - self.consumed < wanted {
            self.inbox.copy_within(self.consumed..self.filled, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
        }
        // At most a frame and what is read ahead, because `next_length` refuses longer frames.
        if self.inbox.len() < wanted {
            self.inbox.resize(wanted, 0);
        }
    }
}
