//! Sends a file over a session: the next blocks are read while the blocks before are sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::{JoinHandle, spawn_blocking};

use super::SessionCounters;
use super::connection::{Connection, Ended};
use crate::api::request::ErrorKind;
use crate::files::Digest;
use crate::files::offer::OfferError;
use crate::transfer::offers::Generation;
use crate::wire::session::{Answer, MAX_CONTENT, content_frame};

/// How many contents are read at once.
const CONTENTS: usize = 16;
/// The room of one content in a buffer.
const CONTENT: usize = content_frame::HEAD + MAX_CONTENT;

type Block = Result<(Vec<u8>, usize), OfferError>;

/// Reads the next contents, each into its place in the buffer; returns the buffer and how many
/// bytes of the file it holds.
fn read(generation: Arc<Generation>, mut buffer: Vec<u8>, offset: u64) -> JoinHandle<Block> {
    spawn_blocking(move || {
        let mut filled = 0;
        for content in buffer.chunks_exact_mut(CONTENT) {
            let read = generation
                .snapshot
                .read_at(&mut content[content_frame::HEAD..], offset + filled as u64)?;
            filled += read;
            if read < MAX_CONTENT {
                break;
            }
        }
        Ok((buffer, filled))
    })
}

/// The buffers for the rest of a file: the one to read into, and the one to read into meanwhile.
///
/// A small file needs no room for a large one, because a fleet that pulls at once holds many of
/// these.
fn buffers(rest: u64) -> (Vec<u8>, Vec<u8>) {
    let contents = usize::try_from(rest.div_ceil(MAX_CONTENT as u64))
        .unwrap_or(CONTENTS)
        .clamp(1, CONTENTS);
    let first = vec![0; contents * CONTENT];
    let spare = if contents == CONTENTS {
        vec![0; contents * CONTENT]
    } else {
        Vec::new()
    };
    (first, spare)
}

impl Connection<'_> {
    /// Answers a pull with the file and its content, from `offset` on if the caller holds a part of
    /// the same file.
    pub(super) async fn pull(
        &mut self,
        name: &str,
        offset: u64,
        digest: Option<Digest>,
    ) -> Result<(), Ended> {
        let Some(generation) = self.shared.files.offers.current(name) else {
            return self
                .fail(
                    ErrorKind::NotFound,
                    "this server offers no such file, or can't read it now",
                )
                .await;
        };
        SessionCounters::count(&self.shared.counters.pulls);
        let size = generation.snapshot.size();
        let continues = digest.as_ref() == Some(generation.snapshot.digest()) && offset <= size;
        let at = if continues { offset } else { 0 };
        tracing::debug!(name, generation = generation.number, size, at, "pull");
        let notice = self.notice(name, &generation)?;
        self.session.queue(&Answer::File { notice, offset: at })?;
        self.report_progress(name, &generation, at);
        self.send_content(name, &generation, at, size).await
    }

    async fn send_content(
        &mut self,
        name: &str,
        generation: &Arc<Generation>,
        mut at: u64,
        size: u64,
    ) -> Result<(), Ended> {
        let (first, mut spare) = buffers(size - at);
        let mut next = read(generation.clone(), first, at);
        loop {
            let (mut buffer, filled) = match next.await {
                Ok(Ok(block)) => block,
                Ok(Err(error)) => return self.fail(ErrorKind::Failed, &error.to_string()).await,
                Err(error) => return self.fail(ErrorKind::Failed, &error.to_string()).await,
            };
            if filled == 0 {
                return self.end().await;
            }
            at += filled as u64;
            next = read(generation.clone(), spare, at);
            self.send_block(&mut buffer, filled).await?;
            spare = buffer;
            self.shared
                .counters
                .content_bytes
                .fetch_add(filled as u64, Ordering::Relaxed);
            self.report_progress(name, generation, at);
        }
    }

    async fn send_block(&mut self, buffer: &mut [u8], filled: usize) -> Result<(), Ended> {
        let mut rest = filled;
        for content in buffer.chunks_exact_mut(CONTENT) {
            let length = rest.min(MAX_CONTENT);
            if length == 0 {
                break;
            }
            self.session.queue_content(content, length)?;
            rest -= length;
            if self.session.is_full() {
                self.flush().await?;
            }
        }
        Ok(())
    }
}
